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
from jaxepi.system import System
from jaxepi.systems.registry import all_wrappers, get_system, known_systems, system_of_model

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
    if found.open is not None:
        content, sizes = found.open(source, sizes)
    else:
        content = _bare(found, read_source(source, found.wrappers))
    return _build(found, content, sizes), found, content


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
    if system.write is not None and system.write(model, Path(path)):
        return
    arrays = to_original(model, system.table(model.config))
    write_source(Path(path), arrays, system.wrappers[0], tracks)


def _recognise(content: Released) -> System:
    for system in map(get_system, known_systems()):
        names = set(_names(system, content.arrays).values())
        if any(name in names for name in system.signature):
            return system
    first = ", ".join(list(content.arrays)[:3]) or "nothing"
    raise JaxepiError(
        f"{content.name} holds no weights of {', '.join(known_systems())} (it has {first}); "
        "name the system with system=... to see which tensors are missing."
    )


def _bare(system: System, content: Released) -> Released:
    """The arrays under the names of the system's table."""
    names = _names(system, content.arrays)
    arrays: dict[str, Any] = {}
    for name, array in content.arrays.items():
        if names[name] in arrays:
            raise JaxepiError(f"{content.name} holds {names[name]} twice, the second time as {name}.")
        arrays[names[name]] = array
    return dataclasses.replace(content, arrays=arrays)


def _names(system: System, names: Iterable[str]) -> dict[str, str]:
    """Name in a file -> name without what wrappers of the original put before it, in the newest version's spelling."""
    bare = strip_prefixes(names, system.prefixes)
    return {name: system.rename(b) if system.rename else b for name, b in bare.items()}


def _build(system: System, content: Released, sizes: dict[str, Any]) -> nnx.Module:
    fields = [field.name for field in dataclasses.fields(system.config)]
    for field in sizes:
        if field not in fields:
            raise JaxepiError(f"Unknown size {field!r} of {system.name}{did_you_mean(field, fields)}; it has {fields}.")
    told = system.sizes(content.arrays, content.name)
    for field, value in told.items():
        if sizes.get(field, value) != value:
            asked = sizes[field]
            raise JaxepiError(f"{content.name} holds a model with {field} {value}, but {field}={asked} was asked for.")
    config = system.config(**{**told, **sizes})
    model = system.build(config)
    load_into(model, content.arrays, system.table(config), content.name)
    return model
