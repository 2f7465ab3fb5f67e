"""Melody-MT: DNA methylation of 39 human cell types at single CpGs from 10 kb of sequence.

Paper     Jin et al., Decoding the sequence determinants of locus-specific DNA methylation across human tissues,
          Nature Communications 2026, doi 10.1038/s41467-026-76744-5
Data      GRCh38 (UCSC names) and the 39 BigWigs of GSE186458 (Loyfer et al. 2023), track order as in the paper:
          python -m data_prep melody --fasta hg38.fa --bigwigs-dir bigwigs --tracks tracks.csv --out data/melody_mt
Run       python launch.py --config configs/melody_mt.py --workdir runs/melody_mt
Hardware  one GPU with 80 GB (40.3 M parameters; batch 32 of 10 kb in float32; less with
          --config.model.dtype=bfloat16, --config.model.remat=True or --config.optimizer.accumulate=4).
          Hours are not published; docs/performance.md has measured samples/s; 1,000,000 steps are 32 million windows.
Expected  AUC at CpGs, mean over 39 tracks: 0.885 on chr10 (valid), 0.862 on chr8 + chr9 (test); sd over tracks 0.01.
          Metric: auc_cpg_per_track_mean = per track the AUC of sigmoid(logit) against beta > 0.5 over both letters of
          the CpGs in the non-overlapping 10-kb tiles of the split, then the mean over tracks. The published workbook
          keeps CpGs without coverage as negatives and this program leaves them out, which gives higher values (the
          journal's figure 2G: 0.86 to 0.92 for seven tracks).

Variants  :sample  a narrow model on the embedded synthetic sample, made by itself; about 6 minutes on 2 CPU cores
          :smoke   20 steps of a tiny model on the same sample, to see that everything works
          :modern  the paper's model with missing CpGs left out, bfloat16, warm-up + cosine, clipping and EMA
"""

from ml_collections import ConfigDict

from configs.base import get_base
from jaxepi.errors import JaxepiError, did_you_mean


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/melody_mt.py:sample` chooses a variant."""
    config = get_base()
    config.system = "melody"

    config.model = (
        ConfigDict()
    )  # fields: jaxepi.systems.melody.model.MelodyConfig; the number of tracks is the dataset's
    config.model.width = 256  # channels of the trunk
    config.model.count_classes = 7  # classes of the CpG-count head
    config.model.dtype = "float32"  # compute dtype: float32 | bfloat16
    config.model.remat = False  # recompute levels in the backward pass: less accelerator memory, more time

    config.task = ConfigDict()  # fields: jaxepi.systems.melody.task.MelodyObjective
    config.task.focal = "fixed"  # none | fixed | advanced; the paper's best grid point is fixed with 8 and 32
    config.task.any_cpg_weight = 8.0  # a CpG with beta >= 0.5 weighs 1 + this
    config.task.low_cpg_weight = 32.0  # a CpG with beta < 0.5 weighs this
    config.task.focal_gamma = 0.0  # focal exponent; 0 = no focal factor, as in the original
    config.task.target = "beta"  # beta | binary
    config.task.count_weight = 0.01  # of the CpG-count loss
    config.task.count_bin_width = 5  # CpG letters per class
    config.task.average_weight = 1.0  # of the regional-mean loss
    config.task.loss_ceiling = 1e7  # tracks with a larger loss are left out of a step
    # The original takes a CpG without any record as measured 0; "missing" is the correct choice for new data.
    config.task.recordless = "unmethylated"
    # The original's weight mask counts N beside N, C or G as CpG, because its N is 0.25 of each base.
    config.task.n_counts_as_cpg = True
    config.task.reverse_complement = False  # flip half of the training windows; the original never does

    config.dataset.path = "data/melody_mt"
    config.dataset.command = (
        "python -m data_prep melody --fasta hg38.fa --bigwigs-dir bigwigs --tracks tracks.csv --out data/melody_mt"
    )
    config.steps = 999_999  # the original stops before update 1,000,000
    config.optimizer.learning_rate = 1e-3  # constant, torch's Adam defaults

    if variant == "modern":
        _correct(config)
        config.model.dtype = "bfloat16"
        config.optimizer.schedule, config.optimizer.warmup_steps = "cosine", 2_000
        config.optimizer.clip_norm, config.optimizer.ema_decay = 1.0, 0.9995
    elif variant in ("sample", "smoke"):
        _sample(config, smoke=variant == "smoke")
    elif variant != "paper":
        known = ("paper", "modern", "sample", "smoke")
        raise JaxepiError(f"Unknown variant {variant!r}{did_you_mean(variant, known)}; known are {known}.")
    return config


def _correct(config: ConfigDict) -> None:
    """The treatment of missing CpGs and N for new training."""
    config.task.recordless = "missing"
    config.task.n_counts_as_cpg = False


def _sample(config: ConfigDict, smoke: bool) -> None:
    """The embedded sample: a few synthetic megabases with rules that can be learned."""
    _correct(config)
    config.dataset.sample = "melody-sample"
    config.dataset.path = "data/sample/dataset"
    config.dataset.command = "python -m data_prep melody-sample --out data/sample"
    config.model.width = 8 if smoke else 16
    config.task.reverse_complement = True
    config.batch_size, config.eval_batch_size = 4, 4
    config.steps = 20 if smoke else 2_400
    config.max_minutes = None if smoke else 6.0  # on slow machines the schedule is cut short
    config.log_every, config.eval_every, config.save_every = (5, 10, 10) if smoke else (50, 400, 400)
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule, config.optimizer.warmup_steps = "cosine", 5 if smoke else 50
    config.optimizer.clip_norm = 1.0
