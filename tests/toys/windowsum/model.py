"""The model: words of three bases, counted in each bin of the window."""

import dataclasses

import jax
from flax import nnx

from jaxepi.layers.torch_like import conv1d


@dataclasses.dataclass(frozen=True)
class WindowSumConfig:
    """Sizes; the dataset decides `tracks` and `bin`."""

    tracks: int = 2
    bin: int = 100  # bp of one bin
    width: int = 8  # kinds of words


class WindowSum(nnx.Module):
    """One-hot DNA (B, L, 4) to logits (B, T, K), T = L / bin."""

    def __init__(self, config: WindowSumConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.words = conv1d(4, config.width, 3, rngs=rngs)
        self.head = nnx.Linear(config.width, config.tracks, rngs=rngs)

    def trunk(self, x: jax.Array) -> jax.Array:
        """How often each kind of word occurs in each bin (B, T, width)."""
        return nnx.relu(self.words(x)).reshape(len(x), -1, self.config.bin, self.config.width).mean(axis=2)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.trunk(x))
