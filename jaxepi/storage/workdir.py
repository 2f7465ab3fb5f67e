"""The folder of a run: its lock and its config."""

import contextlib
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jaxepi.config import to_json
from jaxepi.errors import JaxepiError


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the run's folder and holds it for this process; the lock ends with the process, however it ends.

    Raises:
      JaxepiError: another run holds it, or it cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "lock").open("a+")
    except OSError as problem:
        raise JaxepiError(f"Cannot write to --workdir {workdir}: {problem.strerror}.") from problem
    with file:
        try:
            if jax.process_index() == 0:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise JaxepiError(
                f"Another run (process {holder}) is writing to {workdir}; wait for it, stop it, or choose another "
                "--workdir."
            ) from None
        if jax.process_index() == 0:
            file.truncate(0)
            file.write(f"{os.getpid()} on {platform.node()}")
            file.flush()
        yield


def keep_config(workdir: Path, config: Any, command_line: list[str]) -> str:
    """Writes workdir/config.json (first run only) and returns the config as JSON."""
    text = json.dumps(to_json(config), indent=1, sort_keys=True)
    path = workdir / "config.json"
    if jax.process_index() == 0 and not path.exists():
        partial = path.with_suffix(".json.partial")
        partial.write_text(json.dumps({"config": json.loads(text), "command": command_line}, indent=1) + "\n")
        partial.replace(path)
    return text
