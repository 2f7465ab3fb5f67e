"""Any network of the Basenji programs, from its params.json: `--config configs/basenji.py:models/params.json`.

Paper     Kelley, Cross-species regulatory sequence activity prediction, PLoS Computational Biology 2020,
          doi 10.1371/journal.pcbi.1008050, and others whose programs read such a file
Data      a folder of the original's basenji_data.py as it is, or BigWigs, FASTA and a table of tracks:
          python -m data_prep coverage --fasta hg38.fa --targets targets.txt --out data/coverage
Run       python launch.py --config configs/basenji.py:models/params.json --workdir runs/mine \\
              --config.dataset.path=data/coverage
Hardware  as the network asks for; docs/basenji.md tells the memory of Basenji2
Expected  pearson_bin_per_track_mean = of each track one Pearson correlation over all bins of all windows of the split,
          then the mean over tracks; how high depends on the network and the tracks

The section `train` of the file sets loss, optimizer, clipping, schedule, batch size and early stopping; what its
`model` says becomes config.model and config.task, which the command line can change as always. Several datasets,
--config.dataset.paths="('data/human','data/mouse')", go through a head each; config.monitor then names a metric of
each, such as pearson_bin_per_track_mean@human. With one dataset, config.task.head is the number of its head.

Variants  the path of a params.json; without one, the network of configs/basenji2.py
          :sample  a small network on the embedded synthetic sample, made by itself; minutes on 2 CPU cores
          :smoke   20 steps of it, to see that everything works
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from configs.base import get_base
from jaxepi.config import section_of
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.systems.basenji.model import BasenjiConfig
from jaxepi.systems.basenji.params import train_fields, translate
from jaxepi.systems.basenji.presets import BASENJI2
from jaxepi.systems.basenji.task import BasenjiObjective

SAMPLE_TRUNK = (
    {"name": "conv_block", "filters": 24, "kernel_size": 15, "pool_size": 4},
    {"name": "conv_tower", "filters_init": 24, "filters_end": 32, "kernel_size": 5, "pool_size": 2, "repeat": 5},
    {"name": "dilated_residual", "filters": 16, "rate_mult": 2, "repeat": 3, "dropout": 0.1},
    {"name": "Cropping1D", "cropping": 8},
    {"name": "conv_block", "filters": 48},
)


def get_config(variant: str = "") -> ConfigDict:
    """The experiment; `--config configs/basenji.py:params.json` gives the file."""
    if variant in ("sample", "smoke"):
        return on_sample(variant == "smoke")
    if variant and not variant.endswith(".json"):
        known = ("the path of a params.json", "sample", "smoke")
        raise JaxepiError(f"Unknown variant {variant!r}{did_you_mean(variant, known)}; known are {known}.")
    config = from_params(variant or BASENJI2)
    config.dataset.path = "data/coverage"
    config.dataset.command = "python -m data_prep coverage --fasta hg38.fa --targets targets.txt --out data/coverage"
    return config


def from_params(params: Any, loop: str = "tape") -> ConfigDict:
    """The experiment of a params.json, its path or its content.

    Args:
      params: of the network.
      loop: which of the original's loops is meant, see `train_fields`.
    """
    config, told = get_base(), translate(params)
    config.system = "basenji"
    config.model = section_of(BasenjiConfig)
    # blocks as JSON, one text each; the dataset decides the window
    config.model.update(dataclasses.asdict(BasenjiConfig(**told.model)))
    del config.model["window"]
    config.task = section_of(BasenjiObjective)
    config.task.update(told.task)
    config.task.one_draw_per_batch = True  # as the original: one flip and one shift for all windows of a batch
    if told.train:
        config.update_from_flattened_dict(train_fields(told.train, loop))
    return config


def on_sample(smoke: bool) -> ConfigDict:
    """A small network on the embedded sample: a few synthetic tracks with rules that can be learned."""
    config = get_base()
    config.system = "basenji"
    config.model, config.task = section_of(BasenjiConfig), section_of(BasenjiObjective)
    del config.model["window"]
    config.model.trunk = SAMPLE_TRUNK
    config.task.reverse_complement, config.task.shift = True, 3
    config.dataset.sample = "coverage-sample"
    config.dataset.path = "data/coverage_sample/dataset"
    config.dataset.command = "python -m data_prep coverage-sample --out data/coverage_sample"
    config.batch_size = config.eval_batch_size = 4
    config.steps = 20 if smoke else 1_000
    config.max_minutes = None if smoke else 6.0  # on slow machines the schedule is cut short
    config.log_every, config.eval_every, config.save_every = (5, 10, 10) if smoke else (50, 200, 200)
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule, config.optimizer.warmup_steps = "cosine", 5 if smoke else 50
    config.optimizer.clip_norm = 1.0
    return config
