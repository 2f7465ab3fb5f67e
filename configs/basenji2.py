"""Basenji2: coverage of thousands of human and mouse tracks in bins of 128 bp from 131 kb of sequence.

Paper     Kelley, Cross-species regulatory sequence activity prediction, PLoS Computational Biology 2020,
          doi 10.1371/journal.pcbi.1008050; settings of the original's manuscripts/cross2020
Data      hg38 (5,313 tracks) and mm10 (1,643 tracks), a folder each as the original's basenji_data.py wrote them, or
          python -m data_prep coverage --fasta hg38.fa --targets targets_human.txt --out data/basenji2/human
Run       python launch.py --config configs/basenji2.py:joint --workdir runs/basenji2
Hardware  one GPU with 24 GB with --config.model.dtype=bfloat16 --config.model.remat=True (30.1 M parameters, batch 4);
          docs/basenji.md has the memory of each switch. Hours are not published; the human training split has 34,021
          windows, 8,505 steps an epoch.
Expected  no per-track figures are published; training on both genomes beats training on one for nearly all CAGE tracks.
          Metric: pearson_bin_per_track_mean = of each track one Pearson correlation over all 896 bins of all windows of
          the split, then the mean over tracks.

Variants  :joint  both genomes in one run, a head each; the best by each genome's own metric is kept
          :small  a narrow network of 1.7 M parameters at most, for any dataset with bins of 128 bp and 8,192 bp cropped
          :real   for records with bins of 32 bp, as the small public sets of Borzoi have: 32,768 bp at a time with
                  8,192 bp around them, AdamW, cosine and moving average; under 1 M parameters
          :sample a small network on the embedded synthetic sample, made by itself; minutes on 2 CPU cores
          :smoke  20 steps of it, to see that everything works
"""

from ml_collections import ConfigDict

from configs.basenji import from_params, on_sample
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.systems.basenji.presets import BASENJI2

HEAD = {"name": "final", "activation": "softplus"}  # as many units as the dataset has tracks
SMALL_TRUNK = (
    {"name": "conv_block", "filters": 64, "kernel_size": 15, "pool_size": 2},
    {"name": "conv_tower", "filters_init": 64, "filters_end": 128, "kernel_size": 5, "pool_size": 2, "repeat": 6},
    {"name": "dilated_residual", "filters": 64, "rate_mult": 1.5, "repeat": 11, "dropout": 0.3, "round": True},
    {"name": "Cropping1D", "cropping": 64},
    {"name": "conv_block", "filters": 192, "dropout": 0.05},
)
REAL_TRUNK = (
    {"name": "conv_block", "filters": 48, "kernel_size": 11, "pool_size": 4},
    {"name": "conv_tower", "filters_init": 64, "filters_end": 128, "kernel_size": 5, "pool_size": 2, "repeat": 3},
    {"name": "dilated_residual", "filters": 64, "rate_mult": 2, "repeat": 8, "dropout": 0.3},
    {"name": "Cropping1D", "cropping": 256},
    {"name": "conv_block", "filters": 192, "dropout": 0.2},
)


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/basenji2.py:joint` chooses a variant."""
    known = ("paper", "joint", "small", "real", "sample", "smoke")
    if variant in ("sample", "smoke"):
        return on_sample(variant == "smoke")
    if variant not in known:
        raise JaxepiError(f"Unknown variant {variant!r}{did_you_mean(variant, known)}; known are {known}.")
    config = from_params(BASENJI2, loop="several" if variant == "joint" else "tape")
    # The published models were trained when "gelu" was x · sigmoid(1.702 x); the original's code has changed since.
    config.model.gelu = "sigmoid1702"
    config.task.head = 0  # human
    config.dataset.path = "data/basenji2/human"
    config.dataset.command = (
        "python -m data_prep coverage --fasta hg38.fa --targets targets_human.txt --out data/basenji2/human"
    )
    if variant == "joint":
        config.dataset.paths = ("data/basenji2/human", "data/basenji2/mouse")
        config.monitor = "pearson_bin_per_track_mean@human,pearson_bin_per_track_mean@mouse"
    elif variant in ("small", "real"):
        config.model.heads, config.model.head_names = (HEAD,), ("head",)
        config.model.trunk = SMALL_TRUNK if variant == "small" else REAL_TRUNK
        config.model.gelu = "tanh"
        config.task.one_draw_per_batch = False
        config.task.reverse_complement, config.task.shift = True, 3
        if variant == "real":
            _real(config)
    return config


def _real(config: ConfigDict) -> None:
    """A few dozen records: short stretches of them, and all that keeps a network from learning them by heart."""
    config.task.context, config.task.train_bins = 8_192, 1_024
    config.batch_size, config.eval_batch_size = 4, 1
    config.model.bn_momentum = 0.99  # statistics of about as many steps as the average of the weights
    config.unit, config.steps = "step", 2_400
    config.eval_every, config.save_every, config.log_every = 100, 100, 20
    config.patience, config.patience_from = None, 0
    config.monitor = "pearson_bin_per_track_mean"
    config.optimizer.name, config.optimizer.learning_rate = "adamw", 2e-3
    config.optimizer.b1, config.optimizer.b2, config.optimizer.weight_decay = 0.9, 0.99, 0.05
    config.optimizer.clip_variable_norm, config.optimizer.clip_norm = None, 1.0
    config.optimizer.schedule, config.optimizer.warmup_steps = "cosine", 100
    config.optimizer.ema_decay = 0.99
