"""HDF5 weight files (Keras), in the order in which the model's layers own their weights."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.limits import check_claim
from jaxepi.storage.atomic import replacing
from jaxepi.storage.job import require_h5py

Layers = Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]

# what follows a file's name
KERAS_3 = (
    "is in the format of Keras 3, which keeps no names of layers' weights: load it with Keras and save it once more "
    "with model.save('model.h5')."
)


def read_hdf5(
    stream: IO[bytes], size: int, name: str, wanted: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by dataset path, for example "model_weights/conv1d/conv1d/kernel:0", and the texts `wanted` of the root.

    A Keras file (attributes `layer_names` and `weight_names`, at the root or under `model_weights`) gives only its
    weights, in layer order, because the numbers in layer names are no order; any other HDF5 file gives every dataset.

    Args:
      stream: the file.
      size: bytes on disk, which bound what it may claim to hold.
      name: what errors call it.
      wanted: names of attributes of the root.

    Raises:
      JaxepiError: h5py is not installed, the file is damaged, of Keras 3, or claims more than it can hold, or data lie
        outside it.
    """
    h5py = require_h5py(what=name)
    try:
        with h5py.File(stream, "r") as file:
            paths = _keras_paths(file) or _all_paths(h5py, file, "", name)
            if any("/vars/" in path for path in paths):
                raise JaxepiError(f"{name} {KERAS_3}")
            datasets = {path: _dataset(h5py, file, path, name) for path in paths}
            check_claim(sum(dataset.size * dataset.dtype.itemsize for dataset in datasets.values()), size, name)
            notes = {key: _text(file.attrs[key]) for key in wanted if key in file.attrs}
            return {path: np.asarray(dataset[()]) for path, dataset in datasets.items()}, notes
    except JaxepiError:
        raise
    except Exception as problem:  # a damaged file fails in as many ways as there are bytes
        raise JaxepiError(f"{name} is not a readable HDF5 file ({problem}).") from problem


def _keras_paths(file: Any) -> list[str]:
    """Dataset paths in layer order; empty if the file does not have Keras's attributes."""
    root = "model_weights/" if "model_weights" in file else ""
    group = file[root] if root else file
    layers = _listed(group, "layer_names")
    return [f"{root}{layer}/{weight}" for layer in layers for weight in _listed(group[layer], "weight_names")]


def _listed(group: Any, name: str) -> list[str]:
    """The texts of an attribute, which Keras splits into `name0`, `name1`, ... where it is too large for one."""
    if name in group.attrs:
        return [_text(text) for text in group.attrs[name]]
    parts = itertools.takewhile(lambda part: part in group.attrs, (f"{name}{i}" for i in itertools.count()))
    return [_text(text) for part in parts for text in group.attrs[part]]


def _all_paths(h5py: Any, group: Any, prefix: str, name: str) -> list[str]:
    paths = []
    for key in group:
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise JaxepiError(f"{name} was refused: {prefix}{key} is a link, and weights must lie in the file itself.")
        paths += (
            _all_paths(h5py, group[key], f"{prefix}{key}/", name)
            if isinstance(group[key], h5py.Group)
            else [f"{prefix}{key}"]
        )
    return paths


def _dataset(h5py: Any, file: Any, path: str, name: str) -> Any:
    """One dataset, unread; refuses what HDF5 would fetch from other files on the disk."""
    parts = path.split("/")
    links = [file.get("/".join(parts[: i + 1]), getlink=True) for i in range(len(parts))]
    dataset = file[path] if all(isinstance(link, h5py.HardLink) for link in links) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise JaxepiError(f"{name} was refused: {path} does not lie in the file itself.")
    if dataset.dtype.kind not in "fiub":
        raise JaxepiError(f"{name}: {path} holds {dataset.dtype} where numbers were expected.")
    return dataset


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def write_keras(path: Path, layers: Layers, attributes: Mapping[str, str]) -> None:
    """Writes a Keras model file; it appears under its name only when complete.

    Args:
      path: of the file.
      layers: (layer name, [(weight name, array)]) in the model's order; layers without weights are listed too.
      attributes: texts at the root, such as `model_config`.

    Raises:
      JaxepiError: h5py is not installed, or the file cannot be written.
    """
    h5py = require_h5py(what=str(path))
    try:
        with replacing(path) as partial, h5py.File(partial, "w", locking=False) as file:
            file.attrs.update({name: text.encode() for name, text in attributes.items()})
            root = file.create_group("model_weights")
            root.attrs["layer_names"] = np.array([name.encode() for name, _ in layers])
            for name, weights in layers:
                group = root.require_group(name)
                group.attrs["weight_names"] = np.array([weight.encode() for weight, _ in weights], dtype="S")
                for weight, array in weights:
                    group.create_dataset(weight, data=array)
    except OSError as problem:
        raise JaxepiError(f"Cannot write {path} ({problem.strerror or problem}).") from problem
