"""Epiformer: coverage of chromatin accessibility in bins from 98 kb of sequence and its conservation.

    one-hot (B, L, 4) * exp(conservation (B, L))
      | stem   Conv15, + [BN GELU Conv1], max pool 2                        (B, L / 2, C / 2)
      | tower  num_cnn_layer times: BN GELU Conv5, + [BN GELU Conv1], max pool 2   (B, P, C)
      | + sinusoid, encoder layers with relative positions                  (B, P, C)
      | crop, BN, GELU (labels: ReLU), Conv1 to 2 C, linear to K, softplus (labels: sigmoid)
    (B, T, K), T = P - 2 crop_size

BN is batch normalisation over the channels. Names of the sizes are the original's. Source: Li et al., Science 2023.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.activations import gelu_erf
from jaxepi.layers.keras_like import dropout, max_pool
from jaxepi.layers.torch_like import BatchNorm, conv1d, linear, sinusoid, softplus
from jaxepi.systems.epiformer.attention import POSITIONS, EncoderLayer

KINDS = ("signal", "label")


@dataclasses.dataclass(frozen=True)
class EpiformerConfig:
    """Sizes of Epiformer; the defaults are those of its training script. The dataset decides `window` and `tracks`."""

    kind: str = "signal"  # what is predicted: "signal", coverage of bins; "label", whether a peak lies there
    window: int = 98_304  # bp; seq_len in the original
    tracks: int = 1  # K; multiout_dim in the original
    num_cnn_layer: int = 6  # stages of the tower after the stem, each of which halves the positions
    embed_size: int = 768  # C, channels of the encoder; also the most positions that relative distances reach
    num_heads: int = 4
    num_encoder_layers: int = 8
    dim_feedforward: int = 2048
    crop_size: int = dataclasses.field(default=64, metadata={"least": 0})  # positions without a prediction a side
    add_positional_encoding: bool = True  # the sinusoid, before the first encoder layer
    max_len: int = 768  # rows of the sinusoid: the most positions that it serves
    # what scores know of distances: relative_key: queries meet a learned table; relative_key_query: keys too; none
    position_attention: str = "relative_key"
    conservation: bool = True  # multiply bases by exp(conservation) where it is given; if_cons in the original
    att_dropout: float = dataclasses.field(default=0.4, metadata={"below": 1})  # of attention weights
    enc_dropout: float = dataclasses.field(default=0.4, metadata={"below": 1})  # in encoder layers
    head_dropout: float = dataclasses.field(default=0.1, metadata={"below": 1})  # ptw_dropout, of labels cls_dropout
    # Training: so many parts of a batch are normalised by statistics of their own, and only the first part's are kept.
    # The original: one a GPU, 4. 1: the whole batch, over all devices.
    norm_groups: int = 1
    queries: int = 256  # rows of attention scores held at a time; changes memory, no number
    dtype: str = "float32"  # compute dtype: float32 or bfloat16 (parameters stay float32)
    remat: bool = False  # recompute stages and encoder layers in the backward pass: less memory, a third more work

    def __post_init__(self) -> None:
        """Raises JaxepiError for sizes that make no network."""
        for name, choices in (("kind", KINDS), ("position_attention", POSITIONS)):
            value = getattr(self, name)
            if value not in choices:
                near = did_you_mean(str(value), choices)
                raise JaxepiError(f"config.model.{name} is {value!r}{near}, but must be one of {choices}.")
        if self.embed_size % self.num_heads or self.embed_size % 2:
            raise JaxepiError(
                f"config.model.embed_size is {self.embed_size}, but an even number was expected that the "
                f"{self.num_heads} heads of config.model.num_heads divide."
            )
        self.kept(self.window)

    @property
    def stride(self) -> int:
        """bp of a position."""
        return 2 ** (self.num_cnn_layer + 1)

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the stem and of each stage of the tower: a geometric series from C / 2 to C, rounded half to even."""
        first, count = self.embed_size // 2, self.num_cnn_layer
        base = np.exp(np.log(self.embed_size / first) / count)
        return tuple(int(np.round(first * base**stage)) for stage in range(count + 1))

    def kept(self, window: int) -> int:
        """T, positions with a prediction of a window of so many bp.

        Raises:
          JaxepiError: the network cannot take such windows.
        """
        if window % self.stride:
            raise JaxepiError(
                f"Windows of {window} bp were given, but this Epiformer takes multiples of {self.stride} bp: choose "
                "the length so."
            )
        places = window // self.stride
        limits = {"embed_size": self.embed_size if self.position_attention != "none" else places}
        limits["max_len"] = self.max_len if self.add_positional_encoding else places
        for name, most in limits.items():
            if places > most:
                raise JaxepiError(
                    f"A window of {window} bp has {places} positions, but config.model.{name} allows {most}: take "
                    "shorter windows or a larger network."
                )
        if places <= 2 * self.crop_size:
            raise JaxepiError(
                f"A window of {window} bp has {places} positions, of which config.model.crop_size = {self.crop_size} "
                "at both ends leave none: set crop_size, or take longer windows."
            )
        return places - 2 * self.crop_size


class EpiformerOutputs(NamedTuple):
    """What Epiformer returns.

    The intermediates are `stem`, `tower_j` and `posenc` (the encoder's input), `encoder_i`, `context_i` (B, P, C) and
    softmax weights `attention_i` (B, H, P, P) of encoder layer i, and `head` (B, T, 2 C), what the last layer reads.
    """

    values: jax.Array  # (B, T, K) float32: coverage, or of labels probabilities
    logits: jax.Array  # (B, T, K) float32: before the softplus or sigmoid
    trunk: jax.Array  # (B, T, C): the kept positions of the encoder, in the compute dtype
    intermediates: dict[str, jax.Array] | None = None


class Pointwise(nnx.Module):
    """BN, GELU and a convolution of width 1, added to the input."""

    def __init__(self, channels: int, *, groups: int, dtype: Any, rngs: nnx.Rngs):
        self.norm = BatchNorm(channels, groups=groups, dtype=dtype)
        self.conv = linear(channels, channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, L, C) -> (B, L, C)."""
        return x + self.conv(self.norm(x, gelu_erf))


class Stem(nnx.Module):
    """The first convolution, a pointwise block, and pooling."""

    def __init__(self, channels: int, *, groups: int, dtype: Any, rngs: nnx.Rngs):
        self.conv = conv1d(4, channels, 15, dtype=dtype, rngs=rngs)
        self.pointwise = Pointwise(channels, groups=groups, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, L, 4) -> (B, L / 2, C)."""
        return max_pool(self.pointwise(self.conv(x)), 2)


class Stage(nnx.Module):
    """One stage of the tower; its wide convolution has no skip connection."""

    def __init__(self, channels_in: int, channels: int, *, groups: int, dtype: Any, rngs: nnx.Rngs):
        self.norm = BatchNorm(channels_in, groups=groups, dtype=dtype)
        self.conv = conv1d(channels_in, channels, 5, dtype=dtype, rngs=rngs)
        self.pointwise = Pointwise(channels, groups=groups, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, L, Cin) -> (B, L / 2, C)."""
        return max_pool(self.pointwise(self.conv(self.norm(x, gelu_erf))), 2)


class Head(nnx.Module):
    """BN, an activation, a wider pointwise layer, dropout, and a linear layer with dropout behind it."""

    def __init__(self, config: EpiformerConfig, *, dtype: Any, rngs: nnx.Rngs):
        width = config.embed_size
        self.rate, self.activation = config.head_dropout, gelu_erf if config.kind == "signal" else nnx.relu
        self.norm = BatchNorm(width, groups=config.norm_groups, dtype=dtype)
        self.conv = linear(width, 2 * width, dtype=dtype, rngs=rngs)
        self.out = linear(2 * width, config.tracks, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, rng: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """x (B, T, C) -> (B, T, 2 C) and the logits (B, T, K), at least float32."""
        keys = [None] * 2 if rng is None else list(jax.random.split(rng))
        hidden = self.conv(self.norm(x, self.activation))
        logits = dropout(self.out(dropout(hidden, self.rate, keys[0])), self.rate, keys[1])
        return hidden, logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


class Epiformer(nnx.Module):
    """See the module."""

    def __init__(self, config: EpiformerConfig, *, rngs: nnx.Rngs):
        self.config = c = config
        dtype = jnp.dtype(c.dtype)
        shared: dict[str, Any] = {"groups": c.norm_groups, "dtype": dtype, "rngs": rngs}
        self.stem = Stem(c.channels[0], **shared)
        pairs = zip(c.channels[:-1], c.channels[1:], strict=True)
        self.tower = nnx.List([Stage(before, after, **shared) for before, after in pairs])
        rates = {"attention_rate": c.att_dropout, "rate": c.enc_dropout}
        sizes = (c.embed_size, c.num_heads, c.dim_feedforward, c.position_attention)
        self.encoder = nnx.List(
            [
                EncoderLayer(*sizes, **rates, queries=c.queries, dtype=dtype, rngs=rngs)
                for _ in range(c.num_encoder_layers)
            ]
        )
        self.head = Head(c, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: jax.Array,
        conservation: jax.Array | None = None,
        *,
        rng: jax.Array | None = None,
        intermediates: bool = False,
    ) -> EpiformerOutputs:
        """One-hot windows (B, L, 4) float, and their conservation (B, L) or None, to `EpiformerOutputs`.

        Args:
          x: the windows; an N is a row of zeros. L may differ from `config.window` where the network allows it.
          conservation: one number a base, such as phastCons; 0 where nothing is known, which None is everywhere.
          rng: key of the dropout; None: no dropout.
          intermediates: also return what `EpiformerOutputs` names.

        Raises:
          JaxepiError: x has not four channels, or L does not fit.
        """
        if x.ndim != 3 or x.shape[2] != 4:
            raise JaxepiError(f"Epiformer takes one-hot input of shape (batch, length, 4), but got {x.shape}.")
        config, seen = self.config, {}
        kept = config.kept(x.shape[1])
        if conservation is not None:
            x = x * jnp.exp(conservation.astype(x.dtype))[..., None]
        y = seen["stem"] = self._run(self.stem, x.astype(config.dtype))
        for number, stage in enumerate(self.tower):
            y = seen[f"tower_{number}"] = self._run(stage, y)
        if config.add_positional_encoding:
            y = y + jnp.asarray(sinusoid(*y.shape[1:]), y.dtype)[None]
        seen["posenc"] = y
        keys = [None] * (len(self.encoder) + 1) if rng is None else list(jax.random.split(rng, len(self.encoder) + 1))
        for number, (layer, key) in enumerate(zip(self.encoder, keys[1:], strict=True)):
            y, inside = self._run(layer, y, key, maps=intermediates)
            seen |= {f"encoder_{number}": y} | {f"{name}_{number}": array for name, array in inside.items()}
        trunk = y[:, config.crop_size : config.crop_size + kept]
        seen["head"], logits = self.head(trunk, keys[0])
        values = softplus(logits) if config.kind == "signal" else jax.nn.sigmoid(logits)
        return EpiformerOutputs(values, logits, trunk, seen if intermediates else None)

    def _run(self, module: nnx.Module, *inputs: Any, **options: Any) -> Any:
        """The module called, with `remat` so that the backward pass computes its inside again."""
        call: Callable[..., Any] = type(module).__call__
        if self.config.remat:
            kept = options
            call = nnx.remat(lambda module, *inputs: type(module).__call__(module, *inputs, **kept))
            options = {}
        return call(module, *inputs, **options)
