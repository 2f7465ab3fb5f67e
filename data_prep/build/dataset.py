"""Builds a dataset of any recipe, all or nothing: beside its place first, then renamed; the manifest comes last."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.folder import BuildFolder, remove_stale
from data_prep.build.quiet import quiet_tensorflow
from data_prep.build.recipe import Block, BlockResult, Recipe, Record, Tally
from data_prep.build.replace import MANIFEST, check_replaceable
from data_prep.build.runner import available_processes, block_map
from jaxepi.errors import JaxepiError

RECORD_INDEX = "record_index.npz"
_WHOLE_FILE_DIGEST = 64 << 20
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 20


@dataclass(frozen=True)
class Execution:
    """How a build runs; nothing of this changes the records."""

    processes: int = 0  # 0 = one per available core
    beam_runner: str | None = None  # None = processes of this machine
    beam_options: tuple[str, ...] = ()  # as on Beam's own command line, such as --region=europe-west1
    overwrite: bool = False
    progress: bool = True


@dataclass(frozen=True)
class Built:
    """A dataset: where it lies, its manifest, and whether this call wrote it."""

    path: Path
    manifest: dict[str, Any]
    written: bool


# Writes all records of a recipe below a folder: (recipe, its blocks, folder, execution) -> folder of the dataset, and
# shards and counts of each split.
Writer = Callable[[Recipe, dict[str, list[Block]], Path, Execution], tuple[Path, dict[str, int], dict[str, Tally]]]


def describe_inputs(inputs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Role, path, size and digest of each input file (role -> path). Large files are digested by samples."""
    return [
        {"role": role, "path": str(path), "bytes": path.stat().st_size, "digest": file_digest(path)}
        for role, path in inputs.items()
    ]


def file_digest(path: Path) -> str:
    """BLAKE2 digest of a file: all of it up to 64 MiB, else its size and 64 evenly spaced MiB, ends included.

    Raises:
        JaxepiError: it cannot be read, or is none.
    """
    try:
        return _digest(path)
    except OSError as error:
        raise JaxepiError(f"{path} cannot be read ({error.strerror}): a file was expected") from error


def _digest(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= _WHOLE_FILE_DIGEST:
            digest.update(file.read())
        else:
            for at in np.linspace(0, size - _SAMPLE_BYTES, _SAMPLES, dtype=np.int64):
                file.seek(int(at))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def existing(out: Path, kind: str, arguments: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Built | None:
    """The dataset at `out` if it was made from the same arguments and inputs, None if nothing is there.

    Raises:
        JaxepiError: if something else is there; the sentence names the first difference.
    """
    if not out.exists():
        return None
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        difference = _difference(manifest, kind, arguments, inputs)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        if out.is_dir() and not any(out.iterdir()):
            return None
        raise JaxepiError(f"{out} exists and is no dataset of data_prep: choose another --out") from error
    if difference:
        raise JaxepiError(f"{out} was made with {difference}: choose another --out, or replace it with --overwrite")
    remove_stale(out)
    return Built(out, manifest, written=False)


def _difference(
    manifest: Mapping[str, Any], kind: str, arguments: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]
) -> str | None:
    found = manifest.get("kind", manifest.get("system"))
    if found != kind:
        return f"the kind {found}, not {kind}"
    old = manifest.get("arguments", {})
    for name in [*arguments, *(n for n in old if n not in arguments)]:
        if old.get(name) != json.loads(json.dumps(arguments.get(name))):
            return f"--{name.replace('_', '-')} {_shown(old.get(name))}, not {_shown(arguments.get(name))}"
    digests = {entry["role"]: entry["digest"] for entry in manifest.get("inputs", [])}
    for entry in inputs:
        if digests.get(entry["role"]) != entry["digest"]:
            return f"another content of {entry['path']} ({entry['role']})"
    if len(digests) != len(inputs):
        return f"{len(digests)} input files, not {len(inputs)}"
    return None


def _shown(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def build(
    recipe: Recipe,
    out: Path,
    arguments: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    execution: Execution = Execution(),
    write: Writer | None = None,
) -> Built:
    """Makes the records of a recipe and puts the dataset at `out`, whole or not at all.

    Args:
        recipe: what to make.
        out: folder of the dataset.
        arguments: what decides the content, for the manifest; the same arguments and inputs give the same dataset.
        inputs: from `describe_inputs`.
        execution: how to run.
        write: writes another layout than that of TFDS.

    Raises:
        JaxepiError: on wrong input, a full disk, or without TensorFlow; nothing is left at `out`.
    """
    work = recipe.blocks()
    started = time.monotonic()
    with BuildFolder(out) as place:
        try:
            folder, shards, tallies = (write or _write)(recipe, work, place.folder, execution)
            if write is None:
                index_shards(folder)
            manifest = _manifest(recipe, arguments, inputs, tallies, shards)
            _seal(folder, manifest)
            if execution.overwrite:
                check_replaceable(out, inputs)
            place.publish(folder, replace=execution.overwrite)
        except OSError as error:
            raise JaxepiError(
                f"writing {out} failed ({error.strerror or error}) and nothing was left behind: "
                "check the free space and the permissions, or choose another --out"
            ) from error
    seconds = time.monotonic() - started
    return Built(out, manifest | {"seconds": round(seconds, 1)}, written=True)


def _write(
    recipe: Recipe, work: dict[str, list[Block]], folder: Path, execution: Execution
) -> tuple[Path, dict[str, int], dict[str, Tally]]:
    if execution.beam_runner is not None:
        return _write_with_beam(recipe, work, folder, execution)
    tallies = {split: Tally() for split in work}
    processes = execution.processes or available_processes()
    total = sum(block.size for blocks in work.values() for block in blocks)
    with (
        block_map(recipe, processes) as mapped,
        progress_bar(recipe.name, recipe.unit, total, execution.progress) as bar,
    ):
        # The workers are busy while TensorFlow is loaded here.
        records = {
            split: _records(split, mapped(blocks), blocks, tallies[split], bar) for split, blocks in work.items()
        }
        with quiet_tensorflow():
            from data_prep.build import builder

            splits = {
                split: builder.spread_keys(own, sum(block.size for block in work[split]))
                for split, own in records.items()
            }
            made, shards = builder.write_splits(recipe, splits, folder)
    return made, shards, tallies


def _write_with_beam(
    recipe: Recipe, work: dict[str, list[Block]], folder: Path, execution: Execution
) -> tuple[Path, dict[str, int], dict[str, Tally]]:
    files = {split: folder / f"tally-{split}.json" for split in work}
    with quiet_tensorflow():
        from data_prep.build import builder

        options = builder.beam_options(execution.beam_options)
        splits = {split: builder.beam_split(recipe, blocks, files[split]) for split, blocks in work.items()}
        try:
            made, shards = builder.write_splits(recipe, splits, folder, execution.beam_runner, options)
        except JaxepiError as error:
            raise JaxepiError(re.sub(r" \[while running .*\]$", "", str(error))) from error
        except (AssertionError, ValueError) as error:
            empty = [s for s, f in files.items() if f.exists() and not builder.read_tally(f).sums.get("records")]
            if empty:
                raise JaxepiError(_no_record(empty[0])) from error
            raise
    return made, shards, {split: builder.read_tally(file) for split, file in files.items()}


def _records(
    split: str, results: Iterator[BlockResult], blocks: Sequence[Block], tally: Tally, bar: Any
) -> Iterator[tuple[int, Record]]:
    for block, result in zip(blocks, results, strict=True):
        tally.merge(result.tally)
        yield from result.records
        bar.update(block.size)
    if not tally.sums.get("records"):
        raise JaxepiError(_no_record(split))


def _no_record(split: str) -> str:
    return f"split {split!r} is empty: none of its candidates passes the filters, so relax them"


def progress_bar(name: str, unit: str, total: int, shown: bool) -> Any:
    """A bar of work done, of the time left, and of how fast it goes."""
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {unit_text}, {rate_fmt}, {remaining} left"
    return tqdm(
        total=total,
        desc=name,
        unit=f" {unit}",
        bar_format=form.replace("{unit_text}", unit),
        disable=not shown,
        mininterval=0.5,
    )


def index_shards(folder: Path) -> None:
    """Writes `record_index.npz`: for each shard file the byte offsets (uint64) at which its records start."""
    from jaxepi.data.tfrecord import index_shard

    offsets = {path.name: index_shard(path) for path in sorted(folder.glob("*.tfrecord-*"))}
    np.savez(folder / RECORD_INDEX, **offsets)


def _seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes manifest.json with its checksum."""
    from jaxepi.data.manifest import sealed

    (folder / MANIFEST).write_text(sealed(manifest))


def _manifest(
    recipe: Recipe,
    arguments: Mapping[str, Any],
    inputs: Iterable[Mapping[str, Any]],
    tallies: Mapping[str, Tally],
    shards: Mapping[str, int],
) -> dict[str, Any]:
    from jaxepi.data.fingerprint import fingerprint_of

    own = recipe.manifest(tallies)
    for split, count in shards.items():
        own["splits"][split]["shards"] = count
    head = {
        "kind": recipe.name,
        "system": recipe.name,  # for readers of earlier versions
        "jaxepi_version": _version(),
        "arguments": json.loads(json.dumps(arguments)),
        "inputs": list(inputs),
    }
    return {**head, "fingerprint": fingerprint_of({**head, **own}), **own}


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("jaxepi")
    except metadata.PackageNotFoundError:
        return "unknown"


def require_space(out: Path, needed: int) -> None:
    """Raises JaxepiError if the disk of `out` has less than `needed` bytes free."""
    parent = next(p for p in [out.absolute(), *out.absolute().parents] if p.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise JaxepiError(
            f"{parent} has {free / 1e9:.1f} GB free and the dataset needs about {needed / 1e9:.1f} GB: "
            "choose another --out, or prepare less"
        )
