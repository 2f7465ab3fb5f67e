"""DeepCpG: methylation of single CpG sites in single cells (Angermueller et al., Genome Biology 2017).

        DNA window (B, L, 4)  ──DNA network──▶  features ─┐
                                                          ├─ dense layers ─▶ features ─▶ one head per output
        neighbours (B, N, W) ─CpG network──▶  features ─┘   (joint network)

A network is named as in the original: a DNA network ("CnnL2h128"), a CpG network ("RnnL1"), or a joint one made of both
("JointL2h512_CnnL2h128_RnnL1"). Letters: B sites, L bp, N cells, W neighbours of each cell, F features, U head units.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.keras_like import dense, dropout, glorot
from jaxepi.systems.deepcpg import networks as networks

LARGEST_VARIANCE = 0.251  # upper end of the head for variances of values in [0, 1]
CLASSES = 3  # of the variance classes


@dataclasses.dataclass(frozen=True)
class DeepCpGConfig:
    """Sizes of a DeepCpG model; defaults are the original's."""

    network: str = "CnnL2h128"  # DNA, CpG or joint network; spelled in any case
    outputs: tuple[str, ...] = ()  # names of the heads, such as "cpg/cell1" or "cpg_stats/var"; () = features only
    window: int = 1001  # L; CnnL* work for the windows that pool to the same length, all others for any
    neighbours: int = 50  # W, half of them left of the site
    hidden: int | None = None  # units of the dense layer of CnnL*; None = what the name says
    joint_hidden: int = 512  # units of the joint network's dense layers
    replicate_activation: str = "relu"  # of RnnL1 and RnnL2 after the dense layer of each cell: relu | tanh
    dna_dropout: float = dataclasses.field(default=0.0, metadata={"below": 1})  # rate after the DNA network
    cpg_dropout: float = dataclasses.field(default=0.0, metadata={"below": 1})  # rate after the CpG network
    joint_dropout: float = dataclasses.field(default=0.0, metadata={"below": 1})  # rate after each joint layer
    l1: float = 1e-4  # penalty of sum |w| over the kernels of networks (not heads, biases, recurrent kernels)
    l2: float = 1e-4  # penalty of sum w^2 over the same
    # Keras 2 keeps a zero-debiased moving average of normalisation statistics, which forgets loaded ones: parity only.
    debiased_norm: bool = False
    dtype: str = "float32"  # compute dtype: float32 | bfloat16 (parameters stay float32)

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", network_name(parse_network(self.network)))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        if self.replicate_activation not in ("relu", "tanh"):
            raise JaxepiError(f"replicate_activation is {self.replicate_activation!r}, but must be 'relu' or 'tanh'.")

    @property
    def parts(self) -> "Parts":
        """The networks that the name stands for."""
        return parse_network(self.network)

    @property
    def tracks(self) -> int:
        """Numbers that are predicted for a site."""
        return sum(map(head_units, self.outputs))

    @property
    def hidden_units(self) -> int | None:
        """Units of the dense layer of CnnL*; None for every other DNA network, or without one."""
        sizes = networks.DNA_NETWORKS.get(self.parts.dna or "")
        return (self.hidden or sizes.hidden) if isinstance(sizes, networks.Convolutional) else None


class Parts(NamedTuple):
    """Official names of what a model is made of; None where it has no such part."""

    joint: str | None
    dna: str | None
    cpg: str | None


def parse_network(name: str) -> Parts:
    """Official names from "CnnL2h128", "RnnL1" or "JointL2h512_CnnL2h128_RnnL1", case ignored.

    Raises:
      JaxepiError: an unknown name, with the nearest one; or a joint network without a DNA or a CpG network.
    """
    tables = (networks.JOINT_NETWORKS, networks.DNA_NETWORKS, networks.CPG_NETWORKS)
    official = {key.lower(): (i, key) for i, table in enumerate(tables) for key in table}
    official["denseavg"] = (2, "FcAvg")  # its name in version 1.0.2
    found: list[str | None] = [None, None, None]
    for word in str(name).split("_"):
        if word.lower() not in official:
            known = [key for table in tables for key in table]
            raise JaxepiError(
                f"Unknown DeepCpG network {name!r}{did_you_mean(word, known)}; known are {', '.join(known)}, and joint "
                "ones as JointL2h512_CnnL2h128_RnnL1."
            )
        kind, key = official[word.lower()]
        if found[kind] is not None:
            raise JaxepiError(f"DeepCpG network {name!r} names both {found[kind]} and {key}, but only one can be used.")
        found[kind] = key
    parts = Parts(*found)
    if (parts.joint is not None) != (parts.dna is not None and parts.cpg is not None):
        raise JaxepiError(
            f"DeepCpG network {name!r} must name a DNA network, a CpG network, or a joint network with one of each, as "
            "JointL2h512_CnnL2h128_RnnL1."
        )
    return parts


def network_name(parts: Parts) -> str:
    """The official name, as the original calls its models: joint, DNA, CpG."""
    return "_".join(part for part in parts if part is not None)


def head_kind(output: str) -> str:
    """The activation of a head by the last part of its name: sigmoid | scaled (variance) | relu (entropy) | softmax."""
    return {"entropy": "relu", "var": "scaled", "cat_var": "softmax"}.get(output.split("/")[-1], "sigmoid")


def head_units(output: str) -> int:
    """Units of a head: 3 variance classes, or one."""
    return CLASSES if head_kind(output) == "softmax" else 1


def unit_names(output: str) -> list[str]:
    """Names of the tracks of an output: itself, or one for each variance class."""
    return [output] if head_units(output) == 1 else [f"{output}/{k}" for k in range(CLASSES)]


class DeepCpGOutputs(NamedTuple):
    """What a DeepCpG model returns, float32."""

    heads: dict[str, jax.Array]  # output name -> (B,) prediction in the output's range; (B, 3) for variance classes
    cells: jax.Array  # (B, N') probability of methylation: the heads "cpg/<cell>" beside each other
    logits: jax.Array  # (B, U) units of all heads before their activation
    features: jax.Array  # (B, F) what the heads see
    intermediates: dict[str, jax.Array] | None = None  # named as the original's layers


class Heads(nnx.Module):
    """All heads as one matrix product; each head's kernel is drawn for its own size."""

    def __init__(self, features: int, outputs: tuple[str, ...], *, rngs: nnx.Rngs):
        kernels = [glorot(rngs.params(), (features, head_units(output)), jnp.float32) for output in outputs]
        self.kernel = nnx.Param(jnp.concatenate(kernels, axis=1))
        self.bias = nnx.Param(jnp.zeros(self.kernel.shape[1], jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, F) -> (B, U) float32."""
        return x @ self.kernel[...] + self.bias[...][None]


class Joint(nnx.Module):
    """Dense layers over the features of both networks, DNA first."""

    def __init__(self, features: int, layers: int, hidden: int, *, dtype: Any, rngs: nnx.Rngs):
        sizes = [features, *[hidden] * layers]
        self.features = sizes[-1]
        self.denses = nnx.List([dense(a, b, dtype=dtype, rngs=rngs) for a, b in zip(sizes, sizes[1:], strict=False)])

    def __call__(self, x: jax.Array, rate: float, keys: list[jax.Array | None]) -> jax.Array:
        """(B, F) -> (B, F')."""
        for layer, key in zip(self.denses, keys, strict=False):
            x = dropout(nnx.relu(layer(x)), rate, key)
        return x


class DeepCpG(nnx.Module):
    """Every DeepCpG model: `model(dna)`, `model(state, distance)` or `model(dna, state, distance)` by its network."""

    def __init__(self, config: DeepCpGConfig, *, rngs: nnx.Rngs):
        self.config = config
        parts, dtype = config.parts, jnp.dtype(config.dtype)
        self.dna = _dna_network(config, dtype, rngs) if parts.dna else None
        self.cpg = _cpg_network(config, dtype, rngs) if parts.cpg else None
        features = sum(part.features for part in (self.dna, self.cpg) if part is not None)
        layers = networks.JOINT_NETWORKS.get(parts.joint or "")
        self.joint = None if layers is None else Joint(features, layers, config.joint_hidden, dtype=dtype, rngs=rngs)
        if self.joint is not None:
            features = self.joint.features
        self.heads = Heads(features, config.outputs, rngs=rngs) if config.outputs else None

    def __call__(self, *inputs: jax.Array, rng: jax.Array | None = None, intermediates: bool = False) -> DeepCpGOutputs:
        """Predicts from what the network needs.

        Args:
          *inputs: dna, one-hot (B, L, 4) in the order A C G T, N as zeros; and/or state (B, N, W), in [0, 1] with 0.5
            where there is no neighbour, and distance (B, N, W), in [0, 1] as a fraction of the largest distance.
          rng: key of the dropout; None = no dropout.
          intermediates: also return what the layers see.

        Raises:
          JaxepiError: too few or too many inputs, or shapes that do not fit.
        """
        dna, neighbours = self._check(inputs)
        config, dtype = self.config, self.config.dtype
        seen: networks.Seen = {} if intermediates else None
        keys = [None] * 5 if rng is None else list(jax.random.split(rng, 5))
        parts = []
        if dna is not None:
            parts.append(dropout(self.dna(dna.astype(dtype), seen), config.dna_dropout, keys[0]))
        if neighbours is not None:
            x = self.cpg(jnp.concatenate(neighbours, axis=-1).astype(dtype), seen)
            parts.append(dropout(x, config.cpg_dropout, keys[1]))
        x = jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        if self.joint is not None:
            x = self.joint(x, config.joint_dropout, keys[2:])
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        logits = jnp.zeros((x.shape[0], 0), x.dtype) if self.heads is None else self.heads(x)
        heads = _activate(logits, config.outputs)
        cells = [heads[output] for output in config.outputs if output.startswith("cpg/")]
        stacked = jnp.stack(cells, axis=1) if cells else logits[:, :0]
        return DeepCpGOutputs(heads, stacked, logits, x, seen)

    def penalty(self) -> jax.Array:
        """l1 * sum |w| + l2 * sum w^2 over the regularised kernels, a float32 scalar."""
        absolute = squared = jnp.zeros(())
        for kernel in self.penalised().values():
            # not jnp.abs, whose derivative at 0 is 1: a weight at 0 is to stay there
            absolute, squared = absolute + (kernel * jnp.sign(kernel)).sum(), squared + (kernel**2).sum()
        return self.config.l1 * absolute + self.config.l2 * squared

    def penalised(self) -> dict[str, jax.Array]:
        """The regularised kernels by dotted path: of convolutions, dense layers and GRU inputs, not of heads."""
        flat = nnx.to_flat_state(nnx.state(self, nnx.Param))
        return {
            ".".join(map(str, path)): variable[...]
            for path, variable in flat
            if path[0] != "heads" and path[-1] == "kernel"
        }

    def _check(self, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array | None, tuple[jax.Array, ...] | None]:
        """The DNA and the (state, distance) among the inputs."""
        wanted = ["dna"] * (self.dna is not None) + ["state", "distance"] * (self.cpg is not None)
        if len(inputs) != len(wanted):
            raise JaxepiError(f"{self.config.network} takes ({', '.join(wanted)}), but got {len(inputs)} array(s).")
        arrays = dict(zip(wanted, map(jnp.asarray, inputs), strict=True))
        dna, state = arrays.get("dna"), arrays.get("state")
        if dna is not None and (dna.ndim != 3 or dna.shape[2] != 4):
            raise JaxepiError(f"DeepCpG takes one-hot DNA of shape (sites, length, 4), but got {dna.shape}.")
        if state is None:
            return dna, None
        distance, w = arrays["distance"], self.config.neighbours
        if state.ndim != 3 or state.shape != distance.shape or state.shape[2] != w:
            raise JaxepiError(
                f"DeepCpG takes state and distance of shape (sites, cells, {w}), but got {state.shape} and "
                f"{distance.shape}."
            )
        return dna, (state, distance)


def _dna_network(config: DeepCpGConfig, dtype: Any, rngs: nnx.Rngs) -> nnx.Module:
    sizes = networks.DNA_NETWORKS[config.parts.dna or ""]
    if isinstance(sizes, networks.Convolutional):
        return networks.ConvolutionalNetwork(sizes, config.hidden_units, config.window, dtype=dtype, rngs=rngs)
    if isinstance(sizes, networks.Recurrent):
        return networks.RecurrentNetwork(sizes, dtype=dtype, rngs=rngs)
    return networks.ResidualNetwork(sizes, debiased=config.debiased_norm, dtype=dtype, rngs=rngs)


def _cpg_network(config: DeepCpGConfig, dtype: Any, rngs: nnx.Rngs) -> nnx.Module:
    sizes = networks.CPG_NETWORKS[config.parts.cpg or ""]
    activation = config.replicate_activation
    return networks.NeighbourNetwork(sizes, config.neighbours, activation, dtype=dtype, rngs=rngs)


def unit_slices(outputs: tuple[str, ...]) -> dict[str, slice]:
    """Output name -> its units among those of all heads."""
    ends = np.cumsum([head_units(output) for output in outputs])
    return {o: slice(int(end) - head_units(o), int(end)) for o, end in zip(outputs, ends, strict=True)}


def _activate(logits: jax.Array, outputs: tuple[str, ...]) -> dict[str, jax.Array]:
    """Units (B, U) to predictions by output. Activations run over all units at once; a head takes its own."""
    forms = {
        "sigmoid": jax.nn.sigmoid(logits),
        "scaled": LARGEST_VARIANCE * jax.nn.sigmoid(logits),
        "relu": nnx.relu(logits),
    }
    heads = {}
    for output, units in unit_slices(outputs).items():
        kind = head_kind(output)
        heads[output] = jax.nn.softmax(logits[:, units]) if kind == "softmax" else forms[kind][:, units.start]
    return heads
