"""Opens what lies at a path as a dataset."""

import os
import shlex
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import jax

from jaxepi.data import coverage_folder
from jaxepi.data.dataset import Dataset, open_prepared
from jaxepi.data.mixture import Mixture
from jaxepi.errors import JaxepiError


def open_dataset(path: str | os.PathLike[str], kinds: Collection[str] | None = None) -> Dataset:
    """Opens the dataset at `path` with the reader for the layout that lies there; see docs/data_format.md.

    Args:
      path: a folder that data_prep wrote, or one in a layout of others that is read as it is.
      kinds: what the dataset may be, such as ("coverage",); None: anything.

    Raises:
      JaxepiError: there is no dataset, it is incomplete or contradicts itself, or it is of another kind.
    """
    path = Path(path)
    if not path.is_dir() or not any(path.iterdir()):
        kind = next(iter(kinds), "KIND") if kinds else "KIND"
        raise JaxepiError(
            f"{path}: there is no dataset here; make it with `python -m data_prep {kind} --out {path} ...`"
        )
    if coverage_folder.is_coverage_folder(path):
        _check_kind(path, coverage_folder.KIND, kinds)  # before the work that opening may be
        return coverage_folder.open_coverage_folder(path)
    dataset = open_prepared(path)
    _check_kind(path, dataset.kind, kinds)
    return dataset


def _check_kind(path: Path, kind: str, kinds: Collection[str] | None) -> None:
    if kinds is not None and kind not in kinds:
        raise JaxepiError(
            f"{path}: this dataset is of kind {kind!r}, but {' or '.join(map(repr, kinds))} was asked for; give the "
            "folder of such a dataset."
        )


def find_dataset(
    path: str | os.PathLike[str],
    *,
    paths: Sequence[str | os.PathLike[str]] = (),
    sample: str = "",
    command: str = "",
    kinds: Collection[str] | None = None,
) -> Dataset | Mixture:
    """Opens the dataset of a run, or several; an embedded sample is made first if it is not there yet.

    Args:
      path: the dataset.
      paths: if any, these datasets instead, as one mixture.
      sample: the data_prep command that makes the sample; "" if there is none.
      command: that makes the dataset, for messages; of a sample, its --out says where it belongs, and it is made at no
        other place.
      kinds: see `open_dataset`.

    Raises:
      JaxepiError: nothing there: says which command makes it; or what is there is not whole or does not fit.
    """
    if paths:
        datasets = [find_dataset(each, command=command, kinds=kinds) for each in paths]
        return Mixture(datasets) if len(datasets) > 1 else datasets[0]
    path = Path(path)
    if not path.exists():
        place = _sample_place(command) if sample else None
        if place is None:
            raise JaxepiError(
                f"There is no dataset at {path}: make it with `{command}`, point --config.dataset.path at one, "
                "or use the config's :sample variant, which needs none."
            )
        if path.absolute() != place.absolute():
            raise JaxepiError(
                f"There is no dataset at {path}, and the embedded sample is made at {place} only: leave "
                "--config.dataset.path out, or point it at a dataset."
            )
        if jax.process_index() == 0:
            _make_sample(sample, path)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("sample")
    return open_dataset(path, kinds)


def _sample_place(command: str) -> Path | None:
    """Where the command that makes a sample puts its dataset."""
    words = shlex.split(command)
    return Path(words[words.index("--out") + 1]) / "dataset" if "--out" in words[:-1] else None


def _make_sample(name: str, path: Path) -> None:
    """The embedded sample through the very command that users run for their own files."""
    print(f"preparing the embedded sample in {path.parent}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "data_prep", name, "--out", str(path.parent)]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(":")}
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode or not path.exists():
        raise JaxepiError(f"The embedded sample could not be made; the command was `{' '.join(command)}`.")
