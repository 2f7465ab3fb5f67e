"""What every metric is: a frozen pytree of masked sums, made on the device or the host, merged, finalised once.

Values come as (..., K): any leading axes, K tracks last. On the device the sums are float32 and int32; on the host
(NumPy) everything is float64 and int64, so that merging any number of batches loses nothing.
"""

import dataclasses
import operator
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # a NumPy or a jax array


def static(default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field that is part of the metric's kind (not a leaf): two metrics that differ in it cannot merge."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class Metric:
    """Masked sums for K tracks, merged by adding every leaf; `Moments` merge by a formula of their own."""

    def finalize(self) -> dict[str, np.ndarray]:
        """Named values (K,) float64; what is undefined is NaN and `reasons` says why."""
        raise NotImplementedError

    def reasons(self) -> dict[str, list[str]]:
        """For every name of `finalize`, one text per track: why the value is NaN, empty where it is defined."""
        raise NotImplementedError

    def merge(self, other: Self) -> Self:
        """The metric of both sets of values. Stays on the device only if both are there, else becomes float64."""
        on_device = all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((self, other)))
        left, right = (self, other) if on_device else (self.to_host(), other.to_host())
        xp = jnp if on_device else np
        if jax.tree.structure(left) != jax.tree.structure(right):
            raise ValueError(f"cannot merge metrics of different kinds: {_kind(self)} and {_kind(other)}")
        return left._add(right, xp)

    def pooled(self) -> Self:
        """All tracks taken together as one (K = 1), on the host."""
        # The track axis becomes the axis that is combined; a new track axis of one is put in its place.
        return jax.tree.map(lambda leaf: leaf[:, None], self.to_host())._combine(np)

    def to_host(self) -> Self:
        """NumPy leaves in float64 and int64 (waits for the device)."""
        return jax.tree.map(_widen, jax.device_get(self))

    def _add(self, other: Self, xp: ModuleType) -> Self:
        """The metric of both, leaves of one namespace."""
        return jax.tree.map(operator.add, self, other)

    def _combine(self, xp: ModuleType) -> Self:
        """Folds the first axis of every leaf."""
        return jax.tree.map(lambda leaf: leaf.sum(axis=0), self)


class Moments(Metric):
    """Metrics that hold means and centred squares: their leaves are not additive, `_combine` pools them."""

    def _add(self, other: Self, xp: ModuleType) -> Self:
        return jax.tree.map(lambda a, b: xp.stack([a, b]), self, other)._combine(xp)


def _kind(metric: Metric) -> str:
    fields = [f"{f.name}={getattr(metric, f.name)!r}" for f in dataclasses.fields(metric) if f.metadata.get("static")]
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(metric)}
    return f"{type(metric).__name__}({', '.join(fields)}) of shapes {sorted(shapes)}"


def _widen(leaf: Array) -> np.ndarray:
    leaf = np.asarray(leaf)
    return leaf.astype(np.int64 if leaf.dtype.kind in "iub" else np.float64, copy=False)


def namespace(*arrays: Array) -> ModuleType:
    """jax.numpy if any of the arrays belongs to jax, else NumPy."""
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def prepare_values(prediction: Array, target: Array, mask: Array | None) -> tuple[ModuleType, Array, Array, Array]:
    """Checks and converts (prediction, target, mask), all (..., K), mask broadcast; values that do not count become 0.

    Returns the namespace, prediction and target (float32 for jax, float64 for NumPy) and a boolean mask.
    A target of NaN is allowed where the mask is 0. The mask's letters mean: counts (not 0) or does not count (0).
    """
    xp = namespace(prediction, target, mask)
    dtype = xp.float64 if xp is np else xp.float32
    prediction, target = xp.asarray(prediction, dtype), xp.asarray(target, dtype)
    if prediction.shape != target.shape or prediction.ndim < 1:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} must have one shape (..., K)")
    keep = xp.ones(prediction.shape, bool) if mask is None else xp.broadcast_to(xp.asarray(mask) != 0, prediction.shape)
    zero = xp.zeros((), dtype)
    return xp, xp.where(keep, prediction, zero), xp.where(keep, target, zero), keep


def sum_tracks(values: Array) -> Array:
    """Adds (..., K) over all axes but the last: (K,). Booleans are counted.

    Float32 needs no care of ours: XLA reduces in a tree, so the error stays near one rounding for millions of values.
    """
    dtype = {"b": np.int32, "i": np.int32, "u": np.int32}.get(values.dtype.kind, values.dtype)
    if isinstance(values, np.ndarray):
        return values.reshape(-1, values.shape[-1]).sum(axis=0, dtype=np.int64 if dtype == np.int32 else dtype)
    return values.sum(axis=tuple(range(values.ndim - 1)), dtype=dtype)


def over_tracks(per_track: Array, ndim: int) -> Array:
    """Values (K,) as (1, ..., K) with `ndim` axes: broadcasting is said, not left to rank promotion."""
    return per_track.reshape((1,) * (ndim - 1) + per_track.shape)


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient in float64, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator != 0)


def first_reason(conditions: list[tuple[np.ndarray, str]]) -> list[str]:
    """Per track the text of the first condition (K,) that holds, else an empty text."""
    return np.select([holds for holds, _ in conditions], [text for _, text in conditions], default="").tolist()


def merge_metrics(left: Mapping[str, Metric] | None, right: Mapping[str, Metric]) -> dict[str, Metric]:
    """Merges two dictionaries of metrics name by name; None on the left is the empty start.

    Raises ValueError if the names differ.
    """
    if left is None:
        return dict(right)
    if left.keys() != right.keys():
        raise ValueError(f"cannot merge metrics named {sorted(left)} with {sorted(right)}")
    return {name: left[name].merge(right[name]) for name in left}


def merge_across_hosts(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics of all processes together, the same on each; with one process only the conversion to NumPy.

    For metrics that each process made of its own rows. A jitted step over a mesh of all hosts sees the global batch and
    its metrics are complete already: do not merge those again.
    """
    host = {name: metric.to_host() for name, metric in metrics.items()}
    if jax.process_count() == 1:
        return host
    from jax.experimental import multihost_utils

    def gather(leaf: np.ndarray) -> np.ndarray:
        # Sent as raw bytes: without x64, jax would round float64 to float32 and wrap int64 on the way.
        raw = np.frombuffer(np.ascontiguousarray(leaf).tobytes(), np.uint8)
        rows = np.asarray(multihost_utils.process_allgather(raw))
        return np.stack([np.frombuffer(row.tobytes(), leaf.dtype).reshape(leaf.shape) for row in rows])

    return {name: jax.tree.map(gather, host[name])._combine(np) for name in sorted(host)}
