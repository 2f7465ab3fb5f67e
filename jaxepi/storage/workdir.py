"""The folder of a run: its lock and its config."""

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import plain, write_text
from jaxepi.storage.lock import hold


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the run's folder and holds it for this process; the lock ends with the process, however it ends.

    Raises:
      JaxepiError: another run holds it, or it cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = hold(workdir / "lock") if jax.process_index() == 0 else None
    except BlockingIOError:
        holder = (workdir / "lock").read_text().strip() or "unknown"
        raise JaxepiError(
            f"Another run (process {holder}) is writing to {workdir}; wait for it, stop it, or choose another "
            "--workdir."
        ) from None
    except OSError as problem:
        raise _cannot_write(workdir, problem) from problem
    if file is None:  # the first host holds the lock for all
        yield
        return
    with file:
        try:
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{os.getpid()} on {platform.node()}".encode())  # closing has nothing left to write
        except OSError as problem:
            raise _cannot_write(workdir, problem) from problem
        yield


def _cannot_write(workdir: Path, problem: OSError) -> JaxepiError:
    return JaxepiError(f"Cannot write to --workdir {workdir}: {problem.strerror}; make room or choose another.")


def keep_config(workdir: Path, config: Any, command_line: list[str]) -> str:
    """Writes workdir/config.json (first run only) and returns the config as JSON."""
    text = json.dumps(plain(config, strict=False), indent=1, sort_keys=True)
    path = workdir / "config.json"
    if jax.process_index() == 0 and not path.exists():
        write_text(path, json.dumps({"config": json.loads(text), "command": command_line}, indent=1) + "\n")
    return text
