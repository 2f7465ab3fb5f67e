"""The model that a verb works with, from a run or a released file, and the dataset that goes with it."""

from pathlib import Path
from typing import Any

import jaxepi
from jaxepi.config import dataset_source
from jaxepi.data import Dataset
from jaxepi.data.open import find_dataset
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor


def load_predictor(source: Path | str, config: Any, checkpoint: str | None, **asked: Any) -> Predictor:
    """The predictor of a run, or of a released file, which reads records as the section `task` of the config says.

    Args:
      source: the folder of a run, or a file.
      config: what the user gave, or None.
      checkpoint: of a run: "best", "best_<metric>" or "last"; None for what its config says.
      **asked: what else `jaxepi.load` takes, such as `head`; None is as if it was not given.

    Raises:
      JaxepiError: nothing there, a checkpoint of a file, or the config is for another system than the file.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    if Path(source).is_dir():
        return jaxepi.load(source, which=checkpoint, **asked)
    predictor = jaxepi.load(source, **asked)
    if checkpoint is not None:
        raise JaxepiError(f"{source} is a released file and no run with checkpoints: leave out --checkpoint.")
    if config is None:
        return predictor
    if config.system != predictor.system.name:
        raise JaxepiError(
            f"The config is for {config.system!r}, but {source} holds a model of {predictor.system.name}."
        )
    return jaxepi.load(source, task=config.task, **asked)


def dataset_of(predictor: Predictor, config: Any) -> tuple[Dataset, int]:
    """The dataset that a config, or else the predictor's run, names, and the batch size for it.

    Raises:
      JaxepiError: neither names one, or there is no dataset.
    """
    config = config if config is not None else predictor.config
    if config is None:
        raise JaxepiError(f"--config is needed here, the experiment whose dataset {predictor.source} is to read.")
    return find_dataset(**dataset_source(config), kinds=predictor.system.datasets), config.eval_batch_size
