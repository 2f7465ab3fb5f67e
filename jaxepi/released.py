"""Released weights into our models and out again, strict both ways and bit-equal over a round trip."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.sources import Released, Source, as_notes, path_of, read_source, write_source
from jaxepi.pretrained.table import PREFIXES, load_into, strip_prefixes, to_original
from jaxepi.registry import all_wrappers, get_system, known_systems, system_of_model, systems_with_weights, task_of
from jaxepi.system import Published, System, Weights

__all__ = ["PretrainedModel", "export", "from_pretrained", "list_pretrained", "list_systems", "load_released"]


@dataclasses.dataclass(frozen=True)
class PretrainedModel:
    """A model whose weights its authors have published; its text is one line.

    Attributes:
      system: which one it is of.
      name: of the model.
      files: what its authors call the files; words in braces stand for what differs between files of one model.
      where: they lie; nothing is downloaded.
      tracks: names of its outputs.
      window: bp of sequence that it reads; None if it reads none.
      parameters: numbers in its weights.
      sizes: fields of the model's config that differ from their defaults.
    """

    system: str
    name: str
    files: tuple[str, ...]
    where: str
    tracks: tuple[str, ...]
    window: int | None
    parameters: int
    sizes: Mapping[str, Any]

    def __str__(self) -> str:
        tracks = f"{', '.join(self.tracks[:2])}{', ...' if len(self.tracks) > 2 else ''}"
        reads = "no sequence" if self.window is None else f"{self.window} bp"
        return (
            f"{self.system}: {self.name}, {len(self.tracks)} track(s) ({tracks}), reads {reads}, "
            f"{self.parameters:,} parameters, {self.files[0]} at {self.where}"
        )


def list_systems() -> list[str]:
    """Names of the systems, as `from_pretrained` and configs take them."""
    return known_systems()


def list_pretrained(system: str | None = None) -> list[PretrainedModel]:
    """The published models that `from_pretrained` reads: of one system, or of all.

    Raises:
      JaxepiError: unknown system.
    """
    systems = [get_system(name) for name in (known_systems() if system is None else [system])]
    return [_listed(own, own.weights, model) for own in systems if own.weights for model in own.weights.published]


def _listed(system: System, weights: Weights, model: Published) -> PretrainedModel:
    config = system.sizes(**model.sizes)
    manifest, objective = weights.released(config, model.tracks, {})
    task = task_of(system, dataclasses.asdict(config), objective, manifest)
    place = (system.name, model.name, tuple(model.files), model.where)
    return PretrainedModel(*place, tuple(task.tracks), task.window, model.parameters, dict(model.sizes))


def from_pretrained(system: str | Source, source: Source | None = None, **sizes: Any) -> nnx.Module:
    """A model with released weights.

    Args:
      system: one of `jaxepi.list_systems()`; may be left out, the system is then recognised by the tensors' names.
      source: a file in an original format (torch, Keras `.h5`, safetensors, `.npz`, or gzipped), a folder as DeepCpG
        writes it, or a mapping from original names to arrays.
      **sizes: fields of the model's config. Sizes that the tensors tell need not be given; a contradiction is an error.

    Raises:
      JaxepiError: unknown system or field, an unreadable or unsafe file, or tensors that do not fit, each named.
    """
    if source is not None:
        return load_released(source, system, **sizes)[0]
    if isinstance(system, str) and not os.path.exists(path_of(system)):
        known = get_system(system).name
        raise JaxepiError(
            f"from_pretrained({known!r}) lacks the source: give a file of weights as second argument; "
            "jaxepi.list_pretrained() tells which ones are published."
        )
    return load_released(system, **sizes)[0]


def load_released(
    source: Source, system: str | None = None, window: int | None = None, **sizes: Any
) -> tuple[nnx.Module, System, Released]:
    """Like `from_pretrained`, with the system recognised by tensor names if not given, and what else the file tells.

    Args:
      source: as in `from_pretrained`.
      system: name of the system.
      window: bp, for systems whose models have a window; others ignore it.
      **sizes: as in `from_pretrained`.

    Raises:
      JaxepiError: as `from_pretrained`, or the file belongs to no known system.
    """
    found = get_system(system) if system is not None else _recognise(read_source(source, all_wrappers()))
    weights = _weights(found)
    if window is not None and "window" in (field.name for field in dataclasses.fields(found.sizes)):
        sizes = {**sizes, "window": window}
    if weights.open is not None:
        content, sizes = weights.open(source, sizes)
    else:
        content = _bare(weights, read_source(source, weights.wrappers))
    model = _build(found, weights, content, sizes)
    if content.tracks is None and weights.named is not None:
        names = weights.named(model.config, content)
        content = dataclasses.replace(content, tracks=None if names is None else tuple(names))
    return model, found, content


def export(model: nnx.Module, path: str | os.PathLike[str], tracks: Sequence[str] | None = None) -> None:
    """Writes a model's weights in the layout of the original program.

    Args:
      model: one of ours.
      path: `.pth`, `.pt` or `.pth.tar` (needs PyTorch), `.npz` or `.safetensors`; for DeepCpG and Basenji also Keras
        `.h5`.
      tracks: names of the output tracks, kept in the file for `jaxepi.load`; the original ignores them.

    What the tensors do not tell of the model's sizes is kept beside them.

    Raises:
      JaxepiError: a model without an original layout, another number of tracks than it has, an unknown suffix, or a
        file that cannot be written.
    """
    system, path = system_of_model(model), path_of(path)
    weights = _weights(system)
    tracks = None if tracks is None else _checked(tracks, model, system, weights)
    sizes = {name: getattr(model.config, name) for name in weights.noted}
    if weights.write is not None and weights.write(model, path, as_notes(tracks, sizes)):
        return
    arrays = to_original(model, weights.table(model.config))
    beside = None if weights.beside is None else weights.beside(model.config)
    write_source(path, arrays, weights.wrappers[0], tracks, sizes, beside)


def _checked(tracks: Sequence[str], model: nnx.Module, system: System, weights: Weights) -> list[str]:
    """Names of tracks, one for each of the model's."""
    manifest, objective = weights.released(model.config, None, {})
    own = task_of(system, dataclasses.asdict(model.config), objective, manifest).tracks
    names = [tracks] if isinstance(tracks, str) else list(tracks)
    if len(names) != len(own) or not all(isinstance(name, str) for name in names):
        raise JaxepiError(
            f"tracks has {len(names)} names, but the model predicts {len(own)} tracks: give a text for each, in order."
        )
    return names


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
    bare = strip_prefixes(names, (*weights.prefixes, *PREFIXES))
    return {name: weights.rename(b) if weights.rename else b for name, b in bare.items()}


def _build(system: System, weights: Weights, content: Released, sizes: dict[str, Any]) -> nnx.Module:
    fields = [field.name for field in dataclasses.fields(system.sizes)]
    for field in sizes:
        if field not in fields:
            raise JaxepiError(f"Unknown size {field!r} of {system.name}{did_you_mean(field, fields)}; it has {fields}.")
    told = weights.sizes(content.arrays, content.name)
    for field, value in told.items():
        asked = sizes.get(field, value)
        if not (_agree(asked, value) if field in weights.noted else asked == value):
            raise JaxepiError(f"{content.name} holds a model with {field} {value}, but {field}={asked} was asked for.")
    config = system.sizes(**{**told, **_noted(weights, content, told), **sizes})
    model = system.abstract(config)
    load_into(model, content.arrays, weights.table(config), content.name)
    return model


def _noted(weights: Weights, content: Released, told: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes that a file tells beside its tensors, and the order of those that its tensors tell without one.

    Raises:
      JaxepiError: they contradict what the tensors tell.
    """
    found: dict[str, Any] = {}
    for field in weights.noted:
        value, noted = told.get(field), content.sizes.get(field)
        if noted is not None and value is not None and not _agree(noted, value):
            raise JaxepiError(f"{content.name} says that its model has {field} {noted}, but its tensors say {value}.")
        if noted is not None:
            found[field] = noted
        elif isinstance(value, tuple) and not content.ordered:
            found[field] = tuple(sorted(value, reverse=True))
    return found


def _agree(one: Any, other: Any) -> bool:
    """Whether two values of a size are the same, lists and tuples also in another order."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return sorted(map(str, one)) == sorted(map(str, other))
    return one == other
