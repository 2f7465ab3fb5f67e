"""JAX/Flax models of the epigenome, from raw files to predictions.

    model = jaxepi.from_pretrained("melody", "Melody-MT-39.pth")
    predictor = jaxepi.load("runs/melody_mt")
    methylation = predictor.predict(sequences)

Importing this package is light: each name below is loaded when first used.
"""

import importlib
import importlib.metadata
from typing import Any

from jaxepi.errors import JaxepiError

__all__ = ["JaxepiError", "__version__", "export", "from_pretrained", "list_pretrained", "list_systems", "load"]

_LAZY = {
    "export": "jaxepi.released",
    "from_pretrained": "jaxepi.released",
    "list_pretrained": "jaxepi.released",
    "list_systems": "jaxepi.released",
    "load": "jaxepi.predictor",
}

try:
    __version__ = importlib.metadata.version("jaxepi")
except importlib.metadata.PackageNotFoundError:  # a checkout that is on the path but not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'jaxepi' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
