"""The losses of Melody (spec of the original: focal-weighted BCE per base, CpG-count classes, regional mean).

Everything is float32 and masked. Shapes: codes (B, L), beta and logits (B, L, K); T = ceil(L / 100) segments.
beta is 0 at bases that are no CpG, -1 where a CpG is missing.
"""

import jax
import jax.numpy as jnp
import optax

from jaxepi.sequence import C, G, N, is_cpg
from jaxepi.systems.melody.model import SEGMENT


def cpg_or_n(codes: jax.Array) -> jax.Array:
    """CpG marks (B, L) as the original's weight mask sees them: an N may stand for the C or the G."""
    first = (codes[:, :-1] == C) | (codes[:, :-1] == N)
    second = (codes[:, 1:] == G) | (codes[:, 1:] == N)
    none = jnp.zeros((codes.shape[0], 1), bool)
    dyad = first & second
    return jnp.concatenate([dyad, none], axis=1) | jnp.concatenate([none, dyad], axis=1)


def fixed_weights(cpg: jax.Array, beta: jax.Array, any_cpg: float, low_cpg: float) -> jax.Array:
    """Weights (B, L, K): 1 off CpGs, 1 + any_cpg at CpGs with beta >= 0.5, low_cpg at CpGs below."""
    known = cpg[..., None] & (beta >= 0)
    return jnp.where(known, jnp.where(beta < 0.5, low_cpg, 1.0 + any_cpg), 1.0)


def distance_weights(cpg: jax.Array, beta: jax.Array) -> jax.Array:
    """Weights (B, L, K): 10 |beta - 0.5| at CpGs, 1 elsewhere (the original's advanced focal option, repaired)."""
    known = cpg[..., None] & (beta >= 0)
    return jnp.where(known, 10.0 * jnp.abs(beta - 0.5), 1.0)


def track_losses(
    logits: jax.Array, target: jax.Array, valid: jax.Array, weights: jax.Array | float = 1.0, gamma: float = 0.0
) -> jax.Array:
    """Weighted BCE per track (K,): the mean over its valid positions (not over the weights).

    With gamma > 0 each element is multiplied by (1 - exp(-loss)) ** gamma. A track without a valid position, or with a
    logit that is not finite, gives NaN; no gradient flows from such a logit.
    """
    finite = jnp.isfinite(logits)
    element = optax.sigmoid_binary_cross_entropy(jnp.where(finite, logits, 0.0), target)
    if gamma:
        element = element * (1.0 - jnp.exp(-element)) ** gamma
    element = jnp.where(finite, element, jnp.nan) * weights
    count = valid.sum(axis=(0, 1)).astype(jnp.float32)
    return jnp.where(valid, element, 0.0).sum(axis=1).sum(axis=0) / count


def mean_of_usable(losses: jax.Array, ceiling: float = 1e7) -> tuple[jax.Array, jax.Array]:
    """Mean over the tracks whose loss is finite and at most `ceiling`, and how many those are.

    With no usable track the mean is 0 and sends no gradient.
    """
    usable = jnp.isfinite(losses) & (losses <= ceiling)
    count = usable.sum()
    return jnp.where(usable, losses, 0.0).sum() / jnp.maximum(count, 1), count


def _segments(x: jax.Array, fill: float) -> jax.Array:
    """(B, L, ...) to (B, T, 100, ...), the last segment filled up."""
    short = -x.shape[1] % SEGMENT
    if short:
        x = jnp.pad(x, [(0, 0), (0, short)] + [(0, 0)] * (x.ndim - 2), constant_values=fill)
    return x.reshape(x.shape[0], -1, SEGMENT, *x.shape[2:])


def count_classes(counts: jax.Array, classes: int, bin_width: int) -> jax.Array:
    """CpG letters per segment to classes: 0 | 1..w | w+1..2w | ... with the last class open."""
    return jnp.clip((counts - 1) // bin_width + 1, 0, classes - 1)


def count_loss(class_logits: jax.Array, codes: jax.Array, row_mask: jax.Array, bin_width: int) -> jax.Array:
    """Mean cross-entropy of the CpG-count class (B, T, classes) over the segments of the rows that count."""
    counts = _segments(is_cpg(codes), False).sum(axis=2)
    label = count_classes(counts, class_logits.shape[-1], bin_width)
    entropy = optax.softmax_cross_entropy_with_integer_labels(class_logits.astype(jnp.float32), label)
    return (entropy * row_mask[:, None]).sum() / jnp.maximum(row_mask.sum() * entropy.shape[1], 1)


def regional_mean_loss(average: jax.Array, codes: jax.Array, beta: jax.Array, row_mask: jax.Array) -> jax.Array:
    """Squared error of the segments' mean methylation (B, T, K), pooled over rows, segments and tracks.

    A segment counts for a track if at least 80 % of its CpG letters are measured there (integer rule, equal to the
    original's float32 threshold).
    """
    cpg = is_cpg(codes)
    known = cpg[..., None] & (beta >= 0)
    total = _segments(cpg, False).sum(axis=2)[..., None]
    measured = _segments(known, False).sum(axis=2)
    mean = _segments(jnp.where(known, beta, 0.0), 0.0).sum(axis=2) / (measured + 1e-8)
    use = (measured > 0) & (5 * measured >= 4 * total) & (row_mask[:, None, None] > 0)
    error = jnp.where(use, (average.astype(jnp.float32) - mean) ** 2, 0.0)
    return error.sum() / (use.sum() + 1e-8)
