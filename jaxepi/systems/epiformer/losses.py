"""What is minimised: the Poisson loss of signals with its penalty, and the weighted cross-entropy of labels.

Shapes: prediction p and target t (B, T, K), `keep` (B, T, K) marks the values that count. Everything is float32.
"""

import dataclasses

import jax
import jax.numpy as jnp

PENALTY_FORMS = ("elementwise", "mean")
PENALTY_WHERE = ("below_q99", "above_q90")
CLIP = 1e-7  # labels: probabilities keep so far from 0 and 1


@dataclasses.dataclass(frozen=True)
class LossRules:
    """What is minimised, see `EpiformerObjective`."""

    epsilon: float = 1e-8
    penalty: float = 0.0
    penalty_form: str = "elementwise"
    penalty_where: str = "below_q99"
    class_weights: tuple[float, float] = (1.0, 1.0)


def poisson(p: jax.Array, t: jax.Array, epsilon: float = 1e-8) -> jax.Array:
    """Negative log likelihood of counts without the term of t alone, so that it may be negative; elementwise."""
    return p - t * jnp.log(p + epsilon)


def cross_entropy(p: jax.Array, t: jax.Array, class_weights: tuple[float, float] = (1.0, 1.0)) -> jax.Array:
    """Cross-entropy of probabilities, those of class 0 and of class 1 with a weight each; elementwise."""
    zero, one = class_weights
    # both ends are clipped by themselves: 1 - CLIP is no number of float32
    yes, no = (jnp.clip(share, CLIP, 1.0 - CLIP) for share in (p, 1.0 - p))
    return -one * t * jnp.log(yes) - zero * (1.0 - t) * jnp.log(no)


def penalty_weights(t: jax.Array, keep: jax.Array, rules: LossRules) -> jax.Array:
    """Weight of each value: `penalty` on one side of a quantile of the targets of the batch that count, else 1."""
    below = rules.penalty_where == "below_q99"
    limit = jnp.nanquantile(jnp.where(keep, t, jnp.nan), 0.99 if below else 0.9)
    return jnp.where((t < limit) if below else (t > limit), rules.penalty, 1.0)


def signal_loss(p: jax.Array, t: jax.Array, keep: jax.Array, rules: LossRules) -> jax.Array:
    """The loss of each value (B, T, K), whose mean over what counts is minimised; 0 where nothing counts."""
    p, t = _counting(p, t, keep)
    loss = poisson(p, t, rules.epsilon)
    if rules.penalty:
        weight = penalty_weights(t, keep, rules)
        if rules.penalty_form == "mean":
            weight = jnp.broadcast_to(mean_over(weight, keep), weight.shape)
        loss = loss * weight
    return jnp.where(keep, loss, 0.0)


def label_loss(p: jax.Array, t: jax.Array, keep: jax.Array, rules: LossRules) -> jax.Array:
    """The loss of each label (B, T, K), whose mean over what counts is minimised; 0 where nothing counts."""
    return jnp.where(keep, cross_entropy(*_counting(p, t, keep), rules.class_weights), 0.0)


def mean_over(values: jax.Array, keep: jax.Array) -> jax.Array:
    """The mean over the values that count; 0 where none does."""
    return jnp.where(keep, values, 0.0).sum() / jnp.maximum(keep.sum(), 1)


def _counting(p: jax.Array, t: jax.Array, keep: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Both, at least float32; what does not count is a half, where every loss has a finite value and gradient."""
    wide = jnp.promote_types(p.dtype, jnp.float32)
    return jnp.where(keep, p.astype(wide), 0.5), jnp.where(keep, t.astype(wide), 0.5)
