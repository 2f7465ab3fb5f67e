"""Files that are either complete under their name or not there."""

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxepi.errors import JaxepiError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Makes `path` from what `write` puts into a binary file; the folder is made if needed.

    Raises:
        JaxepiError: the file cannot be written (no permission, full disk); nothing is left under the name.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as problem:
        raise JaxepiError(f"Cannot write {path}: {problem.strerror or problem}; free the disk or the folder.") from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON atomically: NaN and infinities become null, NumPy values plain ones."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a compressed .npz atomically."""
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def plain(value: Any) -> Any:
    """Nested values with Python numbers only and None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def finite(value: Any) -> Any:
    """Replaces numbers that are not finite by None, all the way down; arrays become lists."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if hasattr(value, "tolist"):
        return finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
