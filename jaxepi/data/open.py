"""Opens what lies at a path as a dataset."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from jaxepi.data import Dataset, open_dataset
from jaxepi.errors import JaxepiError


def find_dataset(config: Any) -> Dataset:
    """Opens config.dataset.path; for the embedded sample it is made first if it is not there yet.

    Raises:
      JaxepiError: nothing there: says which command makes it; or what is there is not whole.
    """
    section = config.dataset
    path = Path(section.path)
    if not path.exists():
        if not section.sample:
            raise JaxepiError(
                f"There is no dataset at {path}: make it with `{section.command}`, point --config.dataset.path at one, "
                "or use the config's :sample variant, which needs none."
            )
        if jax.process_index() == 0:
            _make_sample(section.sample, path)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("sample")
    return open_dataset(path)


def _make_sample(name: str, path: Path) -> None:
    """The embedded sample through the very command that users run for their own files."""
    print(f"preparing the embedded sample in {path.parent}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "data_prep", name, "--out", str(path.parent)]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(":")}
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode or not path.exists():
        raise JaxepiError(f"The embedded sample could not be made; the command was `{' '.join(command)}`.")
