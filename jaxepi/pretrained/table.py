"""Weight tables: which tensor of a released file is which array of our model, strict both ways.

A table lists one line per tensor, in the order of the original file: its name there, the path of the array in our
model, and the transform between the two layouts. Loading and writing back read the same lines, so a round trip gives
the same bits.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.torch_like import Kept

# What wrapping a module in another puts before every name, whatever the system.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
MOST_NAMED = 10  # tensors that an error names before it only counts


@dataclasses.dataclass(frozen=True)
class Transform:
    """A change of layout and its inverse; both are pure rearrangements, so values keep their bits."""

    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


def permute(*axes: int) -> Transform:
    """Axis `axes[i]` of the original becomes axis i of ours."""
    back = tuple(int(axis) for axis in np.argsort(axes))
    return Transform(lambda array: np.transpose(array, axes), lambda array: np.transpose(array, back))


IDENTITY = Transform(lambda array: array, lambda array: array)
TORCH_CONV1D = permute(2, 1, 0)  # (out, in, k) -> (k, in, out)
TORCH_LINEAR = permute(1, 0)  # (out, in) -> (in, out)
TORCH_POINTWISE = Transform(lambda array: array[:, :, 0].T, lambda array: array.T[:, :, None])  # (out, in, 1) likewise


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor of the original file.

    Attributes:
      original: its name there.
      path: where it lives in our model, attributes and list positions joined by dots ("encoder.0.conv.kernel").
      transform: original layout to ours.
    """

    original: str
    path: str
    transform: Transform = IDENTITY


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """Tensors of the original file that lie beside each other, along the last axis, in one array of ours.

    Attributes:
      originals: their names there, in our order.
      path: as in `Entry`.
      sizes: of each along the last axis.
    """

    originals: Sequence[str]
    path: str
    sizes: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Unused:
    """A tensor that the original file holds but no computation of ours reads, such as a batch counter.

    It may be absent on the way in; on the way out it is written as `value`.
    """

    original: str
    value: np.ndarray


Table = Sequence[Entry | SideBySide | Unused]


def weights_of(model: nnx.Module) -> dict[str, nnx.Variable]:
    """Parameters, normalisation statistics and kept tensors by dotted path; random-number state is not among them."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat, Kept)))
    return {".".join(str(part) for part in path): variable for path, variable in flat}


def weights_digest(model: nnx.Module) -> str:
    """A fingerprint of all weights, the same for the same bits."""
    hasher = hashlib.blake2b(digest_size=16)
    for path, variable in sorted(weights_of(model).items()):
        hasher.update(path.encode())
        hasher.update(np.ascontiguousarray(jax.device_get(variable.get_value())))
    return hasher.hexdigest()


def original_shapes(model: nnx.Module, table: Table) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in the original layout, in the original order; computes nothing."""
    weights = weights_of(model)
    shapes = {}
    for entry in table:
        if isinstance(entry, Unused):
            shapes[entry.original] = entry.value.shape
        elif isinstance(entry, SideBySide):
            rows = weights[entry.path].shape[:-1]
            shapes |= {name: (*rows, size) for name, size in zip(entry.originals, entry.sizes, strict=True)}
        else:
            empty = np.broadcast_to(np.float32(0), weights[entry.path].shape)
            shapes[entry.original] = entry.transform.inverse(empty).shape
    return shapes


def load_into(model: nnx.Module, arrays: Mapping[str, np.ndarray], table: Table, source: str = "the source") -> None:
    """Fills `model` in place from arrays under their original names.

    The model may be abstract (from `nnx.eval_shape`) or hold values, whose placement on devices is then kept. float16,
    bfloat16 and float64 arrays become the model's float32; a float32 array keeps its bits.

    Raises:
      JaxepiError: a tensor is missing, unexpected, of another shape, not of real numbers, or holds NaN or infinity. One
        error names all of them, `MOST_NAMED` at most of each kind; the model is then unchanged.
    """
    optional = {entry.original for entry in table if isinstance(entry, Unused)}
    problems = _mismatches(arrays, original_shapes(model, table), optional)
    weights = weights_of(model)
    uncovered = sorted(set(weights) - {entry.path for entry in table if not isinstance(entry, Unused)})
    if uncovered:
        problems.append(_listed("the table of this system lacks", uncovered))
    if problems:
        raise JaxepiError(f"The weights of {source} do not fit the model: {'; '.join(problems)}.")
    for entry in table:
        if not isinstance(entry, Unused):
            variable = weights[entry.path]
            if isinstance(entry, SideBySide):
                value = np.concatenate([np.asarray(arrays[name]) for name in entry.originals], axis=-1)
            else:
                value = np.ascontiguousarray(entry.transform.forward(np.asarray(arrays[entry.original])))
            old = variable.get_value()
            value = value.astype(old.dtype, copy=False)
            placed = jax.device_put(value, old.sharding) if isinstance(old, jax.Array) else jnp.asarray(value)
            variable.set_value(placed)
    nnx.update(model, nnx.from_flat_state([(_split(path), variable) for path, variable in weights.items()]))


def to_original(model: nnx.Module, table: Table) -> dict[str, np.ndarray]:
    """The model's weights under their original names and layouts, in the original order."""
    weights = weights_of(model)
    arrays = {}
    for entry in table:
        if isinstance(entry, Unused):
            arrays[entry.original] = entry.value
        elif isinstance(entry, SideBySide):
            value = np.asarray(jax.device_get(weights[entry.path].get_value()))
            parts = np.split(value, np.cumsum(entry.sizes)[:-1], axis=-1)
            arrays |= {n: np.ascontiguousarray(part) for n, part in zip(entry.originals, parts, strict=True)}
        else:
            value = np.asarray(jax.device_get(weights[entry.path].get_value()))
            arrays[entry.original] = np.ascontiguousarray(entry.transform.inverse(value))
    return arrays


def strip_prefixes(names: Iterable[str], prefixes: Sequence[str]) -> dict[str, str]:
    """Name -> name without wrappers' prefixes, taken off as long as every name starts with the same one."""
    bare = {name: name for name in names}
    while bare and (shared := next((p for p in prefixes if all(b.startswith(p) for b in bare.values())), None)):
        bare = {name: b.removeprefix(shared) for name, b in bare.items()}
    return bare


def _split(path: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in path.split("."))


def _mismatches(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], optional: set[str]
) -> list[str]:
    """Phrases for missing, unexpected, misshapen and non-finite tensors."""
    unexpected = [name for name in arrays if name not in shapes]
    missing = [name for name in shapes if name not in arrays and name not in optional]
    misshapen, unreal = [], []
    for name, shape in shapes.items():
        if name in arrays:
            array = np.asarray(arrays[name])
            if array.shape != shape:
                misshapen.append(f"{name} is {array.shape} where {shape} was expected")
            elif not _is_real(array.dtype):
                unreal.append(f"{name} ({array.dtype})")
            elif not np.isfinite(array.astype(np.float32, copy=False)).all():
                unreal.append(f"{name} (holds NaN or infinity)")
    kinds = {
        "missing": (missing, unexpected),
        "unexpected": (unexpected, missing),
        "misshapen": (misshapen, []),
        "not finite real numbers": (unreal, []),
    }
    return [_listed(kind, names, known) for kind, (names, known) in kinds.items() if names]


def _is_real(dtype: np.dtype) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or np.issubdtype(dtype, np.integer)


def _listed(kind: str, names: Sequence[str], known: Sequence[str] = ()) -> str:
    """ "missing 2: a, b" with near names among `known`; of many, the first ones and how many more there are."""
    rest = len(names) - MOST_NAMED
    named = ", ".join(f"{name}{did_you_mean(name, known)}" for name in names[:MOST_NAMED])
    return f"{kind} {len(names)}: {named}" + (f" and {rest} more" if rest > 0 else "")
