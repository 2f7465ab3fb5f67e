"""Melody-ST: DNA methylation of one cell type at single CpGs from 10 kb of sequence.

Paper     Jin et al., Nature Communications 2026, doi 10.1038/s41467-026-76744-5 (one model per cell type)
Data      GRCh38 (UCSC names) and one BigWig of GSE186458:
          python -m data_prep melody --fasta hg38.fa --out data/melody_st \\
              --bigwigs GSM5652317_Blood-B-Z000000UB.hg38.bigwig
Run       python launch.py --config configs/melody_st.py --workdir runs/melody_st
Hardware  as configs/melody_mt.py: the trunk is the same, the heads have one channel (40,270,857 parameters)
Expected  AUC at CpGs, mean over the 39 single-track models: 0.883 on chr10 (valid), 0.860 on chr8 + chr9 (test).
          Metric and its difference from the published workbook: see configs/melody_mt.py.

Variants  as configs/melody_mt.py; :sample and :smoke train on the first track of the embedded sample.
          Any track of a Melody-MT dataset will do:
          --config.dataset.path=data/melody_mt --config.dataset.tracks="('NAME',)"
"""

from ml_collections import ConfigDict

from configs import melody_mt


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/melody_st.py:sample` chooses a variant."""
    config = melody_mt.get_config(variant)
    if config.dataset.sample:
        config.dataset.tracks = (0,)
    else:
        config.dataset.path = "data/melody_st"
        config.dataset.command = (
            "python -m data_prep melody --fasta hg38.fa --bigwigs GSM5652317_Blood-B-Z000000UB.hg38.bigwig "
            "--out data/melody_st"
        )
    return config
