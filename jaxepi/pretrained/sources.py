"""Reading released weights of any file format into named arrays, and writing them, without executing anything.

A file's format is told by its first bytes, not its suffix: torch (zip or older), Keras or other HDF5, safetensors,
NumPy `.npz`, and each of them gzipped.
"""

import collections
import dataclasses
import gzip
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.hdf5_files import KERAS_3, read_hdf5
from jaxepi.pretrained.limits import (
    check_claim,
    check_npz_headers,
    check_zip_checksums,
    claimed_bytes,
    most_bytes,
    zip_members,
)
from jaxepi.pretrained.safetensors_files import read_safetensors, safetensors_bytes
from jaxepi.pretrained.torch_files import as_array, read_torch, write_torch
from jaxepi.storage.atomic import replacing

# Ours, beside the original's entries, which its programs ignore.
TRACKS_KEY = "tracks"  # names of the output tracks
SIZES_KEY = "sizes"  # JSON: fields of the model's config that the tensors do not tell
GRAPH_KEY = "model_config"  # JSON of the graph in a Keras file
SUFFIXES = (".pth", ".pt", ".pth.tar", ".npz", ".safetensors")
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module")  # where no system's own key is there

Source = str | os.PathLike[str] | Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Released:
    """What a file of weights tells.

    Attributes:
      arrays: under the names of the file, in its order.
      tracks: names of the tracks, None if it names none.
      name: what errors call the file.
      sizes: fields of the model's config that an export wrote because the tensors do not tell them.
      ordered: whether the order is that in which a program listed its model's weights; a plain dict and safetensors
        have another or none.
      beside: what a torch file or a mapping holds beside the weights, as it is there.
      texts: what a Keras file says of its model, under `GRAPH_KEY`.
      unsure: fields of the model's config that were guessed -> the sentence that says so, for whoever depends on them.
    """

    arrays: dict[str, np.ndarray]
    tracks: tuple[str, ...] | None
    name: str
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ordered: bool = True
    beside: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unsure: Mapping[str, str] = dataclasses.field(default_factory=dict)


def path_of(source: Any, what: str = "weights", expected: str = "a path or a mapping of arrays") -> Path:
    """The path that a user gave, `~` expanded; `what` it is of and what was `expected` are for the sentence.

    Raises:
      JaxepiError: it is no path.
    """
    if isinstance(source, str | os.PathLike) and isinstance(text := os.fspath(source), str) and text:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    given = "an empty text" if source == "" else f"a {type(source).__name__}"
    raise JaxepiError(f"{given.capitalize()} was given as {what}, but {expected} was expected.")


def read_source(source: Source, wrappers: Sequence[str]) -> Released:
    """Arrays of a released file or of a mapping.

    Args:
      source: a file, or a mapping from original names to arrays (or to one under a key of `wrappers`).
      wrappers: keys under which an original program keeps the state dict beside other things.

    Raises:
      JaxepiError: no such file, an unknown format, a damaged file, one that claims to hold more than it can, or content
        that could execute code.
    """
    if isinstance(source, Mapping):
        return _unwrapped(source, wrappers, "the given mapping", ordered=isinstance(source, collections.OrderedDict))
    path = path_of(source)
    if not os.path.isfile(path):
        raise JaxepiError(f"There is no file {path} to read weights from.")
    try:
        return _read(path, path.open("rb"), wrappers, path.stat().st_size)
    except OSError as problem:
        raise JaxepiError(f"Cannot read {path} ({problem.strerror or problem}).") from problem


def _read(path: Path, stream: IO[bytes], wrappers: Sequence[str], size: int) -> Released:
    """Dispatches on the first bytes; `stream` is the file itself, of `size` bytes, or what was unpacked from it."""
    name = str(path)
    unpacked = isinstance(stream, io.BytesIO)
    with stream:
        head = stream.read(16)
        stream.seek(0)
        if head[:2] == b"\x1f\x8b":
            if unpacked:
                raise JaxepiError(f"{name} is gzipped more than once: unpack it with `gunzip` first.")
            return _read(path, _unzipped(stream, size, name), wrappers, size)
        if head[:8] == b"\x89HDF\r\n\x1a\n":
            arrays, notes = read_hdf5(stream, size, name, (TRACKS_KEY, SIZES_KEY, GRAPH_KEY))
            texts = {GRAPH_KEY: notes[GRAPH_KEY]} if GRAPH_KEY in notes else {}
            return dataclasses.replace(Released(arrays, *_noted(notes, name)), texts=texts)
        if head[:2] == b"PK":
            members = zip_members(stream, size, name)
            if "model.weights.h5" in members:
                raise JaxepiError(f"{name} {KERAS_3}")
            if members and all(member.endswith(".npy") for member in members):
                return _unwrapped(_read_npz(stream, name), wrappers, name, size)
            check_zip_checksums(stream, name)
        if len(head) > 8 and head[8:9] == b"{":
            arrays, texts = read_safetensors(stream.read(), name)
            return Released(arrays, *_noted(texts, name), ordered=False)
        if head[:2] == b"PK" or head[:1] == b"\x80":
            return _unwrapped(read_torch(stream if unpacked else path, name), wrappers, name, size)
    raise JaxepiError(f"{name} is no known kind of weights: expected torch, HDF5 (Keras), safetensors or .npz.")


def _unzipped(stream: IO[bytes], size: int, name: str) -> IO[bytes]:
    try:
        with gzip.open(stream) as file:
            content = file.read(most_bytes(size) + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise JaxepiError(f"{name} is a damaged gzip file ({problem}).") from problem
    check_claim(len(content), size, name)
    return io.BytesIO(content)


def _read_npz(stream: IO[bytes], name: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(stream) as archive:
            check_npz_headers(archive, name)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except JaxepiError:
        raise
    except (ValueError, SyntaxError) as problem:
        raise JaxepiError(f"{name} is not a readable .npz file ({problem}).") from problem
    except Exception as problem:  # a damaged archive fails in as many ways as there are bytes
        raise JaxepiError(f"{name} is truncated or damaged ({problem}).") from problem


def _noted(notes: Mapping[str, Any], name: str) -> tuple[tuple[str, ...] | None, str, dict[str, Any]]:
    """(tracks, name, sizes) out of what an export wrote as JSON (tracks also as a list of texts).

    Raises:
      JaxepiError: it is something else.
    """
    tracks, sizes = notes.get(TRACKS_KEY), notes.get(SIZES_KEY)
    try:
        tracks = json.loads(tracks) if isinstance(tracks, str | bytes) else tracks
        sizes = {} if sizes is None else dict(json.loads(str(sizes)))
        tracks = None if tracks is None else tuple(str(track) for track in tracks)
    except (TypeError, ValueError) as problem:
        raise JaxepiError(
            f"{name} has an entry {TRACKS_KEY!r} or {SIZES_KEY!r} that no export of this program wrote ({problem})."
        ) from problem
    return tracks, name, {key: tuple(value) if isinstance(value, list) else value for key, value in sizes.items()}


def _unwrapped(
    content: Any, wrappers: Sequence[str], name: str, size: int | None = None, ordered: bool = True
) -> Released:
    """The state dict inside what an original program saved, as arrays; `size` is that of a file in bytes."""
    if not isinstance(content, Mapping):
        raise JaxepiError(f"{name} holds a {type(content).__name__}, but a mapping from names to tensors was expected.")
    keys = (*wrappers, *WRAPPERS)
    inside = next((key for key in keys if isinstance(content.get(key), Mapping)), None)
    weights = content if inside is None else content[inside]
    ordered = ordered or isinstance(weights, collections.OrderedDict)
    tensors = {str(key): value for key, value in weights.items() if key not in (TRACKS_KEY, SIZES_KEY)}
    if size is not None:  # strides of 0 make terabytes of a byte
        shaped = [value for value in tensors.values() if hasattr(value, "shape") and hasattr(value, "dtype")]
        check_claim(claimed_bytes((value.shape, value.dtype.itemsize) for value in shaped), size, name)
    arrays = {key: as_array(value, f"{name}: {key}") for key, value in tensors.items()}
    strange = [key for key, array in arrays.items() if array is None]
    if strange:
        raise JaxepiError(
            f"{name}: {strange[0]!r} is no tensor, and no entry {' or '.join(map(repr, wrappers))} holds the weights; "
            f"the file has {', '.join(map(repr, list(content)[:8]))}."
        )
    ours = (inside, TRACKS_KEY, SIZES_KEY)
    beside = {} if inside is None else {str(key): value for key, value in content.items() if key not in ours}
    return Released(arrays, *_noted(content, name), ordered=ordered, beside=beside)


def as_notes(tracks: Sequence[str] | None, sizes: Mapping[str, Any]) -> dict[str, str]:
    """Names of tracks and sizes that tensors do not tell, as the texts that a file keeps."""
    told = {} if tracks is None else {TRACKS_KEY: json.dumps(list(tracks))}
    return told | ({SIZES_KEY: json.dumps(dict(sizes))} if sizes else {})


def write_source(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    wrapper: str,
    tracks: Sequence[str] | None,
    sizes: Mapping[str, Any] | None = None,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Writes arrays in the format of the path's suffix; the file appears under its name only when complete.

    Args:
      path: of the file.
      arrays: by original name, in the original order.
      wrapper: key under which torch files keep them.
      tracks: names of the tracks, or None.
      sizes: fields of the model's config that the tensors do not tell.
      beside: what the original keeps beside the weights, in a torch file.

    Raises:
      JaxepiError: unknown suffix, a package is missing, or the file cannot be written.
    """
    if not path.name.endswith(SUFFIXES):
        raise JaxepiError(f"{path} has no known suffix for weights: use one of {', '.join(SUFFIXES)}.")
    notes: dict[str, Any] = dict(as_notes(tracks, sizes or {}))
    try:
        with replacing(path) as partial, open(partial, "wb") as file:
            if path.suffix == ".safetensors":
                file.write(safetensors_bytes(arrays, notes, str(path)))
                return
            if tracks is not None:
                notes[TRACKS_KEY] = list(tracks)
            if path.suffix == ".npz":
                np.savez(file, **arrays, **{key: np.array(note) for key, note in notes.items()})
            else:
                write_torch(file, arrays, wrapper, {**(beside or {}), **notes})
    except OSError as problem:
        raise JaxepiError(f"Cannot write {path} ({problem.strerror or problem}).") from problem
