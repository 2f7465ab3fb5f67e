"""The four heads of CS282A: from the embeddings of a sequence model's trunk to a few tracks.

        embeddings (B, T, C)
          | linear       softplus(x W + b)                                              (B, T, K), a value a bin
          | conv         Conv1 -> GELU -> all bins and channels -> linear               (B, 1, K), a value a window
          | maxpool      Conv1 -> GELU -> largest over the bins -> linear               (B, 1, K)
          | transformer  attention, feed-forward, norms -> linear -> mean over the bins (B, 1, K)

A convolution of width 1 is a dense layer over the channels, which is how it is kept here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.keras_like import dropout
from jaxepi.layers.low_rank import Adapters
from jaxepi.layers.torch_like import layer_norm, linear, softplus, torch_bias_init, torch_kernel_init

HEADS = ("linear", "conv", "maxpool", "transformer")
AXES = ("sequence", "batch")


@dataclasses.dataclass(frozen=True)
class Cs282aConfig:
    """Sizes of a head, and of the trunk below it where the run reads sequence.

    The dataset decides `tracks`, `bins`, `bin_width` and `crop`, and with embeddings `channels`.
    """

    head: str = "linear"  # linear: a value a bin | conv, maxpool, transformer: a value a window
    channels: int = 1536  # C, of an embedding
    bins: int = 896  # T, of a window
    bin_width: int = 128  # bp of a bin
    crop: int = dataclasses.field(default=8192, metadata={"least": 0})  # bp at either end of the window without a bin
    tracks: int = 18  # K
    hidden: int = 500  # channels behind the convolution (conv, maxpool)
    heads: int = 6  # of the attention (transformer)
    expansion: int = 2  # width of the feed-forward block / channels (transformer)
    dropout: float = dataclasses.field(default=0.2, metadata={"below": 1})  # rate (transformer)
    # Over what the transformer attends. The original's input is read as (sequence, batch): it attends over the examples
    # of a batch at equal bins, "batch", never along the genome; a window by itself then attends to itself alone.
    attention_axis: str = "sequence"
    dtype: str = "float32"  # compute dtype: float32 | bfloat16 (parameters and outputs stay float32)
    remat: bool = False  # recompute the head in the backward pass: less memory, a third more work
    trunk: str = ""  # name of the system whose trunk reads the sequence; "" = the dataset holds embeddings
    # fields of that system's config.model
    trunk_sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    # Rank of a trained change of every matrix of the trunk (dense layers, convolutions of width 1), for a trunk that is
    # itself frozen (config.frozen=("trunk.*",)); 0 = none
    lora_rank: int = dataclasses.field(default=0, metadata={"least": 0})

    def __post_init__(self) -> None:
        for name, choices in (("head", HEADS), ("attention_axis", AXES)):
            value = getattr(self, name)
            if value not in choices:
                near = did_you_mean(str(value), choices)
                raise JaxepiError(f"config.model.{name} is {value!r}{near}, but must be one of {choices}.")
        if self.head == "transformer" and self.channels % self.heads:
            raise JaxepiError(
                f"config.model.heads is {self.heads}, which does not divide the {self.channels} channels of an "
                "embedding; take a number that does."
            )

    @property
    def per_bin(self) -> bool:
        """Whether the head predicts every bin, not the window as a whole."""
        return self.head == "linear"


class HeadOutputs(NamedTuple):
    """What a head returns."""

    values: jax.Array  # (B, T, K) or (B, 1, K) float32
    features: jax.Array  # (B, T or 1, channels): what the last layer reads
    intermediates: dict[str, jax.Array]


def gelu(x: jax.Array) -> jax.Array:
    """The exact form, by the error function."""
    return jax.nn.gelu(x, approximate=False)


class LinearProbe(nnx.Module):
    """One affine map a bin, and softplus."""

    def __init__(self, config: Cs282aConfig, *, rngs: nnx.Rngs):
        # untruncated Kaiming normal with the gain of a ReLU; the bias begins at 0
        init = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")
        dtype = jnp.dtype(config.dtype)
        self.project = nnx.Linear(config.channels, config.tracks, kernel_init=init, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, rng: jax.Array | None, rows: jax.Array | None) -> HeadOutputs:
        del rng, rows
        return HeadOutputs(softplus(self.project(x).astype(jnp.float32)), x, {})


class ConvPerceptron(nnx.Module):
    """Every channel of every bin has a weight of its own for each track."""

    def __init__(self, config: Cs282aConfig, *, rngs: nnx.Rngs):
        dtype, size = jnp.dtype(config.dtype), (config.bins, config.hidden)
        self.bins = config.bins
        self.conv = linear(config.channels, config.hidden, dtype=dtype, rngs=rngs)
        self.out = nnx.LinearGeneral(
            size, config.tracks, axis=(-2, -1), kernel_init=torch_kernel_init(),
            bias_init=torch_bias_init(size[0] * size[1]), dtype=dtype, rngs=rngs,
        )  # fmt: skip

    def __call__(self, x: jax.Array, rng: jax.Array | None, rows: jax.Array | None) -> HeadOutputs:
        del rng, rows
        if x.shape[1] != self.bins:
            raise JaxepiError(f"This conv head was made for {self.bins} bins, but the embeddings have {x.shape[1]}.")
        hidden = gelu(self.conv(x))
        return HeadOutputs(self.out(hidden)[:, None].astype(jnp.float32), hidden, {"gelu": hidden})


class MaxPoolPerceptron(nnx.Module):
    """The largest value of each channel over the bins, and an affine map."""

    def __init__(self, config: Cs282aConfig, *, rngs: nnx.Rngs):
        dtype = jnp.dtype(config.dtype)
        self.conv = linear(config.channels, config.hidden, dtype=dtype, rngs=rngs)
        self.out = linear(config.hidden, config.tracks, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, rng: jax.Array | None, rows: jax.Array | None) -> HeadOutputs:
        del rng, rows
        hidden = gelu(self.conv(x))
        largest = hidden.max(axis=1, keepdims=True)
        return HeadOutputs(self.out(largest).astype(jnp.float32), largest, {"gelu": hidden})


class SelfAttention(nnx.Module):
    """Attention as torch's MultiheadAttention: one projection for query, key and value, dropout on the weights."""

    def __init__(self, width: int, heads: int, rate: float, *, dtype: Any, rngs: nnx.Rngs):
        self.heads, self.rate, self.dtype = heads, rate, dtype
        # torch draws the packed projection as one Glorot matrix and starts both biases at 0
        glorot = nnx.initializers.glorot_uniform()
        self.project = nnx.Linear(width, 3 * width, kernel_init=glorot, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(width, width, kernel_init=torch_kernel_init(), dtype=dtype, rngs=rngs)

    def __call__(
        self, x: jax.Array, rng: jax.Array | None, known: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """x (G, n, C) -> (G, n, C) and the weights (G, H, n, n); `known` (n,) marks the keys that there are."""
        query, key, value = jnp.split(self.project(x).reshape(*x.shape[:2], 3 * self.heads, -1), 3, axis=2)
        scores = jnp.einsum("gqhd,gkhd->ghqk", query * query.shape[-1] ** -0.5, key).astype(jnp.float32)
        if known is not None:
            scores = jnp.where(known[None, None, None] > 0, scores, -jnp.inf)
        weights = jax.nn.softmax(scores, axis=-1)
        mixed = jnp.einsum("ghqk,gkhd->gqhd", dropout(weights, self.rate, rng).astype(self.dtype), value)
        return self.out(mixed.reshape(x.shape)), weights


class Transformer(nnx.Module):
    """One post-norm encoder block without positions, and the mean over the bins of an affine map."""

    def __init__(self, config: Cs282aConfig, *, rngs: nnx.Rngs):
        width, dtype = config.channels, jnp.dtype(config.dtype)
        self.axis, self.rate = config.attention_axis, config.dropout
        self.attention = SelfAttention(width, config.heads, config.dropout, dtype=dtype, rngs=rngs)
        self.norm_attention = layer_norm(width, dtype=dtype, rngs=rngs)
        self.expand = linear(width, config.expansion * width, dtype=dtype, rngs=rngs)
        self.contract = linear(config.expansion * width, width, dtype=dtype, rngs=rngs)
        self.norm_out = layer_norm(width, dtype=dtype, rngs=rngs)
        self.out = linear(width, config.tracks, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, rng: jax.Array | None, rows: jax.Array | None) -> HeadOutputs:
        keys = [None] * 4 if rng is None else list(jax.random.split(rng, 4))
        attended, weights = self._attend(x, keys[0], rows)
        middle = dropout(self.norm_attention(attended + x), self.rate, keys[1])
        block = self.contract(dropout(nnx.relu(self.expand(middle)), self.rate, keys[2]))
        last = dropout(self.norm_out(block + middle), self.rate, keys[3]).mean(axis=1, keepdims=True)
        # the mean and the affine map commute, so the map is applied once a window
        return HeadOutputs(self.out(last).astype(jnp.float32), last, {"attended": attended, "attention": weights})

    def _attend(self, x: jax.Array, rng: jax.Array | None, rows: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Attention along the bins or, at each bin, over the examples of the batch; weights (groups, H, n, n)."""
        if self.axis == "sequence":
            return self.attention(x, rng)
        if rows is None:  # each example is a batch of one
            single, weights = self.attention(x.reshape(-1, 1, x.shape[-1]), rng)
            return single.reshape(x.shape), weights
        attended, weights = self.attention(x.swapaxes(0, 1), rng, rows)
        return attended.swapaxes(0, 1), weights


KINDS = {"linear": LinearProbe, "conv": ConvPerceptron, "maxpool": MaxPoolPerceptron, "transformer": Transformer}


class Cs282a(nnx.Module):
    """A head, and the trunk of another system below it if the run reads sequence (`config.trunk`)."""

    def __init__(self, config: Cs282aConfig, *, trunk: nnx.Module | None = None, rngs: nnx.Rngs):
        self.config = config
        self.head = KINDS[config.head](config, rngs=rngs)
        self.trunk = trunk
        self.adapters = Adapters(trunk, config.lora_rank, rngs=rngs) if trunk is not None and config.lora_rank else None

    def __call__(self, x: jax.Array, *, rng: jax.Array | None = None, rows: jax.Array | None = None) -> HeadOutputs:
        """Embeddings (B, T, C) of any float type to `HeadOutputs`.

        Args:
          rng: key of the dropout; None = no dropout.
          rows: (B,), not 0 where an example counts: only with attention_axis "batch", where the examples of a batch see
            each other; None = each is alone.

        Raises:
          JaxepiError: another number of channels, or of bins where the head's weights depend on it.
        """
        if x.ndim != 3 or x.shape[2] != self.config.channels:
            raise JaxepiError(f"Embeddings (B, T, {self.config.channels}) were expected, but got {x.shape}.")
        run = nnx.remat(type(self.head).__call__) if self.config.remat else type(self.head).__call__
        return run(self.head, x.astype(self.config.dtype), rng, rows)
