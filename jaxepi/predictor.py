"""A model ready to predict: from a run of ours or a released file, in three lines.

predictor = jaxepi.load("runs/melody_mt")
methylation = predictor.predict(["ACGT..."])  # (1, L, K)
dict(zip(predictor.tracks, methylation[0].T))
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi import sequence
from jaxepi.errors import JaxepiError
from jaxepi.parallel.placed import PlacedModel
from jaxepi.pretrained.sources import Source
from jaxepi.released import load_released
from jaxepi.systems.chromoformer.predictor import GenePredictor
from jaxepi.systems.registry import get_system


class Predictor(PlacedModel):
    """Jitted, batched prediction of windows of sequence.

    Attributes beyond those of `PlacedModel`:
      tracks: names of the K output tracks.
      window: L, the bp of input that the model was trained on.
    """

    def __init__(
        self,
        model: nnx.Module,
        predict: Callable[[nnx.Module, jax.Array], jax.Array],
        *,
        tracks: Sequence[str],
        window: int,
        source: str,
        precision: str | None = None,
    ):
        """Args beyond the attributes: `predict`, one-hot (B, L, 4) -> (B, L, K); `precision` as in `load`."""
        super().__init__(model, source=source, precision=precision)
        self.tracks = list(tracks)
        self.window = int(window)

        def dense(model: nnx.Module, x: jax.Array) -> jax.Array:
            hot = sequence.one_hot(x, jnp.float32) if x.ndim == 2 else x.astype(jnp.float32)
            return predict(model, hot).astype(jnp.float32)

        def at(model: nnx.Module, x: jax.Array, offsets: jax.Array) -> jax.Array:
            return jnp.take_along_axis(dense(model, x), offsets[:, :, None], axis=1)

        self._dense = self.compiled(dense)
        self._at = self.compiled(at)

    def predict(self, sequences: str | Sequence[str] | np.ndarray, batch_size: int = 32) -> np.ndarray:
        """Predictions (B, L, K) float32 for windows of exactly `window` bp.

        Args:
          sequences: one string, strings, base codes (L,) or (B, L) integer, or one-hot (B, L, 4) float.
          batch_size: windows that go through the model at once.

        Raises:
          JaxepiError: a window of another length, or an array of another kind.
        """
        x = self._windows(sequences)
        size = self.rows(min(batch_size, max(1, len(x))))
        parts = [self._run(self._dense, x[i : i + size], size) for i in range(0, len(x), size)]
        if not parts:
            return np.empty((0, self.window, len(self.tracks)), np.float32)
        return np.concatenate([np.asarray(part)[: len(x) - i * size] for i, part in enumerate(parts)])

    def at(self, codes: np.ndarray, offsets: np.ndarray) -> jax.Array:
        """Predictions (B, S, K) at some positions, without moving the others off the device; returns before it is done.

        Args:
          codes: base codes (B, L) uint8; B as `rows` gives it.
          offsets: positions (B, S) int32 in the window; any valid one may fill unused places.
        """
        return self._at(codes, offsets)

    def _run(self, function: Callable[..., jax.Array], x: np.ndarray, size: int) -> jax.Array:
        if len(x) < size:  # one shape, one compilation
            x = np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)])
        return function(x)

    def _windows(self, sequences: str | Sequence[str] | np.ndarray) -> np.ndarray:
        """Codes (B, L) uint8 or one-hot (B, L, 4) float32."""
        if isinstance(sequences, str):
            sequences = [sequences]
        if not hasattr(sequences, "ndim") and all(isinstance(letters, str) for letters in sequences):
            for i, letters in enumerate(sequences):
                if len(letters) != self.window:
                    raise JaxepiError(f"Sequence {i} has {len(letters)} bp, but this model takes {self.window} bp.")
            codes = [sequence.encode(letters) for letters in sequences]
            return np.stack(codes) if codes else np.empty((0, self.window), np.uint8)
        x = np.asarray(sequences)
        is_codes = np.issubdtype(x.dtype, np.integer) and x.ndim in (1, 2)
        x = x[None] if is_codes and x.ndim == 1 else x
        is_hot = np.issubdtype(x.dtype, np.floating) and x.ndim == 3 and x.shape[-1] == 4
        if not (is_codes or is_hot) or x.shape[1] != self.window:
            raise JaxepiError(
                f"An array of shape {x.shape} and type {x.dtype} is no batch of windows: expected strings, codes "
                f"(B, {self.window}) of an integer type, or one-hot (B, {self.window}, 4) of a float type."
            )
        if is_codes and x.size and not 0 <= x.min() <= x.max() <= sequence.N:
            raise JaxepiError(f"Base codes reach from {x.min()} to {x.max()}, but A C G T N are 0 to {sequence.N}.")
        return x.astype(np.uint8 if is_codes else np.float32, copy=False)


def load(
    source: Source,
    *,
    which: str | None = None,
    system: str | None = None,
    tracks: Sequence[str] | None = None,
    window: int | None = None,
    precision: str | None = None,
    **sizes: Any,
) -> Predictor | GenePredictor:
    """A trained run, a released file or a mapping of original tensors, ready to predict.

    Args:
      source: the --workdir of a run, or anything that `from_pretrained` takes.
      which: checkpoint of a run, "best" (by its validation metric) or "last"; None for what its config says.
      system: of a released file; recognised by the names of its tensors if not given.
      tracks: names of the tracks; otherwise those of the run or the file, the published ones for the published number
        of tracks, or track_0 and so on.
      window: input length in bp; otherwise the one of training.
      precision: of float32 products, for example "highest"; None is the device's default, which on recent GPUs rounds
        to fewer bits.
      **sizes: fields of the model's config, for a released file only.

    Returns: a `Predictor` of windows of sequence; for Chromoformer a `jaxepi.systems.chromoformer.predictor.GenePredictor`.

    Raises:
      JaxepiError: nothing there, not readable, not safe, or tensors that do not fit.
    """
    if isinstance(source, str | os.PathLike) and not Path(source).exists():
        raise JaxepiError(f"There is no run and no file of weights at {source}.")
    run = None
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        if system is not None or sizes:
            raise JaxepiError(f"{source} is a run, which knows its sizes: leave out {', '.join(['system', *sizes])}.")
        from jaxepi.trained import restore_model

        run = restore_model(source, which)
        model, found, name = run.model, get_system(run.config.system), str(source)
    else:
        model, found, content = load_released(source, system, **sizes)
        name = content.name
    if found.predict is None:
        if tracks is not None or window is not None:
            raise JaxepiError(f"{name} predicts one number a gene: leave out tracks and window.")
        if run is not None:
            return GenePredictor.of_run(run, name, precision)
        return GenePredictor.of_released(model, name, precision=precision)
    if run is not None:
        told, trained_window = run.task.tracks, int(run.task.manifest["window"])
    else:
        told = content.tracks or found.tracks(model.config) or [f"track_{k}" for k in range(model.config.tracks)]
        trained_window = getattr(model.config, "window", found.window)
    names = list(told if tracks is None else tracks)
    if len(names) != model.config.tracks:
        raise JaxepiError(f"{name} predicts {model.config.tracks} tracks, but {len(names)} names were given.")
    return Predictor(
        model, found.predict, tracks=names, window=window or trained_window, source=name, precision=precision
    )
