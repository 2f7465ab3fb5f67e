"""Chromoformer: histone marks around a gene's promoter and at its 3-D contacts to expression (Lee et al., 2022).

    for each bin size (2000, 500, 100 bp), with nb bins a region:
        promoter marks (B, 1, nb, M) -- Embedding --> centre bin (B, E) -----------------.
                                                        | queries                         |
        marks of S contacts (B, S, nb, M) --------> Pairwise interaction -> (B, S, E) -- Regulation -> token 0 (B, E)
    tokens 0 of all bin sizes, each plus its input, concatenated -- two-layer head --> (B, outputs)

Only the centre bin of the promoter reaches the output: a bin of the promoter is a query of its own in the pairwise
transformer, and only the centre bin is read. So the last embedding layer, every pairwise layer and the last regulation
layer are evaluated for one query, whose keys and values are never built: a score <q, A x> is <A' q, x>, and a mixture
of the A x is A times the mixture of the x. `full_evaluation` computes every bin as the original does.

Transformer layers are post-norm and have no dropout. Letters besides those of the house: M marks, S contacts (pCREs),
n keys, E width, D width of a head.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.torch_like import Kept, linear, sinusoid
from jaxepi.systems.chromoformer.layers import AttentionLayer, Stream

INPUTS = (
    *("promoter_feats", "promoter_pad_masks", "pcre_feats", "pcre_pad_masks"),
    *("interaction_masks", "interaction_freq"),
)
EMPTY_ROWS = ("zero", "uniform")


@dataclasses.dataclass(frozen=True)
class ChromoformerConfig:
    """Sizes of Chromoformer; the defaults are those of the published models."""

    marks: int = 7  # histone marks, the features of a bin
    bin_sizes: tuple[int, ...] = (2000, 500, 100)  # bp of a bin, one set of transformers each
    width: int = 128  # E, of every embedding
    embedding_layers: int = 1
    embedding_heads: int = 2
    embedding_hidden: int = 128  # of the feed-forward block
    pairwise_layers: int = 2
    pairwise_heads: int = 2
    pairwise_hidden: int = 256
    regulation_layers: int = 6
    regulation_heads: int = 8
    regulation_inner: int = 256  # width of all heads together
    regulation_hidden: int = 256
    head_width: int = 128  # hidden width of the output head
    outputs: int = 2  # 2: logits of low and high expression; 1: log2(RPKM + 1)
    # Attention of a row whose keys are all masked (contacts that a gene does not have, padded bins): "uniform" averages
    # all of them, padding included, as the original does; "zero" takes nothing. Such rows never reach the output.
    empty_rows: str = "zero"
    full_evaluation: bool = False  # every bin as the original, for whole attention maps; hundreds of times the work
    dtype: str = "float32"  # compute dtype: float32 or bfloat16 (parameters stay float32)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bin_sizes", tuple(int(size) for size in self.bin_sizes))
        if self.empty_rows not in EMPTY_ROWS:
            raise JaxepiError(
                f"config.model.empty_rows is {self.empty_rows!r}{did_you_mean(self.empty_rows, EMPTY_ROWS)}, but must "
                f"be one of {EMPTY_ROWS}."
            )
        if not self.bin_sizes or min(self.bin_sizes) < 1 or len(set(self.bin_sizes)) < len(self.bin_sizes):
            raise JaxepiError(f"config.model.bin_sizes is {self.bin_sizes}, but must hold different positive sizes.")
        for part, inner in (("embedding", "width"), ("pairwise", "width"), ("regulation", "regulation_inner")):
            heads, shared = getattr(self, f"{part}_heads"), getattr(self, inner)
            if heads > shared:
                raise JaxepiError(
                    f"config.model.{part}_heads is {heads}, but config.model.{inner}, which they share, is {shared}; "
                    "take fewer heads."
                )


class ChromoformerOutputs(NamedTuple):
    """What Chromoformer returns.

    The intermediates of bin size b, layer i: `embedding_attention/b/i` (B, H, nb), `pairwise_attention/b/i`
    (B, S, H, nb) which bins of a contact, `regulation_attention/b/i` (B, H, S + 1, S + 1) or in the last layer
    (B, H, 1, S + 1) which contacts (key 0 is the promoter itself); `<transformer>_attended/b/i` what follows the
    attention and its norm; `embedding/b` (B, E), `pairwise/b` (B, S, E), `regulation/b` (B, 1, E), `head_input`. With
    `full_evaluation` the embedding and pairwise ones have an axis nb of queries before the last one, `embedding/b` is
    (B, nb, E), and every layer of the regulation has all S + 1 queries.
    """

    values: jax.Array  # (B, outputs) float32
    intermediates: dict[str, jax.Array] | None = None


class Transformer(nnx.Module):
    """Layers of self-attention. `kept` is the w_bias of every layer in the original, which nothing reads."""

    def __init__(
        self, layers: int, width: int, heads: int, *sizes: int, gate: bool, rngs: nnx.Rngs, **options: Any
    ) -> None:
        parts = [("query", "key", "value", "gate") if gate else ("query", "key", "value")]
        self.layers = nnx.List(
            [AttentionLayer(width, heads, *sizes, parts, rngs=rngs, **options) for _ in range(layers)]
        )
        bound = 2**-0.5
        self.kept = nnx.List(
            [Kept(jax.random.uniform(rngs.params(), (heads, 2), jnp.float32, -bound, bound)) for _ in range(layers)]
        )


class Embedding(nnx.Module):
    """The promoter's bins attend to each other."""

    def __init__(self, config: ChromoformerConfig, *, rngs: nnx.Rngs, **options: Any) -> None:
        c, self.full = config, config.full_evaluation
        self.project = linear(c.marks, c.width, bias=False, dtype=options["dtype"], rngs=rngs)
        self.transformer = Transformer(
            c.embedding_layers,
            c.width,
            c.embedding_heads,
            c.width,
            c.embedding_hidden,
            gate=False,
            rngs=rngs,
            **options,
        )

    def __call__(self, features: jax.Array, mask: jax.Array) -> tuple[jax.Array, list[dict[str, jax.Array]]]:
        """Features (B, nb, M), mask (B, nb or 1, nb) -> centre bin (B, E), with full evaluation all (B, nb, E)."""
        layers, centre, traces = self.transformer.layers, features.shape[1] // 2, []
        stream = _stream(self.project, features)
        for layer in layers if self.full else layers[:-1]:
            x, trace = layer(stream.dense(), stream.dense(), mask)
            stream = Stream(x)
            traces.append(trace)
        if self.full:
            return stream.dense(), traces
        x, trace = layers[-1].one_query(stream.dense()[:, centre], stream, _row(mask, centre))
        return x, [*traces, trace]


class Pairwise(nnx.Module):
    """The promoter's centre bin (or all bins) reads the bins of each contact; `kept_norm` is read by nothing."""

    def __init__(self, config: ChromoformerConfig, *, rngs: nnx.Rngs, **options: Any) -> None:
        c, dtype = config, options["dtype"]
        self.full = c.full_evaluation
        self.project_promoter = linear(c.width, c.width, bias=False, dtype=dtype, rngs=rngs)
        self.project_pcre = linear(c.marks, c.width, bias=False, dtype=dtype, rngs=rngs)
        sizes = (c.width, c.pairwise_heads, c.width, c.pairwise_hidden, [("query",), ("key", "value")])
        self.layers = nnx.List([AttentionLayer(*sizes, rngs=rngs, **options) for _ in range(c.pairwise_layers)])
        self.kept_scale, self.kept_bias = Kept(jnp.ones(c.width, jnp.float32)), Kept(jnp.zeros(c.width, jnp.float32))

    def __call__(
        self, promoter: jax.Array, features: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, list[dict[str, jax.Array]]]:
        """Promoter (B, E) or (B, nb, E), features (B, S, nb, M), mask (B, S, nb or 1, nb) -> (B, S, E)."""
        stream, centre, traces = _stream(self.project_pcre, features), features.shape[2] // 2, []
        x = self.project_promoter(promoter)[:, None]
        x = jnp.broadcast_to(x, (x.shape[0], features.shape[1], *x.shape[2:]))
        for layer in self.layers:
            if self.full:
                x, trace = layer(x, stream.dense(), mask)
            else:
                x, trace = layer.one_query(x, stream, _row(mask, centre))
            traces.append(trace)
        return x[:, :, centre] if self.full else x, traces


class Regulation(nnx.Module):
    """The promoter and its contacts attend to each other, with the contacts' frequencies as a bias."""

    def __init__(self, config: ChromoformerConfig, *, rngs: nnx.Rngs, **options: Any) -> None:
        c, self.full = config, config.full_evaluation
        sizes = (c.regulation_heads, c.regulation_inner, c.regulation_hidden)
        self.transformer = Transformer(
            c.regulation_layers, c.width, *sizes, gate=True, weighted=True, rngs=rngs, **options
        )

    def __call__(
        self, x: jax.Array, mask: jax.Array, frequency: jax.Array
    ) -> tuple[jax.Array, list[dict[str, jax.Array]]]:
        """x (B, S + 1, E), mask and frequency (B, S + 1, S + 1) -> token 0 or, with full evaluation, all tokens."""
        layers, traces = self.transformer.layers, []
        for number, layer in enumerate(layers):
            read = slice(None) if self.full or number + 1 < len(layers) else slice(1)
            x, trace = layer(x[:, read], x, mask[:, read], frequency[:, read])
            traces.append(trace)
        return x, traces


def _stream(project: nnx.Linear, features: jax.Array) -> Stream:
    """Features (..., nb, M), their projection and the positional encoding, in the projection's compute dtype."""
    kernel = project.kernel[...].astype(project.dtype)
    positions = jnp.asarray(sinusoid(features.shape[-2], kernel.shape[1]), project.dtype)
    return Stream(features.astype(project.dtype), kernel, positions)


def _row(mask: jax.Array, centre: int) -> jax.Array:
    """The centre query's row of a mask (..., nb or 1, nb): (..., nb)."""
    return mask[..., centre if mask.shape[-2] > 1 else 0, :]


class Chromoformer(nnx.Module):
    """Chromoformer-clf (two outputs) and -reg (one output); `embedding`, `pairwise`, `regulation` one a bin size."""

    def __init__(self, config: ChromoformerConfig, *, rngs: nnx.Rngs) -> None:
        self.config = c = config
        dtype = jnp.dtype(c.dtype)
        options = {"dtype": dtype, "empty_rows": c.empty_rows}
        self.embedding = nnx.List([Embedding(c, rngs=rngs, **options) for _ in c.bin_sizes])
        self.pairwise = nnx.List([Pairwise(c, rngs=rngs, **options) for _ in c.bin_sizes])
        self.regulation = nnx.List([Regulation(c, rngs=rngs, **options) for _ in c.bin_sizes])
        self.head_hidden = linear(len(c.bin_sizes) * c.width, c.head_width, dtype=dtype, rngs=rngs)
        self.head_out = linear(c.head_width, c.outputs, dtype=dtype, rngs=rngs)

    def __call__(self, inputs: Mapping[str, Any], *, intermediates: bool = False) -> ChromoformerOutputs:
        """Outputs (B, outputs) of a batch of genes.

        Args:
          inputs: by name, and those marked * by bin size (nb = bins of a region, equal for promoter and contacts):
            promoter_feats* (B, 1, nb, M) float; promoter_pad_masks* (B, 1, 1, nb, nb) bool, True = masked;
            pcre_feats* (B, S, nb, M); pcre_pad_masks* (B, S, 1, nb, nb), rows are bins of the promoter;
            interaction_masks* (B, 1, S + 1, S + 1); interaction_freq (B, S + 1, S + 1) float. The rows of a pad mask
            may be one row that holds for all, which saves its size and changes no output.
          intermediates: also return what `ChromoformerOutputs` names.

        Raises:
          JaxepiError: an input or a bin size is missing, or has another shape.
        """
        check_inputs(inputs, self.config)
        seen: dict[str, jax.Array] = {}
        frequency = jnp.asarray(inputs["interaction_freq"])
        parts = []
        for number, size in enumerate(self.config.bin_sizes):
            promoter, promoter_mask, pcre, pcre_mask, mask = (jnp.asarray(inputs[name][size]) for name in INPUTS[:5])
            embedded, traces = self.embedding[number](promoter[:, 0], promoter_mask[:, 0, 0])
            _keep(seen, "embedding", size, embedded, traces)
            paired, traces = self.pairwise[number](embedded, pcre, pcre_mask[:, :, 0])
            _keep(seen, "pairwise", size, paired, traces)
            centre = embedded[:, promoter.shape[2] // 2] if embedded.ndim == 3 else embedded
            tokens = jnp.concatenate([centre[:, None], paired], axis=1)
            regulated, traces = self.regulation[number](tokens, mask[:, 0], frequency)
            _keep(seen, "regulation", size, regulated, traces)
            parts.append(regulated[:, 0] + centre)
        seen["head_input"] = jnp.concatenate(parts, axis=-1)
        values = self.head_out(nnx.relu(self.head_hidden(seen["head_input"])))
        values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
        return ChromoformerOutputs(values, seen if intermediates else None)


def _keep(
    seen: dict[str, jax.Array], name: str, size: int, value: jax.Array, traces: Sequence[Mapping[str, jax.Array]]
) -> None:
    seen[f"{name}/{size}"] = value
    for layer, trace in enumerate(traces):
        seen |= {f"{name}_{kind}/{size}/{layer}": array for kind, array in trace.items()}


def check_inputs(inputs: Mapping[str, Any], config: ChromoformerConfig) -> None:
    """Raises JaxepiError unless every array is there with the shape that the others and the config ask for."""
    for name in INPUTS:
        if name not in inputs:
            raise JaxepiError(f"Chromoformer takes the inputs {', '.join(INPUTS)}, but {name} is missing.")
    batch, tokens = np.shape(inputs["interaction_freq"])[:2]
    for size in config.bin_sizes:
        for name in INPUTS[:5]:
            if size not in inputs[name]:
                raise JaxepiError(
                    f"{name} has the bin sizes {sorted(inputs[name])}, but the model was made for {config.bin_sizes}."
                )
        bins = np.shape(inputs["promoter_feats"][size])[2]
        expected = {
            "promoter_feats": {(batch, 1, bins, config.marks)},
            "promoter_pad_masks": {(batch, 1, 1, row, bins) for row in (1, bins)},
            "pcre_feats": {(batch, tokens - 1, bins, config.marks)},
            "pcre_pad_masks": {(batch, tokens - 1, 1, row, bins) for row in (1, bins)},
            "interaction_masks": {(batch, 1, tokens, tokens)},
        }
        for name, shapes in expected.items():
            if np.shape(inputs[name][size]) not in shapes:
                raise JaxepiError(
                    f"{name}[{size}] has the shape {np.shape(inputs[name][size])}, but with {batch} genes, "
                    f"{tokens - 1} contacts, {bins} bins and {config.marks} marks {max(shapes)} was expected."
                )
