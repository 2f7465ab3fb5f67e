"""Reading released weights of any file format into named arrays, and writing them, without executing anything.

A file's format is told by its first bytes, not its suffix: torch (zip or older), Keras or other HDF5, safetensors,
NumPy `.npz`, and each of them gzipped.
"""

import dataclasses
import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.hdf5_files import read_hdf5
from jaxepi.pretrained.torch_files import as_array, read_torch, write_torch
from jaxepi.storage.atomic import replacing

TRACKS_KEY = "tracks"  # ours, beside the original's entries: names of the output tracks
SUFFIXES = (".pth", ".pt", ".npz", ".safetensors")

Source = str | os.PathLike[str] | Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Released:
    """Arrays under the names of the file, in its order, and the names of the tracks if the file tells them."""

    arrays: dict[str, np.ndarray]
    tracks: tuple[str, ...] | None
    name: str  # what errors call it


def read_source(source: Source, wrappers: Sequence[str]) -> Released:
    """Arrays of a released file or of a mapping.

    Args:
      source: a file, or a mapping from original names to arrays (or to one under a key of `wrappers`).
      wrappers: keys under which an original program keeps the state dict beside other things.

    Raises:
      JaxepiError: no such file, an unknown format, a damaged file, or content that could execute code.
    """
    if isinstance(source, Mapping):
        return _unwrapped(source, wrappers, "the given mapping")
    path = Path(source)
    if not path.is_file():
        raise JaxepiError(f"There is no file {path} to read weights from.")
    return _read(path, path.open("rb"), wrappers)


def _read(path: Path, stream: IO[bytes], wrappers: Sequence[str]) -> Released:
    """Dispatches on the first bytes; `stream` is the file itself or what was unpacked from it."""
    name = str(path)
    with stream:
        head = stream.read(16)
        stream.seek(0)
        if head[:2] == b"\x1f\x8b":
            return _read(path, _unzipped(stream, name), wrappers)
        if head[:8] == b"\x89HDF\r\n\x1a\n":
            return Released(read_hdf5(stream, name), None, name)
        if head[:4] == b"PK\x03\x04" and _is_npz(stream, name):
            return _unwrapped(_read_npz(stream, name), wrappers, name)
        if len(head) > 8 and head[8:9] == b"{":
            return _read_safetensors(stream, name)
        if head[:2] == b"PK" or head[:1] == b"\x80":
            unpacked = isinstance(stream, io.BytesIO)
            return _unwrapped(read_torch(stream if unpacked else path, name), wrappers, name)
    raise JaxepiError(f"{name} is no known kind of weights: expected torch, HDF5 (Keras), safetensors or .npz.")


def _unzipped(stream: IO[bytes], name: str) -> IO[bytes]:
    try:
        return io.BytesIO(gzip.decompress(stream.read()))
    except (OSError, EOFError, zlib.error) as problem:
        raise JaxepiError(f"{name} is a damaged gzip file ({problem}).") from problem


def _is_npz(stream: IO[bytes], name: str) -> bool:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.namelist()
    except zipfile.BadZipFile as problem:
        raise JaxepiError(f"{name} is truncated or damaged ({problem}).") from problem
    stream.seek(0)
    return bool(members) and all(member.endswith(".npy") for member in members)


def _read_npz(stream: IO[bytes], name: str) -> dict[str, np.ndarray]:
    try:
        with np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except ValueError as problem:
        if "allow_pickle" in str(problem):
            raise JaxepiError(f"{name} was refused: it holds pickled objects, which may execute code.") from None
        raise JaxepiError(f"{name} is not a readable .npz file ({problem}).") from problem
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise JaxepiError(f"{name} is truncated or damaged ({problem}).") from problem


def _read_safetensors(stream: IO[bytes], name: str) -> Released:
    safetensors = _safetensors(name)
    data = stream.read()
    try:
        arrays = safetensors.load(data)
        (length,) = struct.unpack("<Q", data[:8])
        notes = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        tracks = json.loads(notes[TRACKS_KEY]) if TRACKS_KEY in notes else None
    except Exception as problem:  # the library has its own exception type, of no common base
        raise JaxepiError(f"{name} is not a readable safetensors file ({problem}).") from problem
    return Released(arrays, None if tracks is None else tuple(str(track) for track in tracks), name)


def _safetensors(name: str) -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise JaxepiError(f"{name} needs safetensors: run `pip install 'jaxepi[convert]'`.") from None
    return safetensors.numpy


def _unwrapped(content: Any, wrappers: Sequence[str], name: str) -> Released:
    """The state dict inside what an original program saved, as arrays."""
    if not isinstance(content, Mapping):
        raise JaxepiError(f"{name} holds a {type(content).__name__}, but a mapping from names to tensors was expected.")
    weights = next((content[key] for key in wrappers if isinstance(content.get(key), Mapping)), content)
    tracks = content.get(TRACKS_KEY)
    arrays = {str(key): as_array(value) for key, value in weights.items() if key != TRACKS_KEY}
    strange = [key for key, array in arrays.items() if array is None]
    if strange:
        raise JaxepiError(
            f"{name}: {strange[0]!r} is no tensor, and no entry {' or '.join(map(repr, wrappers))} holds the weights; "
            f"the file has {', '.join(map(repr, list(content)[:8]))}."
        )
    return Released(arrays, None if tracks is None else tuple(str(track) for track in tracks), name)


def write_source(path: Path, arrays: Mapping[str, np.ndarray], wrapper: str, tracks: Sequence[str] | None) -> None:
    """Writes arrays in the format of the path's suffix; the file appears under its name only when complete.

    Raises:
      JaxepiError: unknown suffix, a package is missing, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise JaxepiError(f"{path} has no known suffix for weights: use one of {', '.join(SUFFIXES)}.")
    try:
        with replacing(path) as partial, open(partial, "wb") as file:
            if path.suffix == ".npz":
                np.savez(file, **arrays, **({} if tracks is None else {TRACKS_KEY: np.array(tracks)}))
            elif path.suffix == ".safetensors":
                notes = None if tracks is None else {TRACKS_KEY: json.dumps(list(tracks))}
                file.write(_safetensors(str(path)).save(dict(arrays), metadata=notes))
            else:
                write_torch(file, arrays, wrapper, {} if tracks is None else {TRACKS_KEY: list(tracks)})
    except OSError as problem:
        raise JaxepiError(f"Cannot write {path} ({problem.strerror or problem}).") from problem
