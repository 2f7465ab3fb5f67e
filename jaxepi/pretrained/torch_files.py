"""torch files without executing anything from them.

torch's own restricted loader does the reading; the types below, which carry data only, are all that it may build
beyond tensors and plain containers. torch is imported when a file needs it, never by importing jaxepi.
"""

import collections
import datetime
import importlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np

from jaxepi.errors import JaxepiError

OLDEST_SAFE_TORCH = (2, 6)  # before it, a crafted file could execute code even under weights_only (CVE-2025-32434)
_NUMERIC_CODES = "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]


def harmless_types() -> list[Any]:
    """What training scripts put beside the tensors: dates, NumPy scalars and numeric arrays (old and new names)."""
    rebuild_scalar = np.float32(0).__reduce__()[0]
    rebuild_array = np.zeros(1).__reduce__()[0]
    numpy_names = [
        (function, f"numpy.{core}.multiarray.{function.__name__}")
        for core in ("core", "_core")
        for function in (rebuild_scalar, rebuild_array)
    ]
    dates = [datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone]
    dtypes = list({type(np.dtype(code)) for code in _NUMERIC_CODES})
    return [*dates, np.ndarray, np.dtype, *dtypes, *numpy_names]


def read_torch(file: Path | IO[bytes], name: str) -> Any:
    """The object that a torch file holds, tensors on the CPU (memory-mapped where the format allows).

    Args:
      file: a path, or a binary stream for a file that had to be unpacked first.
      name: what errors call the file.

    Raises:
      JaxepiError: torch is not installed, the file is damaged, or it holds a type that could execute code.
    """
    torch = _torch(name)
    if _is_script(file):
        raise JaxepiError(
            f"{name} is a TorchScript archive, which holds code beside its tensors and is not run here: save the "
            "state dict of the module with the program that made it, and load that."
        )
    mapped = isinstance(file, Path) and zipfile.is_zipfile(file)
    try:
        with torch.serialization.safe_globals(harmless_types()):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as problem:  # torch's own text advises to switch the protection off: never pass it on
        refused = re.search(r"GLOBAL ([\w.]+)|got <class '([\w.]+)'>", str(problem))
        if refused:
            raise JaxepiError(
                f"{name} was refused: besides tensors it wants to create {refused[1] or refused[2]!r}, which may "
                "execute code; save only its state dict with the program that made it, and load that."
            ) from None
        reason = re.search(r"WeightsUnpickler error:\s*(.+)", str(problem))
        raise JaxepiError(f"{name} is not a readable torch file ({reason[1] if reason else 'damaged'}).") from None
    except Exception as problem:  # a damaged pickle fails in as many ways as there are bytes
        raise JaxepiError(f"{name} is not a readable torch file ({_first_line(problem)}).") from problem


def _is_script(file: Path | IO[bytes]) -> bool:
    """Whether this is a zip archive as TorchScript writes it."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(member.rsplit("/", 1)[-1] == "constants.pkl" for member in archive.namelist())
    except Exception:  # no zip, or a damaged one: torch says so
        return False
    finally:
        if not isinstance(file, Path):
            file.seek(0)


def as_array(value: Any, name: str = "a tensor") -> np.ndarray | None:
    """A tensor (or array) as NumPy without a copy where possible; None if the value is neither.

    Raises:
      JaxepiError: a kind of tensor that NumPy does not have (sparse, quantised, float8, without data); it is `name`.
    """
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if not (hasattr(value, "detach") and hasattr(value, "numpy")):
        return np.asarray(value) if hasattr(value, "__array__") else None
    try:
        tensor = value.detach().cpu().contiguous()
        if str(tensor.dtype) == "torch.bfloat16":  # NumPy has no such type; float32 holds its values exactly
            tensor = tensor.float()
        return tensor.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as problem:
        kind = f"{value.dtype}, {value.layout}, on {value.device}".replace("torch.", "")
        raise JaxepiError(
            f"{name} is a tensor of a kind that is not read here ({kind}): make it dense and of float32 with the "
            "program that made it (to_dense(), dequantize(), float()), and save it again."
        ) from problem


def write_torch(file: IO[bytes], arrays: Mapping[str, np.ndarray], wrapper: str, extra: Mapping[str, Any]) -> None:
    """Saves arrays as an ordered state dict under the key `wrapper`, beside the plain values of `extra`."""
    torch = _torch("The .pth format")
    tensors = collections.OrderedDict((name, torch.from_numpy(np.array(array))) for name, array in arrays.items())
    torch.save({wrapper: tensors, **extra}, file)


def _torch(name: str) -> ModuleType:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise JaxepiError(f"{name} needs PyTorch: run `pip install 'jaxepi[convert]'`.") from None
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_SAFE_TORCH:
        raise JaxepiError(
            f"{name} needs PyTorch 2.6 or newer, whose restricted loader is sound, but {torch.__version__} is "
            "installed: run `pip install -U 'jaxepi[convert]'`."
        )
    return torch


def _first_line(problem: Exception) -> str:
    """What went wrong, unless torch advises to switch its protection off."""
    text = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
    return type(problem).__name__ if "weights_only" in text else text
