"""Files that are either complete under their name or not there."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.storage.lock import hold


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path`, for whatever writes files, that takes its place when the block ends well, on disk by then.

    It is `.<name>`: what a killed process left there is taken over by the next write. Writers of the same path take
    turns, by a lock on that file; a library that locks files itself must be told not to.

    Args:
        path: what is to be there, whole or not at all; what was there stays until then.

    Raises:
        OSError: as it comes; nothing is left beside `path`.
    """
    partial = path.with_name(f".{path.name}")
    with _turn(partial):
        try:
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _turn(partial: Path) -> IO[str]:
    """The lock on a file that its holder moves or removes before letting go, and that the next one then makes anew."""
    while True:
        file = hold(partial, wait=True)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(partial)):
                return file
        file.close()


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Makes `path` from what `write` puts into a binary file; the folder is made if needed.

    Raises:
        JaxepiError: the file cannot be written (no permission, full disk); nothing is left under the name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, open(partial, "wb") as file:
            write(file)
    except OSError as problem:
        raise JaxepiError(f"Cannot write {path}: {problem.strerror or problem}; free the disk or the folder.") from None


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON atomically: NaN and infinities become null, NumPy values plain ones."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a compressed .npz atomically."""
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def plain(value: Any, *, strict: bool = True) -> Any:
    """Nested values as JSON can hold them: mappings (also ConfigDict), lists, numbers of Python, texts.

    Arrays become lists, keys texts, anything else its text. `strict` makes None of NaN and infinities, which strict
    JSON does not have; otherwise they stay, as Python's own `json` writes and reads them.
    """
    if hasattr(value, "items"):
        return {str(key): plain(item, strict=strict) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, strict=strict) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), strict=strict)
    if isinstance(value, float) and strict and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
