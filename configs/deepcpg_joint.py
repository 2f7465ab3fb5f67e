"""DeepCpG, joint network: sequence and neighbouring sites together, from the two networks trained before.

Paper     as configs/deepcpg_dna.py
Data      as configs/deepcpg_dna.py
Run       python launch.py --config configs/deepcpg_dna.py --workdir runs/deepcpg_dna
          python launch.py --config configs/deepcpg_cpg.py --workdir runs/deepcpg_cpg
          python launch.py --config configs/deepcpg_joint.py --workdir runs/deepcpg_joint
          Other sources of the two networks, such as released files:
          --config.init_from="('serum_dna.h5::dna.*','serum_cpg.h5::cpg.*')"
Hardware  any GPU (5.5 M parameters with 18 cells, batch 128); one core of an AMD EPYC trains on 326 sites/s with
          nothing frozen (benchmarks/deepcpg_speed.py)
Expected  Mean over cells of the AUC per cell (auc_cpg_per_track_mean). Of a re-implementation trained by the CpG
          Transformer project (validation chr5, test chr10): serum 0.902, 2i 0.848, HCC 0.969.
          Small sets of ours: docs/deepcpg.md, section "What to expect".

Variants  :paper     as configs/deepcpg_dna.py
          :together  all weights from scratch, in one run
          :sample    the same on the embedded sample of configs/deepcpg_dna.py:sample
"""

from ml_collections import ConfigDict

from configs import deepcpg_dna


def get_config(variant: str = "default") -> ConfigDict:
    """The experiment; `--config configs/deepcpg_joint.py:together` chooses a variant."""
    together = variant in ("together", "sample")
    config = deepcpg_dna.get_config("default" if variant == "together" else variant)
    config.model.network = "JointL2h512_CnnL2h128_RnnL1"
    if not together:
        config.init_from = ("runs/deepcpg_dna::dna.*", "runs/deepcpg_cpg::cpg.*")
        config.frozen = ("dna.*", "cpg.*")  # only the joint layers and the heads learn; () trains everything
        config.steps = 10
    return config
