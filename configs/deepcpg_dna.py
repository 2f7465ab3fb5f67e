"""DeepCpG, DNA network: methylation of single CpGs in single cells from 1001 bp of sequence.

Paper     Angermueller et al., DeepCpG: accurate prediction of single-cell DNA methylation states using deep learning,
          Genome Biology 2017, doi 10.1186/s13059-017-1189-z
Data      GRCm38 and the single-cell profiles of GSE56879 (Smallwood et al. 2014: 18 serum or 12 2i cells), a file each:
          python -m data_prep deepcpg --fasta mm10.fa --profiles cells/*.tsv.gz --cpg-wlen 50 --out data/deepcpg
          Split by chromosome as in the paper: train 1 3 5 7 9 11, test 2 4 6 8 10 12, validation the others.
Run       python launch.py --config configs/deepcpg_dna.py --workdir runs/deepcpg_dna
Hardware  any GPU (4.1 M parameters, batch 128), or a CPU for a few cells. Hours are not published; one core of an AMD
          EPYC trains on 440 sites/s (benchmarks/deepcpg_speed.py), a million sites in 38 minutes.
Expected  Not published for the DNA network alone. The three stages are this config, deepcpg_cpg.py and
          deepcpg_joint.py, whose header has the figures. Metric: auc_cpg_per_track_mean = per cell the area under the
          ROC curve over the observed sites of the split, then the mean over cells.

Variants  :paper   as the original program trains: masked labels weigh 1e-7 and each loss is divided by all rows,
                   states of missing neighbours are 0, labels are rounded, Keras's Adam, the best by validation loss,
                   frozen residual networks normalise by the batch
          :sample  on an embedded synthetic sample of six cells, made by itself; minutes on 2 CPU cores
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.base import get_base
from jaxepi.errors import JaxepiError, did_you_mean

VARIANTS = ("default", "paper", "sample")


def get_config(variant: str = "default") -> ConfigDict:
    """The experiment; `--config configs/deepcpg_dna.py:paper` chooses a variant."""
    if variant not in VARIANTS:
        raise JaxepiError(f"Unknown variant {variant!r}{did_you_mean(variant, VARIANTS)}; known are {VARIANTS}.")
    config = get_base()
    config.system = "deepcpg"

    config.model = (
        ConfigDict()
    )  # fields: jaxepi.systems.deepcpg.model.DeepCpGConfig; the outputs are chosen in config.task
    config.model.network = "CnnL2h128"  # a DNA, CpG or joint network by its official name
    config.model.window = placeholder(int)  # bp of DNA around the site; None = what the dataset has
    config.model.neighbours = placeholder(int)  # neighbouring sites of each cell, both sides; None = the dataset's
    config.model.hidden = placeholder(int)  # units of the dense layer of CnnL*; None = what the name says
    config.model.joint_hidden = 512  # units of the joint network's dense layers
    config.model.replicate_activation = "relu"  # of RnnL1 and RnnL2 after the dense layer of each cell: relu | tanh
    config.model.dna_dropout = 0.0  # rate after the DNA network
    config.model.cpg_dropout = 0.0  # rate after the CpG network
    config.model.joint_dropout = 0.0  # rate after each joint layer
    config.model.l1 = 1e-4  # penalty of the sum of |w| over kernels
    config.model.l2 = 1e-4  # penalty of the sum of w^2 over kernels
    config.model.debiased_norm = False  # parity: Keras's zero-debiased moving statistics (residual networks)
    config.model.dtype = "float32"  # compute dtype: float32 | bfloat16

    config.task = ConfigDict()  # fields: jaxepi.systems.deepcpg.task.DeepCpGObjective
    config.task.outputs = ("cpg/.*",)  # patterns found anywhere in the names of the outputs to train
    config.task.replicates = ()  # patterns of the cells whose neighbours are read; () = all
    config.task.missing_state = "half"  # of a missing neighbour: half | truncate (parity) | sample (version 1.0.2)
    config.task.distance_scale = 25_000  # bp; larger distances and missing neighbours count as this
    config.task.masking = "per_output"  # per_output | pooled | keras (parity)
    config.task.labels = "fraction"  # fraction | rounded (parity)
    config.task.balance_classes = True  # weigh rare classes more in training
    config.task.output_weights = ()  # rules "pattern=weight"; the last one that matches an output counts
    config.task.entropy_as_probability = False  # parity: cross-entropy for the entropy output

    config.dataset.path = "data/deepcpg"
    config.dataset.command = (
        "python -m data_prep deepcpg --fasta mm10.fa --profiles cells/*.tsv.gz --cpg-wlen 50 --out data/deepcpg"
    )
    config.batch_size, config.eval_batch_size = 128, 1024
    config.unit = "epoch"  # of steps, eval_every, save_every and decay_steps
    config.steps, config.eval_every, config.save_every = 30, 1, 1
    config.patience = 5
    config.log_every = 100
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule, config.optimizer.decay_steps, config.optimizer.decay_rate = "step", 1, 0.975
    if variant == "paper":
        paper(config)
    elif variant == "sample":
        sample(config)
    return config


def paper(config: ConfigDict) -> None:
    """The original's ways, oddities included."""
    config.model.debiased_norm = True
    config.frozen_statistics = "batch"  # in Keras 2.2 a frozen network normalises by the batch all the same
    config.task.missing_state = "truncate"
    config.task.masking = "keras"
    config.task.labels = "rounded"
    config.task.entropy_as_probability = True
    config.optimizer.epsilon, config.optimizer.epsilon_uncorrected = 1e-7, True
    config.monitor = "loss_total"


def sample(config: ConfigDict) -> None:
    """Few sites with rules that can be learned: larger steps, cut short on slow machines."""
    config.dataset.sample = "deepcpg-sample"
    config.dataset.path = "data/deepcpg_sample/dataset"
    config.dataset.command = "python -m data_prep deepcpg-sample --out data/deepcpg_sample"
    config.optimizer.learning_rate = 1e-3
    config.max_minutes = 6.0
