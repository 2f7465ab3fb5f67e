"""safetensors files: the tensors in the order of the header, and the texts beside them.

The order says nothing about the model: the format sorts by type and name.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from jaxepi.errors import JaxepiError

_TYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "BOOL": np.bool_},
    **{f"{sign}{bits}": np.dtype(f"{sign.lower()}{bits // 8}") for sign in "IU" for bits in (8, 16, 32, 64)},
}


def read_safetensors(data: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors by name, bfloat16 as float32, which holds its values exactly; and the file's metadata.

    Raises:
      JaxepiError: the package is missing, the file is damaged, or a tensor is of a type without a NumPy equivalent.
    """
    safetensors = _safetensors(name)
    try:
        held = dict(safetensors.deserialize(data))
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        notes = header.pop("__metadata__", None) or {}
    except Exception as problem:  # the library has its own exception type, of no common base
        raise JaxepiError(f"{name} is not a readable safetensors file ({problem}).") from problem
    arrays = {}
    for key in header:
        kind = held[key]["dtype"]
        if kind not in _TYPES:
            raise JaxepiError(f"{name} holds {key} as {kind}, which is not read here: save it as F32, F16 or BF16.")
        array = np.frombuffer(held[key]["data"], _TYPES[kind]).reshape(held[key]["shape"])
        arrays[key] = array.astype(np.float32) if kind == "BF16" else array
    return arrays, notes


def safetensors_bytes(arrays: Mapping[str, np.ndarray], notes: Mapping[str, str], name: str) -> bytes:
    """A whole file.

    Raises:
      JaxepiError: the package is missing.
    """
    _safetensors(name)
    import safetensors.numpy

    return safetensors.numpy.save(dict(arrays), metadata=dict(notes) or None)


def _safetensors(name: str) -> Any:
    try:
        import safetensors
    except ImportError:
        raise JaxepiError(f"{name} needs safetensors: run `pip install 'jaxepi[convert]'`.") from None
    return safetensors
