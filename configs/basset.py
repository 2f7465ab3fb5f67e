"""Basset: DNase accessibility of 164 cell types at sites of 192 bp from 1,344 bp of sequence, in its Basenji form.

Paper     Kelley et al., Basset, Genome Research 2016, doi 10.1101/gr.200535.115; network and settings of the original's
          manuscripts/basset, which differ from the first Basset
Data      hg19 and 164 peak files, in the peaks mode of data preparation:
          python -m data_prep coverage --fasta hg19.fa --targets targets.txt --peaks --out data/basset
          (windows of 1,344 bp, 576 bp cropped, one bin of 192 bp, --blacklist, 12 % each for valid and test)
Run       python launch.py --config configs/basset.py --workdir runs/basset
Hardware  any GPU with 8 GB (6.0 M parameters; batch 64 of 1,344 bp)
Expected  auc_bin_per_track_mean around 0.9 is usual for such data; no figure of this network is published.
          Metric: per track the AUC over all windows of the split, labels above 0.5 positive, then the mean over tracks.
          The original counts every label that is not 0 as positive.

Variants  :small  the same with a quarter of the filters, 0.5 M parameters
          :sample a small network on the embedded synthetic sample of coverage, made by itself
          :smoke  20 steps of it, to see that everything works
"""

from ml_collections import ConfigDict

from configs.basenji import from_params, on_sample
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.systems.basenji.presets import BASSET

SMALL_TRUNK = (
    {"name": "conv_dna", "filters": 72, "kernel_size": 17, "pool_size": 3},
    {
        "name": "conv_tower", "filters_init": 72, "filters_end": 128, "divisible_by": 8, "kernel_size": 5,
        "pool_size": 2, "repeat": 6,
    },
    {"name": "conv_block", "filters": 64, "kernel_size": 1},
    {"name": "dense_block", "flatten": True, "units": 192, "dropout": 0.2},
)  # fmt: skip


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/basset.py:small` chooses a variant."""
    known = ("paper", "small", "sample", "smoke")
    if variant in ("sample", "smoke"):
        return on_sample(variant == "smoke")
    if variant not in known:
        raise JaxepiError(f"Unknown variant {variant!r}{did_you_mean(variant, known)}; known are {known}.")
    config = from_params(BASSET, loop="keras")  # which watches the loss where targets are labels
    config.dataset.path = "data/basset"
    config.dataset.command = (
        "python -m data_prep coverage --fasta hg19.fa --targets targets.txt --peaks --out data/basset"
    )
    if variant == "small":
        config.model.trunk = SMALL_TRUNK
    return config
