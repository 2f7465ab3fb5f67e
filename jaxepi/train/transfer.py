"""Weights that a run starts from, and weights that it leaves alone.

Both are told by patterns over the paths of weights in the model, such as "dna.*" or "*.norms.*" (as file names are
matched, case and all).
"""

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.table import weights_of
from jaxepi.released import load_released
from jaxepi.trained import restore_model

SEPARATOR = "::"
FROZEN_STATISTICS = ("running", "batch")


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether any pattern fits the whole path."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def weight_path(path: tuple[Any, ...]) -> str:
    """ "dna.convs.0.kernel" from the path of a leaf in a state."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")


def trainable(state: Any, frozen: Sequence[str]) -> Any:
    """A tree like `state` that tells for each leaf whether no pattern of `frozen` fits it."""
    return jax.tree_util.tree_map_with_path(lambda path, _: not matches(weight_path(path), frozen), state)


def keep_statistics(model: nnx.Module, frozen: Sequence[str]) -> None:
    """Normalisation layers whose statistics all fit a pattern use these, as in evaluation, not those of the batch."""
    for path, module in nnx.iter_modules(model):
        own = [name for name, value in vars(module).items() if isinstance(value, nnx.BatchStat)]
        if own and all(matches(".".join(map(str, (*path, name))), frozen) for name in own):
            module.eval()


def check_frozen(params: Any, frozen: Sequence[str], statistics: str) -> None:
    """Raises JaxepiError if a pattern of `config.frozen` fits no parameter, or if they leave nothing to train, or if
    `config.frozen_statistics` is unknown."""
    if statistics not in FROZEN_STATISTICS:
        raise JaxepiError(
            f"config.frozen_statistics is {statistics!r}{did_you_mean(statistics, FROZEN_STATISTICS)}, but must be one "
            f"of {', '.join(FROZEN_STATISTICS)}."
        )
    paths = _paths(params)
    for pattern in frozen:
        if not fnmatch.filter(paths, pattern):
            raise JaxepiError(f"config.frozen has {pattern!r}, which fits no weight of the model; {_examples(paths)}.")
    if all(matches(path, frozen) for path in paths):
        raise JaxepiError(f"config.frozen is {tuple(frozen)}, which leaves nothing to train.")


def chosen(mask: Any, yes: Any, no: Any) -> Any:
    """Leaves of `yes` where the mask is true, of `no` elsewhere."""
    return jax.tree.map(lambda take, a, b: a if take else b, mask, yes, no)


def start_from(
    params: Any,
    rest: Any,
    sources: Sequence[str],
    system: str,
    trunks: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
) -> tuple[Any, Any]:
    """Parameters and other state with weights taken from runs and released files.

    Args:
      params: of the new model; leaves keep their sharding.
      rest: normalisation statistics and the like.
      sources: "PATH" takes every weight of that model, "PATH::pattern,pattern" those that fit. "trunk=PATH..." takes
        those of a model that is the part `trunk` of the new one; patterns are then over its own paths.
      system: of released files.
      trunks: parts that are models of other systems -> system and sizes, see `jaxepi.task.Task`.

    Raises:
      JaxepiError: a source that cannot be read, a pattern that fits none of its weights, or a weight that the new model
        does not have in that shape.
    """
    for source in sources:
        part, _, own = source.partition("=")
        inside = part in (trunks or {})
        name, _, patterns = (own if inside else source).partition(SEPARATOR)
        wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
        taken = _weights(name, wanted, *((trunks or {})[part] if inside else (system, {})))
        taken = {f"{part}.{path}": weight for path, weight in taken.items()} if inside else taken
        lost = sorted(set(taken) - {*_paths(params), *_paths(rest)})
        if lost:
            raise JaxepiError(
                f"config.init_from: this model has no {lost[0]}, which {name} holds; take only what fits, as in "
                f"{name}{SEPARATOR}dna.*"
            )
        params, rest = _placed(params, taken, name), _placed(rest, taken, name)
    return params, rest


def _paths(state: Any) -> list[str]:
    return [weight_path(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]


def _placed(state: Any, taken: Mapping[str, np.ndarray], name: str) -> Any:
    """The state with the weights that were taken in their places."""

    def place(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        weight = taken.get(weight_path(path))
        if weight is None:
            return leaf
        if weight.shape != leaf.shape:
            raise JaxepiError(
                f"config.init_from: {weight_path(path)} of {name} has shape {weight.shape}, but this model's has "
                f"{leaf.shape}; take only what fits, as in {name}{SEPARATOR}dna.*"
            )
        return jax.device_put(weight.astype(leaf.dtype), leaf.sharding)

    return jax.tree_util.tree_map_with_path(place, state)


def _weights(name: str, patterns: Sequence[str], system: str, sizes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Weights of a run or a released file by path, those that fit a pattern."""
    path = Path(name)
    is_run = (path / "checkpoints").is_dir() or (path / "best").is_dir()
    if not path.exists():
        raise JaxepiError(f"config.init_from names {name}, but there is no run and no file of weights.")
    model: nnx.Module = restore_model(path).model if is_run else load_released(path, system, **sizes)[0]
    weights = {key: np.asarray(jax.device_get(value.get_value())) for key, value in weights_of(model).items()}
    for pattern in patterns:
        if not fnmatch.filter(list(weights), pattern):
            near = did_you_mean(pattern, list(weights))
            raise JaxepiError(f"config.init_from asks {name} for {pattern!r}{near}, but {_examples(list(weights))}.")
    return {key: value for key, value in weights.items() if not patterns or matches(key, patterns)}


def _examples(paths: Sequence[str]) -> str:
    return f"its weights are {', '.join(paths[:3])} and {len(paths) - 3} more" if len(paths) > 3 else f"it has {paths}"
