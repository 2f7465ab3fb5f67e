"""CS282A, linear probe: LMNB1 and CpG methylation in bins of 128 bp from the embeddings of Basenji2.

Paper     Class project CS282A (2023), https://github.com/OberonDixon/basenji2_cs282a_cpg-lmnb1; LMNB1 of Shah et al.,
          Cell Stem Cell 2023 (PMC9869549), embeddings of Basenji2: Kelley, PLoS Computational Biology 2020,
          doi 10.1371/journal.pcbi.1008050
Data      The 38,171 windows of Basenji2's human data (sequences.bed), embedded by its trunk, and 18 tracks of labels:
          python launch.py embed --weights model_human.h5 --fasta hg38.fa --regions sequences.bed --out embeddings/human
          python -m data_prep labels --windows sequences.bed --tracks cs282a --folder bigwigs --lift parity
          --gap-log2 0 --chains hg38.t2t-chm13-v1.0.over.chain.gz v1.0_to_v1.1_rdna_merged.chain --out labels/human
          python -m data_prep embeddings --embeddings embeddings/human --labels labels/human --out data/cs282a_bins
          (docs/embeddings.md has all options; float16 embeddings take about 105 GB)
Run       python launch.py --config configs/cs282a_linear.py --workdir runs/cs282a_linear
Hardware  one GPU of any size, or a CPU: 27,666 parameters, a batch of 4 windows is 11 MB; the disk decides. Hours
          are not published.
Expected  Validation Pearson 0.55 after ten epochs, loss -436.1 (the original's, from its stored output). Metric:
          pearson_bin_per_track_mean = per track the correlation of predicted and measured labels over all bins of the
          split, then the mean over 18 tracks. The original's sums are float32, and its labels cut off to whole numbers.

Variants  :sample  on the embedded synthetic sample, made by itself; a minute on 2 CPU cores (Pearson 0.94 of 0.98 that
                   is possible; its 38 windows are few for the heads of windows)
          :smoke   20 steps on the same sample, to see that everything works
          :modern  labels as they are, Adam with warm-up + cosine, the best epoch by validation
"""

from ml_collections import ConfigDict

from configs.base import get_base
from jaxepi.errors import JaxepiError, did_you_mean

VARIANTS = ("paper", "modern", "sample", "smoke")


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/cs282a_linear.py:sample` chooses a variant."""
    if variant not in VARIANTS:
        raise JaxepiError(f"Unknown variant {variant!r}{did_you_mean(variant, VARIANTS)}; known are {VARIANTS}.")
    config = get_base()
    config.system = "cs282a"

    config.model = ConfigDict()  # fields: jaxepi.systems.cs282a.model.Cs282aConfig; the dataset tells tracks and bins
    config.model.head = "linear"  # linear (bins) | conv | maxpool | transformer (windows)
    config.model.hidden = 500  # channels behind the convolution (conv, maxpool)
    config.model.heads = 6  # of the attention (transformer)
    config.model.expansion = 2  # width of the feed-forward block / channels (transformer)
    config.model.dropout = 0.2  # rate (transformer)
    # The original's transformer attends over the examples of a batch, "batch"; "sequence" attends along the genome.
    config.model.attention_axis = "batch"
    config.model.dtype = "float32"  # compute dtype: float32 | bfloat16
    config.model.remat = False  # recompute the head in the backward pass: less memory, more time
    config.model.trunk = ""  # system of a trunk that reads sequence, trained with the head; "" = embeddings
    config.model.trunk_sizes = ConfigDict()  # fields of that system's config.model
    config.model.lora_rank = 0  # of a trained change of the matrices of a frozen trunk; 0 = none

    config.task = ConfigDict()  # fields: jaxepi.systems.cs282a.task.Cs282aObjective
    config.task.loss = "head"  # poisson | mse | head: poisson in bins, mse of windows
    config.task.truncate_labels = True  # the original cuts labels of bins off to whole numbers; False keeps them
    config.task.nan_labels = "mask"  # mask | nan_to_num_grads (parity of the heads of windows)
    config.task.window_labels = "dataset"  # dataset | mean: labels of a window, or the mean over its bins
    config.task.mix_in_evaluation = True  # parity: in validation too the transformer attends over the batch
    config.task.trunk_weights = ""  # of the trunk that made the embeddings; "" = as the dataset tells

    config.dataset.path = "data/cs282a_bins"
    config.dataset.command = (
        "python -m data_prep embeddings --embeddings embeddings/human --labels labels/human --out data/cs282a_bins"
    )
    config.batch_size = config.eval_batch_size = 4
    config.unit = "epoch"  # of steps, eval_every and save_every
    config.steps, config.eval_every, config.save_every = 10, 1, 1
    config.log_every = 250  # steps
    config.report_checkpoint = "last"  # as the original: the weights after the last epoch
    config.optimizer.name, config.optimizer.learning_rate, config.optimizer.b1 = "sgd", 0.15, 0.99

    if variant == "modern":
        correct(config)
    elif variant != "paper":
        sample(config, smoke=variant == "smoke")
    return config


def correct(config: ConfigDict) -> None:
    """What is better for new training than in the original, for any of the heads."""
    config.model.attention_axis = "sequence"
    config.task.truncate_labels, config.task.mix_in_evaluation, config.task.nan_labels = False, False, "mask"
    config.monitor = None
    config.report_checkpoint = "best"
    config.optimizer.name, config.optimizer.learning_rate, config.optimizer.b1 = "adam", 3e-4, 0.9
    config.optimizer.schedule, config.optimizer.warmup_steps = "cosine", 1
    config.optimizer.clip_norm = 1.0


def sample(config: ConfigDict, smoke: bool) -> None:
    """The embedded sample, whose rules can be learned from few windows."""
    correct(config)
    config.dataset.sample = "embeddings-sample"
    config.dataset.path = "data/sample_embeddings/dataset"
    config.dataset.command = "python -m data_prep embeddings-sample --out data/sample_embeddings"
    config.model.hidden, config.model.heads = 32, 2
    config.task.window_labels = "mean"  # the sample has labels in bins
    config.unit = "step"
    config.steps = 20 if smoke else 400
    config.log_every, config.eval_every, config.save_every = (5, 10, 10) if smoke else (50, 100, 100)
    config.optimizer.learning_rate, config.optimizer.warmup_steps = 3e-2, 5
