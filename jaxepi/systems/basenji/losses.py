"""The losses of Basenji, Basset and Akita, by the names that params.json gives them.

Shapes: prediction p and target t (B, P, K), `keep` (B, P) marks the places that count. Everything is float32. Means
over tracks come first, as in the original; without masks the reduced loss is the plain mean of the unreduced one.
"""

import dataclasses

import jax
import jax.numpy as jnp

LOSSES = ("poisson", "mse", "bce", "mse_udot", "poisson_kl", "poisson_mn")
EPSILON = 1e-7  # Keras's: inside logarithms, and the bounds of probabilities


@dataclasses.dataclass(frozen=True)
class LossRules:
    """What is minimised.

    Attributes:
      loss: one of `LOSSES`. The original takes any other label for poisson; here it is refused.
      spec_weight: of the part of mse_udot and poisson_kl that looks across tracks.
      total_weight: of the totals in poisson_mn.
      kl_epsilon: poisson_kl: added to both before they become shares of the tracks (its successor: 1e-7).
      mn_epsilon: poisson_mn: added to every value before anything else (its successor: 1e-7).
    """

    loss: str = "poisson"
    spec_weight: float = 1.0
    total_weight: float = 1.0
    kl_epsilon: float = 1e-3
    mn_epsilon: float = 1e-6


def unreduced(prediction: jax.Array, target: jax.Array, keep: jax.Array, rules: LossRules) -> jax.Array:
    """The loss of each place (B, P), a mean over tracks; for poisson_mn of each row and track (B, K).

    Where `keep` is False a place has the loss of a prediction of 0 of nothing; `reduced` leaves it out.
    """
    marked = keep[..., None]
    p = jnp.where(marked, prediction.astype(jnp.float32), 0.0)
    t = jnp.where(marked, target.astype(jnp.float32), 0.0)
    if rules.loss == "poisson_mn":
        return _multinomial(p, t, marked, rules)
    if rules.loss == "bce":
        return cross_entropy(p, t).mean(axis=-1)
    if rules.loss in ("mse", "mse_udot"):
        error = ((p - t) ** 2).mean(axis=-1)
        return error if rules.loss == "mse" else error - rules.spec_weight * _across(p, t)
    likelihood = poisson(p, t).mean(axis=-1)
    return likelihood if rules.loss == "poisson" else likelihood + rules.spec_weight * _divergence(p, t, rules)


def reduced(prediction: jax.Array, target: jax.Array, keep: jax.Array, rules: LossRules) -> jax.Array:
    """The scalar loss: the mean over the places that count; poisson_mn: over the rows that have any, and tracks."""
    loss, weight = unreduced(prediction, target, keep, rules), places(keep, rules)
    if rules.loss == "poisson_mn":
        loss = loss.mean(axis=-1)
    return (loss * weight).sum() / jnp.maximum(weight.sum(), 1.0)


def places(keep: jax.Array, rules: LossRules) -> jax.Array:
    """What the mean is over: places (B, P) that count, or for poisson_mn rows (B,) that have one; float32 0 or 1."""
    return (keep.any(axis=1) if rules.loss == "poisson_mn" else keep).astype(jnp.float32)


def poisson(p: jax.Array, t: jax.Array) -> jax.Array:
    """Negative log likelihood of counts without the term of t alone, so that it may be negative; elementwise."""
    return p - t * jnp.log(p + EPSILON)


def cross_entropy(p: jax.Array, t: jax.Array) -> jax.Array:
    """Binary cross-entropy of probabilities in Keras's form; elementwise."""
    q = jnp.clip(p, EPSILON, 1.0 - EPSILON)
    return -(t * jnp.log(q + EPSILON) + (1.0 - t) * jnp.log(1.0 - q + EPSILON))


def _across(p: jax.Array, t: jax.Array) -> jax.Array:
    """Mean over tracks of the product of both, each less its mean over tracks: (B, P)."""
    return ((p - p.mean(axis=-1, keepdims=True)) * (t - t.mean(axis=-1, keepdims=True))).mean(axis=-1)


def _divergence(p: jax.Array, t: jax.Array, rules: LossRules) -> jax.Array:
    """Kullback-Leibler divergence of the tracks' shares of each place (B, P)."""
    shares = [value + rules.kl_epsilon for value in (t, p)]
    k, q = (jnp.clip(value / value.sum(axis=-1, keepdims=True), EPSILON, 1.0) for value in shares)
    return (k * jnp.log(k / q)).sum(axis=-1)


def _multinomial(p: jax.Array, t: jax.Array, marked: jax.Array, rules: LossRules) -> jax.Array:
    """Where a track's signal lies in its row, and how much of it there is in the mean over tracks: (B, K).

    Both are divided by the number of places. The mean over tracks is the original's doing, which means one for each.
    """
    p, t = (jnp.where(marked, value + rules.mn_epsilon, 0.0) for value in (p, t))
    count = jnp.maximum(marked.sum(axis=1), 1)
    total_p, total_t = p.sum(axis=1), t.sum(axis=1)
    share = jnp.where(marked, p / jnp.maximum(total_p, rules.mn_epsilon)[:, None], 1.0)
    where = -(t * jnp.log(share)).sum(axis=1) / count
    total = poisson(total_p, total_t).mean(axis=-1, keepdims=True) / count
    return where + rules.total_weight * total
