"""The folds of a cross-validation: parts of one dataset, each held out once while the others train."""

from typing import Any

from jaxepi.errors import JaxepiError, did_you_mean


def hold_out(config: Any, fold: str) -> None:
    """Makes `config` validate on one of config.dataset.folds and train on the others; a test split is left alone.

    Raises:
      JaxepiError: the config has no such fold, or no folds.
    """
    folds = check_folds(config)
    if fold not in folds:
        raise JaxepiError(f"There is no fold {fold!r}{did_you_mean(fold, folds)}; config.dataset.folds has {folds}.")
    config.dataset.train_split = "+".join(other for other in folds if other != fold)
    config.dataset.validation_split = fold


def check_folds(config: Any) -> tuple[str, ...]:
    """The names in config.dataset.folds.

    Raises:
      JaxepiError: fewer than two, or one twice.
    """
    folds = tuple(config.dataset.get("folds", ()))
    if len(folds) < 2:
        raise JaxepiError(
            f"config.dataset.folds is {folds}, but cross-validation needs two or more splits of the dataset, such as "
            "--config.dataset.folds=\"('fold1','fold2')\"."
        )
    twice = next((fold for number, fold in enumerate(folds) if fold in folds[:number]), None)
    if twice is not None:
        raise JaxepiError(f"config.dataset.folds names {twice!r} twice; each fold is held out once.")
    return folds
