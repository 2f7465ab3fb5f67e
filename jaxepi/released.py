"""Released weights into our models and out again, strict both ways and bit-equal over a round trip."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.sources import Released, Source, read_source, write_source
from jaxepi.pretrained.table import load_into, strip_prefixes, to_original
from jaxepi.system import System, Weights
from jaxepi.systems.registry import all_wrappers, get_system, system_of_model, systems_with_weights

__all__ = ["export", "from_pretrained", "load_released"]


def from_pretrained(system: str, source: Source, **sizes: Any) -> nnx.Module:
    """A model with released weights.

    Args:
      system: "melody", "deepcpg" or "chromoformer".
      source: a file in an original format (torch, Keras `.h5`, safetensors, `.npz`, or gzipped), a folder as DeepCpG
        writes it, or a mapping from original names to arrays.
      **sizes: fields of the model's config. Sizes that the tensors tell need not be given; a contradiction is an error.

    Raises:
      JaxepiError: unknown system or field, an unreadable or unsafe file, or tensors that do not fit, each named.
    """
    return load_released(source, system, **sizes)[0]


def load_released(source: Source, system: str | None = None, **sizes: Any) -> tuple[nnx.Module, System, Released]:
    """Like `from_pretrained`, with the system recognised by tensor names if not given, and what else the file tells.

    Raises:
      JaxepiError: as `from_pretrained`, or the file belongs to no known system.
    """
    found = get_system(system) if system is not None else _recognise(read_source(source, all_wrappers()))
    weights = _weights(found)
    if weights.open is not None:
        content, sizes = weights.open(source, sizes)
    else:
        content = _bare(weights, read_source(source, weights.wrappers))
    return _build(found, weights, content, sizes), found, content


def export(model: nnx.Module, path: str | os.PathLike[str], tracks: Sequence[str] | None = None) -> None:
    """Writes a model's weights in the layout of the original program.

    Args:
      model: one of ours.
      path: `.pth` or `.pt` (needs PyTorch), `.npz` or `.safetensors`; for DeepCpG also `.h5`, which its original reads.
      tracks: names of the output tracks, kept in the file for `jaxepi.load`; the original ignores them.

    Raises:
      JaxepiError: a model without an original layout, an unknown suffix, or a file that cannot be written.
    """
    system = system_of_model(model)
    weights = _weights(system)
    if weights.write is not None and weights.write(model, Path(path)):
        return
    arrays = to_original(model, weights.table(model.config))
    write_source(Path(path), arrays, weights.wrappers[0], tracks)


def _weights(system: System) -> Weights:
    if system.weights is None:
        raise JaxepiError(f"{system.name} has no original layout of weights: restore its runs by their --workdir.")
    return system.weights


def _recognise(content: Released) -> System:
    known = systems_with_weights()
    for system, weights in known:
        names = set(_names(weights, content.arrays).values())
        if any(name in names for name in weights.signature):
            return system
    first = ", ".join(list(content.arrays)[:3]) or "nothing"
    raise JaxepiError(
        f"{content.name} holds no weights of {', '.join(system.name for system, _ in known)} (it has {first}); "
        "name the system with system=... to see which tensors are missing."
    )


def _bare(weights: Weights, content: Released) -> Released:
    """The arrays under the names of the system's table."""
    names = _names(weights, content.arrays)
    arrays: dict[str, Any] = {}
    for name, array in content.arrays.items():
        if names[name] in arrays:
            raise JaxepiError(f"{content.name} holds {names[name]} twice, the second time as {name}.")
        arrays[names[name]] = array
    return dataclasses.replace(content, arrays=arrays)


def _names(weights: Weights, names: Iterable[str]) -> dict[str, str]:
    """Name in a file -> name without what wrappers of the original put before it, in the newest version's spelling."""
    bare = strip_prefixes(names, weights.prefixes)
    return {name: weights.rename(b) if weights.rename else b for name, b in bare.items()}


def _build(system: System, weights: Weights, content: Released, sizes: dict[str, Any]) -> nnx.Module:
    fields = [field.name for field in dataclasses.fields(system.sizes)]
    for field in sizes:
        if field not in fields:
            raise JaxepiError(f"Unknown size {field!r} of {system.name}{did_you_mean(field, fields)}; it has {fields}.")
    told = weights.sizes(content.arrays, content.name)
    for field, value in told.items():
        if sizes.get(field, value) != value:
            asked = sizes[field]
            raise JaxepiError(f"{content.name} holds a model with {field} {value}, but {field}={asked} was asked for.")
    config = system.sizes(**{**told, **sizes})
    model = system.abstract(config)
    load_into(model, content.arrays, weights.table(config), content.name)
    return model
