"""Files that are either complete under their name or not there."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxepi.errors import JaxepiError


@contextlib.contextmanager
def replacing(path: Path, *, locked: bool = False) -> Iterator[Path]:
    """A file beside `path`, for whatever writes files, that takes its place when the block ends well, on disk by then.

    Args:
        path: what is to be there, whole or not at all; what was there stays until then.
        locked: no other process writes into this folder, so that one fixed name serves: a killed process then leaves at
            most one such file, which the next write takes over. Otherwise every writer has a file of its own.

    Raises:
        OSError: as it comes; nothing is left beside `path`.
    """
    if locked:
        partial = path.with_name(f".{path.name}")
    else:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        partial = Path(name)
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o644)  # a temporary file is its user's alone
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
