"""What a killed program left, read with the project's own readers: what is half, lost, unequal or stale.

half      a file under its final name that is not whole
stale     a file that only work in progress needs, left after the program has come to its end
unequal   a file of the end that is missing or differs from that of a run which nobody killed
lost      a step, site or fold that was reported as saved and had to be done again
"""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Names of what is being made, of files and of folders with all that they hold.
TEMPORARY = re.compile(r"^\.|\.partial$|\.tmp-|\.orbax-checkpoint-tmp|^deleted$")
_STEP = "_CHECKPOINT_METADATA"  # orbax writes it into the folder of every step
_IGNORED = {"tensorboard"}  # a file of its own for each start
# Numbers of a run that are not its result.
_OF_THE_CLOCK = {
    "seconds", "minutes", "time", "first_start", "starts", "samples_per_second", "samples_per_second_median",
    "peak_memory_bytes", "devices",
}  # fmt: skip
_FIRST_COUNT = re.compile(r"\|\s*(\d+)/\d+ \[")  # of a progress bar


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, and the folders of checkpoints in place of what they hold; nothing that is ignored."""
    for path in sorted(folder.iterdir()):
        if path.name in _IGNORED:
            continue
        if path.is_dir() and not is_step(path):
            yield from walk(path)
            if not any(path.iterdir()):
                yield path
        else:
            yield path


def is_step(path: Path) -> bool:
    """Whether this is the folder of a checkpoint under its final name."""
    return path.is_dir() and path.name.isdigit() and re.match("checkpoints$|best", path.parent.name) is not None


def is_temporary(place: Path) -> bool:
    """Whether what lies at a relative path is still being made."""
    return any(TEMPORARY.search(part) for part in place.parts)


def half(folder: Path, kills: int = 1) -> list[str]:
    """What lies below a folder under its final name and is not whole, a line each; `kills`: how often it was killed."""
    found, datasets = [], set()
    for path in walk(folder):
        place = path.relative_to(folder)
        if is_temporary(place):
            continue
        if ".tfrecord-" in path.name:
            datasets.add(path.parent)
        try:
            _read(path, kills)
        except Exception as problem:  # readers raise many kinds for files that are not whole
            found.append(f"{place}: {one_line(problem)}")
    for path in sorted(datasets):
        try:
            _read_dataset(path)
        except Exception as problem:
            found.append(f"{path.relative_to(folder)}: {one_line(problem)}")
    return found


def one_line(problem: Exception) -> str:
    """An exception in a line."""
    return f"{type(problem).__name__} {' '.join(str(problem).split())[:200]}"


def _read(path: Path, kills: int) -> None:
    """Reads a file to its end. Raises if it is not whole."""
    if path.is_dir():
        if is_step(path):
            read_checkpoint(path)
    elif path.name == "log.jsonl":
        lines = path.read_text().splitlines(keepends=True)
        cut = [line for line in lines if not _parses(line)]
        if len(cut) > kills:
            raise ValueError(f"{len(cut)} lines are cut, more than there were kills")
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            for name in arrays.files:
                arrays[name]
    elif path.suffix == ".h5":
        _read_hdf5(path)
    elif path.suffix in (".bw", ".bigwig"):
        _read_bigwig(path)
    elif path.suffix == ".png":
        if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
            raise ValueError("the picture does not end")
    elif path.suffix in (".html", ".svg"):
        if not path.read_text().rstrip().endswith(f"</{path.suffix[1:]}>"):
            raise ValueError("the page does not end")
    elif path.suffix in (".tsv", ".txt", ".fa", ".fai", ".csv", ".bed", ".gz"):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if not text.endswith(b"\n"):
            raise ValueError("the last line is cut")


def _parses(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    found: dict[str, np.ndarray] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(keep)
    return found


def _read_bigwig(path: Path) -> None:
    import pyBigWig

    with pyBigWig.open(str(path)) as file:
        for chrom in file.chroms():
            file.intervals(chrom)


def _read_dataset(path: Path) -> None:
    from jaxepi.data import open_dataset

    dataset = open_dataset(path)
    for name in dataset.splits:
        split = dataset.split(name)
        for number in range(len(split)):
            split[number]
        split.close()


def read_checkpoint(step: Path) -> dict[str, Any]:
    """The description of a checkpoint that is what was saved. Raises JaxepiError or an error of orbax if it is not."""
    from jaxepi.storage.checkpoint import Checkpoints

    checkpoints = Checkpoints(step.parent)
    try:
        checkpoints.check(int(step.name))
        meta = checkpoints.meta(int(step.name))
    finally:
        checkpoints.close()
    return meta


def inventory(folder: Path) -> dict[str, Any]:
    """Relative path -> what a file holds as far as it is a result, comparable between folders."""
    return {str(path.relative_to(folder)): _content(path, folder) for path in walk(folder)}


def compare(found: dict[str, Any], expected: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is stale and what is unequal in an inventory, beside that of a run which nobody killed."""
    stale = [f"{name} is left" for name in found if name not in expected]
    unequal = [f"{name} is missing" for name in expected if name not in found]
    unequal += [f"{name} differs" for name in expected if name in found and found[name] != expected[name]]
    return stale, unequal


def _content(path: Path, folder: Path) -> Any:
    if is_temporary(path.relative_to(folder)):
        return "left"  # and perhaps half
    if path.is_dir():
        if not is_step(path):
            return "folder"
        meta = read_checkpoint(path)
        return {name: meta[name] for name in ("step", "checksum", "checksums", "iterator", "fingerprint", "best")}
    if path.name == "lock" or path.suffix == ".html":  # who holds it; when it was made
        return "file"
    if path.name == "log.jsonl":
        return log_content(path)
    data = path.read_bytes().replace(str(folder).encode(), b"<folder>")
    if path.suffix == ".json":
        value = without_clock(json.loads(data))
        if path.name == "manifest.json":
            value.pop("checksum", None)  # of paths too; readers of the dataset compare it
        return value
    if path.suffix == ".h5":
        return {name: _digest(_bytes(np.asarray(array))) for name, array in _read_hdf5(path).items()}
    return _digest(data)


def _bytes(array: np.ndarray) -> bytes:
    """An array's, or of an array of texts, which holds only places in memory, these."""
    return repr(array.tolist()).encode() if array.dtype == object else array.tobytes()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def without_clock(value: Any) -> Any:
    """Nested values without times and rates."""
    if isinstance(value, dict):
        return {name: without_clock(item) for name, item in value.items() if name not in _OF_THE_CLOCK}
    return [without_clock(item) for item in value] if isinstance(value, list) else value


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log."""
    return [json.loads(line) for line in path.read_text().splitlines() if _parses(line)]


def log_content(path: Path) -> dict[str, Any]:
    """What a run's log says, of a step that was logged twice the last: losses, evaluations, and how it ended."""
    content: dict[str, Any] = {}
    for line in log_lines(path):
        fields = without_clock(line)
        if line["kind"] in ("train", "eval"):
            content[f"{line['kind']} {line['step']} {line.get('split', '')}"] = fields
        elif line["kind"] == "end":
            content["end"] = fields
    return content


def saved(folder: Path) -> dict[str, int]:
    """What a killed program has reported as saved: step of each run's newest checkpoint, or entries of a job."""
    found = {}
    for path in folder.rglob("progress.json"):
        told = json.loads(path.read_text())
        found[str(path.relative_to(folder))] = told.get("sites", told.get("calls"))
    for path in folder.rglob("checkpoints"):
        steps = [int(step.name) for step in path.iterdir() if is_step(step)]
        if steps:
            found[str((path.parent / "log.jsonl").relative_to(folder))] = max(steps)
    return found


def starts(folder: Path) -> dict[str, list[int]]:
    """Log of each run -> the steps at which its starts began."""
    logs = {str(path.relative_to(folder)): log_lines(path) for path in folder.rglob("log.jsonl")}
    return {name: [line["step"] for line in lines if line["kind"] == "start"] for name, lines in logs.items()}


def lost(before: dict[str, int], began: dict[str, list[int]], folder: Path, said: str) -> list[str]:
    """What was saved and is done again, or is gone.

    Args:
      before: of `saved`, before the last start of the program.
      began: of `starts`, then.
      folder: after that start.
      said: what this start printed.
    """
    found, after, now = [], starts(folder), saved(folder)
    first = _FIRST_COUNT.search(said)
    for name, count in before.items():
        if now.get(name, count) < count:
            found.append(f"{name}: {count} was saved, and then only {now[name]}")
        if name.endswith("log.jsonl"):
            again = [step for step in after.get(name, [])[len(began.get(name, [])) :] if step < count]
            if again:
                found.append(f"{name}: went on from step {again[0]}, though step {count} was saved")
        elif count and first is not None and not int(first[1]):
            found.append(f"{name}: began anew, though {count} entries were saved")
    return found
