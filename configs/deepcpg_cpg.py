"""DeepCpG, CpG network: methylation of single CpGs in single cells from the neighbouring sites of all cells.

Paper     as configs/deepcpg_dna.py
Data      as configs/deepcpg_dna.py; --fasta may be left out
Run       python launch.py --config configs/deepcpg_cpg.py --workdir runs/deepcpg_cpg
Hardware  any GPU, or a CPU (0.8 M parameters, batch 128): 3,000 to 4,000 sites/s with 2 cells on two busy cores
Expected  Not published for the CpG network alone. Metric: auc_cpg_per_track_mean, see configs/deepcpg_dna.py. Compare
          with the mean state of the two nearest observed neighbours in the same cell. Two serum cells, excerpt of chr18
          to chr19: 0.878, neighbours 0.843 (benchmarks/deepcpg_real.py --set serum: learning rate 1e-3, one minute).

Variants  :paper   as configs/deepcpg_dna.py
"""

from ml_collections import ConfigDict

from configs import deepcpg_dna


def get_config(variant: str = "default") -> ConfigDict:
    """The experiment; `--config configs/deepcpg_cpg.py:paper` chooses a variant."""
    config = deepcpg_dna.get_config(variant)
    config.model.network = "RnnL1"
    return config
