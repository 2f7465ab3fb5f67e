"""The losses of DeepCpG: one per output, masked where a site was not observed, weighted by class and output.

Shapes: label and mask (B, H) for H outputs, row_mask (B,). Labels are 0 where masked; classes are 0, 1, 2.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxepi.errors import JaxepiError
from jaxepi.systems.deepcpg.model import DeepCpGOutputs, head_kind, unit_slices

EPSILON = 1e-7  # Keras's: bounds of probabilities, and the weight of a masked label under "keras" masking
MASKING = ("per_output", "pooled", "keras")


@dataclasses.dataclass(frozen=True)
class LossRules:
    """What is minimised.

    Attributes:
      outputs: names (H,).
      masking: `per_output`: mean over the observed labels of each output, added up. `pooled`: mean over all observed
        labels of all outputs. `keras`: as the original, a masked label is -1 and weighs 1e-7, and every output is
        divided by all rows, so outputs with many missing labels count less.
      entropy_as_probability: the original's cross-entropy for the entropy output, which is no probability.
      class_weights: output -> weight of each class; others weigh 1.
      output_weights: (H,).
    """

    outputs: tuple[str, ...]
    masking: str = "per_output"
    entropy_as_probability: bool = False
    class_weights: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    output_weights: tuple[float, ...] = ()

    def weights(self) -> np.ndarray:
        """Weight of each output (H,)."""
        return np.asarray(self.output_weights or [1.0] * len(self.outputs))

    def of(self, output: str) -> str:
        """binary | squared | categorical."""
        words = output.split("/")
        if words[-1] == "cat_var":
            return "categorical"
        squared = ("mean", "var") if self.entropy_as_probability else ("mean", "var", "entropy")
        return "squared" if words[0] == "bulk" or words[-1] in squared else "binary"


def clipped_cross_entropy(probability: jax.Array, label: jax.Array) -> jax.Array:
    """Keras's form: probabilities are clipped to [1e-7, 1 - 1e-7] and turned back into logits."""
    p = jnp.clip(probability, EPSILON, 1.0 - EPSILON)
    return optax.sigmoid_binary_cross_entropy(jnp.log(p / (1.0 - p)), label)


def categorical_cross_entropy(probability: jax.Array, label: jax.Array) -> jax.Array:
    """Keras's form, probability (B, 3) and class (B,): -log of the clipped probability of the class."""
    p = probability / probability.sum(axis=-1, keepdims=True)
    chosen = jnp.take_along_axis(p, label.astype(jnp.int32)[:, None], axis=-1)[:, 0]
    return -jnp.log(jnp.clip(chosen, EPSILON, 1.0 - EPSILON))


def element_losses(outputs: DeepCpGOutputs, label: jax.Array, mask: jax.Array, rules: LossRules) -> jax.Array:
    """The loss of every site and output (B, H), before any weight."""
    keras = rules.masking == "keras"
    units = unit_slices(rules.outputs)
    filled = jnp.where(mask, label, -1.0) if keras else label
    columns: list[jax.Array] = [jnp.zeros(0)] * len(rules.outputs)
    by_kind: dict[str, list[int]] = {}
    for h, output in enumerate(rules.outputs):
        by_kind.setdefault(rules.of(output), []).append(h)
    for kind, numbers in by_kind.items():
        names = [rules.outputs[h] for h in numbers]
        if kind == "categorical":
            values = [
                categorical_cross_entropy(outputs.heads[n], label[:, h]) for h, n in zip(numbers, names, strict=True)
            ]
            found = jnp.where(mask[:, jnp.array(numbers)], jnp.stack(values, axis=1), 0.0)
        else:
            prediction, y = jnp.stack([outputs.heads[name] for name in names], axis=1), filled[:, jnp.array(numbers)]
            if kind == "squared":
                found = (prediction - y) ** 2
            elif keras:
                found = clipped_cross_entropy(prediction, y)
            else:
                found = _cross_entropy(outputs, names, units, prediction, y)
        for i, h in enumerate(numbers):
            columns[h] = found[:, i]
    return jnp.stack(columns, axis=1)


def _cross_entropy(
    outputs: DeepCpGOutputs, names: Sequence[str], units: Mapping[str, slice], prediction: jax.Array, label: jax.Array
) -> jax.Array:
    """From the logits where the prediction is their sigmoid, which loses nothing at the ends."""
    logits = outputs.logits[:, jnp.array([units[name].start for name in names])]
    from_logits = optax.sigmoid_binary_cross_entropy(logits, label)
    sigmoid = np.array([head_kind(name) == "sigmoid" for name in names])
    if sigmoid.all():
        return from_logits
    return jnp.where(sigmoid[None], from_logits, clipped_cross_entropy(prediction, label))


def label_weights(label: jax.Array, mask: jax.Array, rules: LossRules) -> jax.Array:
    """Weight of every label (B, H): that of its class; a fraction between 0 and 1 lies between both classes."""
    columns = []
    for h, output in enumerate(rules.outputs):
        of_class = jnp.asarray(rules.class_weights.get(output, (1.0, 1.0, 1.0)), label.dtype)
        if rules.of(output) == "categorical":
            columns.append(of_class[label[:, h].astype(jnp.int32)])
        else:
            columns.append(of_class[0] + (of_class[1] - of_class[0]) * label[:, h])
    return jnp.where(mask, jnp.stack(columns, axis=1), EPSILON if rules.masking == "keras" else 0.0)


def loss_sums(
    outputs: DeepCpGOutputs, label: jax.Array, mask: jax.Array, row_mask: jax.Array, rules: LossRules
) -> tuple[jax.Array, jax.Array]:
    """Weighted losses of each output added up over the batch, and what to divide them by: both (H,)."""
    rows = row_mask[:, None] > 0
    mask = mask & rows
    weights = jnp.where(rows, label_weights(label, mask, rules), 0.0)
    sums = (weights * element_losses(outputs, label, mask, rules)).sum(axis=0)
    counted = rows if rules.masking == "keras" else mask
    return sums, jnp.broadcast_to(counted, mask.shape).sum(axis=0).astype(sums.dtype)


def reduce_losses(sums: jax.Array, counts: jax.Array, masking: str) -> jax.Array:
    """The loss of each output (H,); an output without an observed label has loss 0."""
    counts = counts.sum(keepdims=True) if masking == "pooled" else counts
    return sums / (jnp if isinstance(sums, jax.Array) else np).maximum(counts, 1.0)


def class_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights inverse to the frequency of each class among the training labels, adding up to 1.

    Raises:
      JaxepiError: no label at all.
    """
    total = sum(counts)
    if not total:
        raise JaxepiError("Class weights need observed labels in the training split, but there is none.")
    inverse = [1.0 / (count / total + EPSILON) for count in counts]
    return tuple(weight / sum(inverse) for weight in inverse)


def output_weights(outputs: Sequence[str], rules: Sequence[str]) -> tuple[float, ...]:
    """Weight of each output by rules "pattern=weight"; the pattern must match from the start, the last match counts.

    Raises:
      JaxepiError: a rule of another form.
    """
    weights = [1.0] * len(outputs)
    for rule in rules:
        pattern, _, value = rule.rpartition("=")
        try:
            compiled, number = re.compile(pattern), float(value)
        except (re.error, ValueError):
            raise JaxepiError(
                f"config.task.output_weights has {rule!r}, but each must be PATTERN=WEIGHT, such as 'cpg/.*=1.5'."
            ) from None
        weights = [number if compiled.match(o) else w for o, w in zip(outputs, weights, strict=True)]
    return tuple(weights)
