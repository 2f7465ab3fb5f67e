"""Files of released weights: what is changed in their bytes, their headers and their tensors, format by format."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_campaign import worlds
from benchmarks.fault_campaign.changes import EITHER, REFUSED, SAME, Case, Change, damage, on_bytes, on_file
from benchmarks.fault_campaign.prep import Door


def doors(enter: Callable[[Case], Any]) -> list[Door]:
    """A door for each system and format; `enter` gives what `jaxepi.load` makes of the file that is the first word."""
    made = []
    for system in worlds.SYSTEMS:
        for suffix in (".pth", ".npz", ".safetensors") + ((".h5",) if system == "deepcpg" else ()):
            file = f"{system}{suffix}"
            changes = damage(file, checked=suffix in (".pth", ".npz"), packed=True)
            if suffix not in (".pth", ".npz"):  # the format tells how long it is, but has no checksum
                changes = [Change(c.name, REFUSED, c.apply) if c.name.endswith(": cut") else c for c in changes]
            edits = {".npz": _npz_edits, ".pth": _torch_edits, ".h5": _hdf5_edits, ".safetensors": _safetensors_edits}[
                suffix
            ]
            door = Door(
                "weights",
                file,
                [(f"weights/{system}/{file}", file)],
                f"{{folder}}/{file}",
                enter,
                [*changes, *edits(file)],
            )
            made.append(door)
    return made


def _safetensors_edits(file: str) -> list[Change]:
    def header(what: str, change: Callable[[dict[str, Any]], object]) -> Change:
        def edit(data: bytes, random: np.random.Generator) -> bytes:
            length = int.from_bytes(data[:8], "little")
            told = json.loads(data[8 : 8 + length])
            change(told)
            text = json.dumps(told).encode()
            return len(text).to_bytes(8, "little") + text + data[8 + length :]

        return on_bytes(file, what, REFUSED, edit)

    def first(**new: Any) -> Callable[[dict[str, Any]], object]:
        return lambda told: told[next(name for name in told if name != "__metadata__")].update(new)

    return [
        on_bytes(file, "a huge header", REFUSED, lambda data, random: (2**62).to_bytes(8, "little") + data[8:]),
        header("float8", first(dtype="F8_E4M3")),
        header("no type", first(dtype=7)),
        header("negative shape", first(shape=[-1, 4])),
        header("a shape too large", first(shape=[9**9])),
        header("places beyond", first(data_offsets=[0, 9**9])),
        header("strange notes", lambda told: told.update(__metadata__=[1])),
        header("sizes of a list", lambda told: told.update(__metadata__={"sizes": "[1]"})),
    ]


_ARRAYS: dict[str, tuple[str, Callable[[np.ndarray], Any]]] = {
    "NaN": (REFUSED, lambda array: array * np.nan),
    "infinite": (REFUSED, lambda array: array + np.inf),
    "complex": (REFUSED, lambda array: array.astype(complex)),
    "texts": (REFUSED, lambda array: array.astype(str)),
    "a row less": (REFUSED, lambda array: array[:-1]),
    "an axis more": (REFUSED, lambda array: array[..., None]),
    "flat": (REFUSED, lambda array: array.reshape(-1, 1, 1, 1, 1)),
    "no rows": (REFUSED, lambda array: array[:0]),
    "a scalar": (REFUSED, lambda array: array.reshape(-1)[0] if array.ndim else np.ones(3, np.float32)),
    "float64": (SAME, lambda array: array.astype(np.float64)),
}


def _tensor_edits(
    file: str,
    edited: Callable[[Any, Callable[[dict[str, Any], np.random.Generator], object], np.random.Generator], None],
) -> list[Change]:
    """Changes of named tensors; `edited(path, change, random)` reads, changes and writes them."""

    def weights_of(tensors: Mapping[str, Any]) -> list[str]:
        return [
            name for name, value in tensors.items() if getattr(value, "dtype", None) == np.float32 and value.size > 1
        ]

    def change(what: str, outcome: str, edit: Callable[[dict[str, Any], str], object]) -> Change:
        def apply(path: Path, random: np.random.Generator) -> str:
            chosen = ""

            def one(tensors: dict[str, Any], random: np.random.Generator) -> None:
                nonlocal chosen
                known = weights_of(tensors)
                chosen = known[int(random.integers(len(known)))]
                edit(tensors, chosen)

            edited(path, one, random)
            return chosen

        return on_file(file, what, outcome, apply)

    def prefixed(tensors: dict[str, Any], name: str) -> None:
        names = [own for own, value in tensors.items() if hasattr(value, "dtype") and value.dtype.kind == "f"]
        tensors.update({f"module.{own}": tensors.pop(own) for own in names})

    return [
        change("a tensor gone", REFUSED, lambda tensors, name: tensors.pop(name)),
        change("a tensor renamed", REFUSED, lambda tensors, name: tensors.update({f"{name}x": tensors.pop(name)})),
        change("a tensor more", REFUSED, lambda tensors, name: tensors.update(foreign=np.ones(3, np.float32))),
        change("a prefix", SAME, prefixed),
        *(
            change(
                f"a tensor {what}", outcome, lambda tensors, name, new=new: tensors.update({name: new(tensors[name])})
            )
            for what, (outcome, new) in _ARRAYS.items()
        ),
    ]


def _npz_edits(file: str) -> list[Change]:
    def edited(path: Path, change: Callable[..., object], random: np.random.Generator) -> None:
        with np.load(path) as archive:
            tensors = {name: archive[name] for name in archive.files}
        change(tensors, random)
        with open(path, "wb") as out:
            np.savez(out, **tensors)

    def member(data: bytes, random: np.random.Generator, content: bytes) -> bytes:
        """The archive with one member replaced."""
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for number, name in enumerate(old.namelist()):
                new.writestr(name, content if number == 0 else old.read(name))
        return out.getvalue()

    huge = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }".ljust(117)
        + b"\n"
    )
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], object), allow_pickle=True)
    return [
        *_tensor_edits(file, edited),
        on_bytes(file, "an array of terabytes", REFUSED, lambda data, random: member(data, random, huge)),
        on_bytes(file, "pickled objects", REFUSED, lambda data, random: member(data, random, pickled.getvalue())),
        on_bytes(file, "a member is no array", REFUSED, lambda data, random: member(data, random, b"hello")),
        on_bytes(file, "a zip of texts", REFUSED, lambda data, random: _zip({"a.txt": b"hello"})),
        on_bytes(file, "an empty zip", REFUSED, lambda data, random: _zip({})),
        on_bytes(
            file, "of Keras 3", REFUSED, lambda data, random: _zip({"model.weights.h5": b"x", "config.json": b"{}"})
        ),
        on_bytes(file, "zipped garbage inside", REFUSED, lambda data, random: gzip.compress(random.bytes(200))),
    ]


def _zip(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _torch_edits(file: str) -> list[Change]:
    import torch

    def edited(path: Path, change: Callable[..., object], random: np.random.Generator) -> None:
        content = torch.load(path, weights_only=True)
        wrapper = next(key for key, value in content.items() if isinstance(value, dict))
        tensors = {name: value.numpy() for name, value in content[wrapper].items()}
        change(tensors, random)
        kept = {
            n: torch.from_numpy(np.array(v)) if np.asarray(v).dtype.kind in "fciub" else v for n, v in tensors.items()
        }
        torch.save(content | {wrapper: kept}, path)

    def tensor(what: str, make: Callable[[Any], Any], outcome: str = REFUSED) -> Change:
        def apply(path: Path, random: np.random.Generator) -> None:
            content = torch.load(path, weights_only=True)
            wrapper = next(key for key, value in content.items() if isinstance(value, dict))
            name = next(n for n, value in content[wrapper].items() if value.ndim > 1)
            content[wrapper][name] = make(content[wrapper][name])
            torch.save(content, path)

        return on_file(file, f"a tensor {what}", outcome, apply)

    def whole(what: str, make: Callable[[dict[str, Any]], Any], outcome: str = REFUSED) -> Change:
        def apply(path: Path, random: np.random.Generator) -> None:
            content = make(torch.load(path, weights_only=True))
            torch.save(content, path)

        return on_file(file, what, outcome, apply)

    def script(path: Path, random: np.random.Generator) -> None:
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), str(path))

    def state(content: dict[str, Any]) -> dict[str, Any]:
        return next(value for value in content.values() if isinstance(value, dict))

    return [
        *_tensor_edits(file, edited),
        tensor("sparse", lambda value: value.to_sparse()),
        tensor("quantised", lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)),
        tensor("of float8", lambda value: value.to(torch.float8_e4m3fn)),
        tensor("without data", lambda value: value.to("meta")),
        tensor("strided over one value", lambda value: torch.zeros(1).expand(10**6, 10**6)),
        tensor("a number", lambda value: 3.0),
        tensor("a parameter", lambda value: torch.nn.Parameter(value), SAME),
        tensor("transposed in memory", lambda value: value.transpose(0, 1).contiguous().transpose(0, 1), SAME),
        whole("a list", lambda content: list(content)),
        whole("a tensor", lambda content: torch.zeros(3)),
        whole("an unknown wrapper", lambda content: {"mine": state(content)}),
        whole("a wrapper more", lambda content: {"model": {"state_dict": state(content)}}, EITHER),
        whole("a path pickled", lambda content: content | {"where": Path("x")}),
        whole("a whole module", lambda content: torch.nn.Linear(2, 2)),
        whole("empty", lambda content: {}),
        on_file(file, "of TorchScript", REFUSED, script),
    ]


def _hdf5_edits(file: str) -> list[Change]:
    import h5py

    def edit(what: str, outcome: str, change: Callable[[Any, str], object]) -> Change:
        def apply(path: Path, random: np.random.Generator) -> str:
            with h5py.File(path, "r+") as content:
                names: list[str] = []
                content.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
                chosen = names[int(random.integers(len(names)))]
                change(content, chosen)
            return chosen

        return on_file(file, what, outcome, apply)

    def replaced(content: Any, name: str, value: Any) -> None:
        del content[name]
        content[name] = value

    def attribute(content: Any, name: str, value: Any) -> None:
        content["model_weights"].attrs[name] = value

    def root(name: str, value: Any) -> Callable[[Any, str], object]:
        return lambda content, _: content.attrs.__setitem__(name, value)

    def tensor(change: Callable[[np.ndarray], Any]) -> Callable[[Any, str], object]:
        return lambda content, name: replaced(content, name, _storable(change(content[name][()])))

    def folder(content: Any, name: str) -> None:
        del content[name]
        content.create_group(name)

    def keras_3(content: Any, name: str) -> None:
        del content["model_weights"]
        content["layers/dense/vars/0"] = np.ones((3, 2), np.float32)

    return [
        edit("of Keras 3", REFUSED, keras_3),
        edit("a tensor gone", REFUSED, lambda content, name: content.__delitem__(name)),
        edit("a tensor more", EITHER, lambda content, _: content.__setitem__("model_weights/more", 1.0)),
        edit("a tensor is a folder", REFUSED, folder),
        edit(
            "a tensor elsewhere", REFUSED, lambda content, name: replaced(content, name, h5py.ExternalLink("x", "/a"))
        ),
        edit("a tensor is a link", REFUSED, lambda content, name: replaced(content, name, h5py.SoftLink("/nowhere"))),
        edit("no layers", EITHER, lambda content, _: content["model_weights"].attrs.__delitem__("layer_names")),
        edit("unknown layers", REFUSED, lambda content, _: attribute(content, "layer_names", np.array([b"a", b"b"]))),
        edit("layers of a number", REFUSED, lambda content, _: attribute(content, "layer_names", 7)),
        edit("no description", EITHER, lambda content, _: content.attrs.pop("model_config", None)),
        edit("a broken description", REFUSED, root("model_config", b'{"a"')),
        edit("a description of a list", REFUSED, root("model_config", b"[1]")),
        edit("a description of a number", REFUSED, root("model_config", 7)),
        *(edit(f"a tensor {what}", outcome, tensor(new)) for what, (outcome, new) in _ARRAYS.items()),
    ]


def _storable(value: np.ndarray) -> np.ndarray:
    return value.astype("S") if getattr(value, "dtype", np.dtype("f4")).kind == "U" else value
