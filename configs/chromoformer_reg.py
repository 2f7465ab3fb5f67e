"""Chromoformer-reg: log2(RPKM + 1) from histone marks at a promoter and its 3-D contacts.

Paper     Lee, Yang, Kim, Nature Communications 13:6678 (2022), doi 10.1038/s41467-022-34152-5
Data      as configs/chromoformer_clf.py
Run       python launch.py crossval --config configs/chromoformer_reg.py --workdir runs/chromoformer_reg
          one fold: python launch.py --config configs/chromoformer_reg.py:fold1 --workdir runs/chromoformer_reg_fold1
Hardware  as configs/chromoformer_clf.py
Expected  100 demo genes of E003, held out in fold 1: Pearson 0.794, R2 0.622, Spearman 0.807 with published weights.
          Metric: pearson_gene_per_track_mean = Pearson correlation of predicted and measured log2(RPKM + 1) over all
          genes of the held-out fold (there is one track).

Variants  as configs/chromoformer_clf.py
"""

from ml_collections import ConfigDict

from configs import chromoformer_clf


def get_config(variant: str = "fold1") -> ConfigDict:
    """The experiment; `--config configs/chromoformer_reg.py:fold2` chooses a variant."""
    config = chromoformer_clf.get_config(variant)
    config.task.target = "expression"
    return config
