"""Embeddings as input: from the records of a dataset, or as users have them."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_dtypes
import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.task import Batch

KIND = "embeddings"
# as a manifest names them -> (what a record holds, what its bits are)
STORED = {
    "float16": (np.float16, np.float16),
    "bfloat16": (np.uint16, ml_dtypes.bfloat16),
    "float32": (np.float32, np.float32),
}


class EmbeddingInput:
    """Records of a dataset of embeddings.

    Attributes:
      channels: C.
      window: None, no sequence is read.
      trunks: none are part of the model.
    """

    window: int | None = None

    def __init__(self, bins: int, channels: int, manifest: Mapping[str, Any]):
        """Raises JaxepiError if the manifest names an unknown type of numbers."""
        self.bins, self.channels = bins, channels
        self.trunks: dict[str, tuple[str, Mapping[str, Any]]] = {}
        name = manifest.get("embedding_dtype", "float16")
        if name not in STORED:
            raise JaxepiError(f"The dataset holds embeddings of {name!r}, but {', '.join(STORED)} are read.")
        self._held, self._dtype = STORED[name]

    def build(self, rngs: Any) -> None:
        """No trunk."""
        del rngs

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """`embedding` (B, T, C) of the type that is stored; padding is 0.

        Raises:
          JaxepiError: a record of another shape.
        """
        shape = (self.bins, self.channels)
        embedding = np.zeros((len(records), *shape), self._dtype)
        for row, record in enumerate(records):
            if record is not None:
                found = np.asarray(record["embedding"], self._held)
                if found.shape != shape:
                    raise JaxepiError(
                        f"Record {record['key']} has an embedding of shape {found.shape}, but its manifest tells "
                        f"{shape}: prepare the dataset again."
                    )
                embedding[row] = found.view(self._dtype)
        return {"embedding": embedding}

    def accept(self, x: Any) -> Batch:
        """See `as_embeddings`."""
        return {"embedding": as_embeddings(x, self.channels)}

    def expand(self, batch: Batch) -> Batch:
        """(B, T, C) float32."""
        return {"embedding": batch["embedding"].astype(np.float32)}

    def embed(self, model: Any, inputs: Batch) -> jax.Array:
        """The embeddings as they are."""
        del model
        return inputs["embedding"]


def as_embeddings(given: Any, channels: int) -> np.ndarray:
    """Embeddings (B, T, C) float16, bfloat16 or float32.

    Args:
      given: an array (B, T, C) or (T, C) of one window, of any float type (float64 becomes float32); or a mapping that
        holds it as `embedding`, such as a loaded .npz file.
      channels: C, what the head was made for.

    Raises:
      JaxepiError: it is not such an array, has other channels, or holds NaN or infinity.
    """
    given = given["embedding"] if isinstance(given, Mapping) and "embedding" in given else given
    if isinstance(given, list | tuple) and not given:
        return np.zeros((0, 1, channels), np.float32)
    try:
        x = np.asarray(given)
    except ValueError as problem:
        raise JaxepiError(f"The embeddings make no array ({problem}): all windows must have as many bins.") from problem
    kind = x.dtype.name
    if kind not in (*STORED, "float64") or x.ndim not in (2, 3):
        raise JaxepiError(
            f"A {type(given).__name__} of shape {x.shape} and type {x.dtype} was given, but embeddings "
            f"(B, T, {channels}) of a float type were expected, as `python launch.py embed` writes them."
        )
    x = x[None] if x.ndim == 2 else x
    if x.shape[2] != channels:
        if x.shape[1] == channels:
            raise JaxepiError(
                f"An array of shape {x.shape} has its channels before its bins, as PyTorch's convolutions take them: "
                f"embeddings (B, T, {channels}) were expected, which np.swapaxes(x, 1, 2) gives."
            )
        raise JaxepiError(
            f"The embeddings {x.shape} have {x.shape[2]} channels, but this head was made for {channels}: they come "
            "from another trunk."
        )
    if not x.shape[1]:
        raise JaxepiError(f"The embeddings {x.shape} have no bins.")
    x = x.astype(np.float32) if kind == "float64" else x
    if not np.isfinite(x).all():
        raise JaxepiError(f"The embeddings {x.shape} hold NaN or infinity, but finite numbers were expected.")
    return x


def trunk_named(manifest: Mapping[str, Any]) -> str:
    """Which weights made the embeddings of a dataset, as its manifest tells; "" if it does not."""
    trunk = manifest.get("trunk") or {}
    return str(trunk.get("weights") or "") if isinstance(trunk, Mapping) else str(trunk)


def same_trunk(objective: Any, manifest: Mapping[str, Any]) -> str:
    """The trunk of the embeddings: what the objective and the manifest agree in, or the one that tells it.

    Warns if a dataset does not tell what the head asks for.

    Raises:
      JaxepiError: they name different ones.
    """
    asked, found = objective.trunk_weights, trunk_named(manifest)
    if asked and found and asked != found:
        raise JaxepiError(
            f"The embeddings of this dataset come from a trunk with weights {found}, but the head was made for those "
            f"of {asked} (config.task.trunk_weights): embed the windows with that trunk, or train a head of its own."
        )
    if asked and not found and "kind" in manifest:
        text = f"the dataset does not tell which trunk made its embeddings; the head was made for weights {asked}"
        warnings.warn(text, stacklevel=2)
    return asked or found
