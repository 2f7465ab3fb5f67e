"""What lies in a folder, piece by piece: whole or damaged. Runs, cross-validations, datasets and results of verbs."""

from collections.abc import Iterator
from pathlib import Path

from jaxepi.data.array_folder import is_array_folder
from jaxepi.data.verify import is_dataset, verify_arrays, verify_dataset
from jaxepi.errors import JaxepiError
from jaxepi.evaluate.result import EvalResult
from jaxepi.storage.verify import Finding, checked, verify_checkpoints, verify_file

_CONFIG, _LOG, _CHECKPOINTS, _EVALUATIONS, _DAMAGED = "config.json", "log.jsonl", "checkpoints", "eval", "damaged"
# of a run, without checksums or other programs' own
_NOT_LOOKED_AT = ("report", "tensorboard", "profile", "wandb")


def verify(path: Path) -> Iterator[Finding]:
    """Checks all that lies at `path`, part by part as it is read.

    Args:
      path: a run, a cross-validation, a dataset, a folder of results, a file of one, or a folder with such folders.

    Raises:
      JaxepiError: there is nothing at `path`, or nothing that can be checked.
    """
    if not path.exists():
        raise JaxepiError(f"There is nothing at {path}; give the folder of a run or of a dataset.")
    if path.is_dir() and not _is_known(path):
        inside = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _is_known(folder)]
    else:
        inside = []
    found = False
    for finding in _verify_known(path, inside):
        found = True
        yield finding
    if not found:
        raise JaxepiError(
            f"{path} holds no run, no dataset and no file with a checksum; give the folder of a run (it has "
            f"{_CHECKPOINTS}/) or of a dataset (it has manifest.json)."
        )


def _verify_known(path: Path, inside: list[Path]) -> Iterator[Finding]:
    if path.is_file():
        finding = verify_file(path)
        yield from [finding] if finding is not None else []
    elif is_array_folder(path):
        yield from verify_arrays(path)
    elif is_dataset(path):
        yield from verify_dataset(path)
    elif _is_run(path):
        yield from _verify_run(path)
    elif inside:
        yield from _verify_files(path.iterdir())
        for folder in inside:
            yield from _verify_known(folder, [])
    else:
        yield from _verify_files(path.rglob("*"))


def _is_known(path: Path) -> bool:
    return is_array_folder(path) or is_dataset(path) or _is_run(path)


def _is_run(path: Path) -> bool:
    return (path / _CHECKPOINTS).is_dir() or (path / _LOG).is_file()


def _verify_run(workdir: Path) -> Iterator[Finding]:
    """Its config and log, every checkpoint, every evaluation, and what verbs have written into it."""
    yield from _verify_files(workdir.iterdir())
    for folder in [workdir / _CHECKPOINTS, *sorted(workdir.glob("best*"))]:
        if folder.is_dir():
            yield from verify_checkpoints(folder)
    for folder in sorted(folder for folder in workdir.iterdir() if folder.is_dir()):
        if folder.name == _EVALUATIONS:
            for split in sorted(folder.iterdir()):
                yield checked(split, _check_evaluation, split)
        elif folder.name == _DAMAGED:
            for checkpoint in sorted(folder.iterdir()):
                yield Finding(checkpoint, "left over", "a damaged checkpoint that a start of the run moved away")
        elif folder.suffix == ".partial":
            yield Finding(folder, "left over", "of work that was stopped or goes on; the same command again ends it")
        elif is_array_folder(folder):
            yield from verify_arrays(folder)
        elif is_dataset(folder):
            yield from verify_dataset(folder)
        elif folder.name not in (_CHECKPOINTS, *_NOT_LOOKED_AT) and not folder.name.startswith("best"):
            yield from _verify_files(folder.rglob("*"))


def _check_evaluation(folder: Path) -> str:
    result = EvalResult.load(folder)
    return f"metrics of {len(result.tracks):,} tracks, checksums of its arrays"


def _verify_files(paths: Iterator[Path]) -> Iterator[Finding]:
    for path in sorted(path for path in paths if path.is_file() and not path.name.startswith(".")):
        finding = verify_file(path)
        if finding is not None:
            yield finding
