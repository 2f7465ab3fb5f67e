"""Reads the dataset folder of the original Basenji programs as it is: ZLIB-compressed TFRecords and statistics.json.

    statistics.json   sizes: seq_length, target_length, pool_width, crop_bp, num_targets, seq_1hot, <split>_seqs
    targets.txt       one line a track: identifier, description, perhaps strand_pair
    sequences.bed     optional: the interval of each record, splits one after the other
    tfrecords/        <split>-<i>.tfr, each one ZLIB stream of framed records

A ZLIB stream gives its records only from its start, while training wants any record at any time: each shard is unpacked
once, into a TFRecord file of records that are compressed one by one, which takes about the disk space of the original.
(Raw arrays would take several times as much, and shards kept in memory, gigabytes each, would be inflated for almost
every record of a shuffled epoch.) These files lie in the user's cache folder under the fingerprint of the dataset, and
only they are read afterwards: memory holds the record that is read and 8 bytes for each other.
"""

import concurrent.futures
import csv
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.message import DecodeError
from tqdm import tqdm

from jaxepi.data.dataset import Dataset, Record, Split
from jaxepi.data.tfrecord import RecordFile, frame, index_shard, stream_records
from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import read_lines
from jaxepi.storage.atomic import replacing
from jaxepi.storage.lock import hold

KIND = "coverage"
STATISTICS = "statistics.json"
TARGETS = "targets.txt"
SEQUENCES = "sequences.bed"
SHARDS = "tfrecords"
_SHARD_NAME = re.compile(r"(.+)-(\d+)\.tfr")
_MASK = "umap"  # the feature that tells which bins are unmappable
_SIZES = ("seq_length", "target_length", "pool_width", "crop_bp", "num_targets")
_PIECE_BYTES = 1 << 20
_LEVEL = 1  # of compression: eight times as fast as the original's 6 for a sixth more space
_SPARE = 1.3  # unpacked files take less than this times the original ones

Places = tuple[list[str], list[int]]  # chromosome and start of the window of each record


def is_coverage_folder(path: Path) -> bool:
    """Whether this layout lies at `path`."""
    return (path / STATISTICS).is_file() and (path / SHARDS).is_dir()


def open_coverage_folder(path: Path) -> "CoverageFolder":
    """Opens the folder at `path`; the first time, its shards are unpacked into the cache folder.

    Raises:
      JaxepiError: a file is missing, damaged or truncated (named), files contradict each other, or the cache folder
        cannot hold the unpacked shards.
    """
    told = read_description(path)
    statistics, shards = told.statistics, told.shards
    fingerprint = _fingerprint(path, shards)
    cache = cache_folder() / fingerprint
    _unpack_all(path, [shard for files in shards.values() for shard in files], cache)
    counts = {split: [(file.name, len(_index(cache / file.name))) for file in files] for split, files in shards.items()}
    check_counts(path, counts, told)
    manifest = {
        "kind": KIND,
        "fingerprint": fingerprint,
        "splits": {split: {"records": sum(length for _, length in files)} for split, files in counts.items()},
        "window": statistics["seq_length"],
        "bins": statistics["target_length"],
        "bin_width": statistics["pool_width"],
        "crop": statistics["crop_bp"],
        **told.tracks,
    }
    manifest["unmappable"] = _has_mask(cache / file for files in counts.values() for file, length in files if length)
    return CoverageFolder(path, manifest, _features(statistics, manifest["unmappable"]), counts, cache, told.places)


class Description(NamedTuple):
    """What the files beside the records tell."""

    statistics: dict[str, Any]
    tracks: dict[str, Any]  # entries of the manifest
    shards: dict[str, list[Path]]  # of each split
    places: dict[str, Places] | None


def read_description(path: Path) -> Description:
    """Reads everything but the records of the folder at `path`.

    Raises:
      JaxepiError: a file is missing or damaged (named).
    """
    statistics = _read_statistics(path / STATISTICS)
    tracks = _read_targets(path / TARGETS, statistics["num_targets"])
    return Description(
        statistics, tracks, _find_shards(path / SHARDS), _read_places(path / SEQUENCES, statistics)
    )  # fmt: skip


def cache_folder() -> Path:
    """Where unpacked shards lie, one folder a dataset: $XDG_CACHE_HOME or ~/.cache, then jaxepi/unpacked."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxepi" / "unpacked"


class CoverageFolder(Dataset):
    """A dataset whose records hold `sequence` (L,) uint8 codes, `target` (T, K) float16, `key`, `chrom` and `start`.

    Where the original stored which bins are unmappable, `unmappable` (T,) uint8 is there too.
    The T bins of `bin_width` bp begin `crop` bp after `start`, where the window of L bp begins, perhaps before its
    chromosome. Without sequences.bed, `chrom` is "", `start` 0, and `key` tells the split and the number.
    """

    def __init__(
        self,
        path: Path,
        manifest: dict[str, Any],
        features: tfds.features.FeaturesDict,
        shards: Mapping[str, Sequence[tuple[str, int]]],
        cache: Path,
        places: Mapping[str, Places] | None,
    ):
        """`cache` holds the unpacked shards; `places` by split, if they are known."""
        super().__init__(path, manifest, features, shards)
        self._cache, self._places = cache, places

    def records(self, name: str, shards: Sequence[RecordFile]) -> Split:
        places = None
        if self._places is not None:
            chroms, starts = zip(*(self._places[part] for part in name.split("+")), strict=True)
            places = sum(chroms, []), sum(starts, [])
        return CoverageSplit(name, shards, self.features, self.manifest, places)

    def open_shard(self, file: str, length: int) -> RecordFile:
        return _UnpackedShard(self._cache / file)


class CoverageSplit(Split):
    """The records of one split, or of several one after the other; see `CoverageFolder`."""

    described_by = STATISTICS

    def __init__(self, name: str, shards: Any, features: Any, manifest: dict[str, Any], places: Places | None):
        super().__init__(name, shards, features, manifest)
        self._places = places

    def __getitem__(self, number: int) -> Record:
        record = super().__getitem__(number)
        key, chrom, start = f"{self.name}:{number}", "", 0
        if self._places is not None:
            chrom, start = self._places[0][number], self._places[1][number]
            key = f"{chrom}:{start}-{start + self.manifest['window']}"
        mask = {"unmappable": record[_MASK]} if _MASK in record else {}
        return {
            "key": key, "chrom": chrom, "start": start, "sequence": _codes(record["sequence"]),
            "target": record["target"], **mask,
        }  # fmt: skip


class _UnpackedShard(RecordFile):
    """A file that `_unpack` made."""

    def read(self, number: int) -> bytes:
        try:
            return zlib.decompress(super().read(number))
        except (JaxepiError, zlib.error):
            raise JaxepiError(f"{self.path}: this unpacked shard is damaged; delete it, and it is made anew") from None


def _index(place: Path) -> np.ndarray:
    """Offsets of the records of an unpacked shard; 12 bytes a record are read."""
    try:
        return index_shard(place)
    except JaxepiError:
        raise JaxepiError(f"{place}: this unpacked shard is damaged; delete it, and it is made anew") from None


def _codes(sequence: np.ndarray) -> np.ndarray:
    """Bases as codes (L,) uint8, from codes or from one-hot rows (L, 4), which are all zero for N."""
    if sequence.ndim == 1:
        return sequence
    return np.where(sequence.any(axis=1), sequence.argmax(axis=1), 4).astype(np.uint8)


def _has_mask(unpacked: Iterable[Path]) -> bool:
    """Whether the records tell which bins are unmappable; the first one decides: the original writes all alike."""
    from tensorflow_datasets.proto import tf_example_pb2

    place = next(iter(unpacked), None)
    if place is None:
        return False
    shard = _UnpackedShard(place)
    try:
        return _MASK in tf_example_pb2.Example.FromString(shard.read(0)).features.feature
    except DecodeError:
        return False  # reading the record tells what is wrong with it
    finally:
        shard.close()


def _features(statistics: Mapping[str, Any], with_mask: bool) -> tfds.features.FeaturesDict:
    length, bins, tracks = statistics["seq_length"], statistics["target_length"], statistics["num_targets"]
    shape = (length,) if statistics.get("seq_1hot") else (length, 4)  # the name says the contrary of what it means
    tensor = tfds.features.Tensor
    mask = {_MASK: tensor(shape=(bins,), dtype=np.uint8, encoding="bytes")} if with_mask else {}
    return tfds.features.FeaturesDict(
        {
            "sequence": tensor(shape=shape, dtype=np.uint8, encoding="bytes"),
            "target": tensor(shape=(bins, tracks), dtype=np.float16, encoding="bytes"),
            **mask,
        }
    )


def _read_statistics(path: Path) -> dict[str, Any]:
    try:
        statistics = json.loads(path.read_text(encoding="utf-8-sig"))
        absent = [name for name in _SIZES if not isinstance(statistics.get(name), int)]
    except (ValueError, AttributeError):
        raise JaxepiError(f"{path}: this is not a JSON object; copy it again from its source") from None
    if "diagonal_offset" in statistics:
        raise JaxepiError(f"{path}: this folder holds contact maps, and only binned coverage is read in this layout")
    if absent:
        raise JaxepiError(f"{path}: the entry {absent[0]!r} is not a whole number; copy the file again from its source")
    length, crop, bins, width, _ = (statistics[name] for name in ("seq_length", "crop_bp", *_SIZES[1:3], "num_targets"))
    if length - 2 * crop != bins * width:
        raise JaxepiError(
            f"{path}: {bins} bins of {width} bp do not fill a window of {length} bp without {crop} bp at both ends; "
            "copy the file again from its source"
        )
    return statistics


def _read_targets(path: Path, expected: int) -> dict[str, Any]:
    """The entries `tracks`, `track_descriptions` and `strand_pair` (places among the tracks) of the manifest."""
    if not path.exists():
        raise JaxepiError(f"{path}: this table of the tracks is missing; copy it from the dataset's source")
    try:
        rows = list(csv.DictReader((line for _, line in read_lines(path, "a table of tracks")), delimiter="\t"))
    except csv.Error as problem:
        raise JaxepiError(f"{path}: this is no table ({problem}); copy it again from its source") from problem
    if len(rows) != expected or not all(row.get("identifier") for row in rows):
        raise JaxepiError(
            f"{path}: {len(rows)} lines were found, but {STATISTICS} tells of {expected} tracks, each a line with an "
            "identifier; copy both files again from their source"
        )
    numbers = {next(iter(row.values())): place for place, row in enumerate(rows)}  # the first column has no name
    names: list[str] = []
    for place, row in enumerate(rows):
        name = row["identifier"]
        names.append(f"{name}#{place}" if name in names else name)
    return {
        "tracks": names,
        "track_descriptions": [row.get("description") or "" for row in rows],
        "strand_pair": [numbers.get(row.get("strand_pair"), place) for place, row in enumerate(rows)],
    }


def _find_shards(folder: Path) -> dict[str, list[Path]]:
    """Shards of each split in the order of their numbers; train, valid and test come first."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.iterdir():
        if match := _SHARD_NAME.fullmatch(path.name):
            found.setdefault(match[1], []).append((int(match[2]), path))
    if not found:
        raise JaxepiError(f"{folder}: there is no file <split>-<number>.tfr here; copy them from the dataset's source")
    for split, files in found.items():
        numbers = sorted(number for number, _ in files)
        if missing := set(range(numbers[-1] + 1)) - set(numbers):
            raise JaxepiError(
                f"{folder / f'{split}-{min(missing)}.tfr'}: this shard is missing; copy it from its source"
            )
    known = ("train", "valid", "test")
    order = sorted(found, key=lambda split: (known.index(split) if split in known else len(known), split))
    return {split: [path for _, path in sorted(found[split])] for split in order}


def _fingerprint(path: Path, shards: Mapping[str, Sequence[Path]]) -> str:
    digest = hashlib.sha256()
    for name in (STATISTICS, TARGETS):
        digest.update(hashlib.sha256((path / name).read_bytes()).digest())
    sizes = sorted((file.name, file.stat().st_size) for files in shards.values() for file in files)
    digest.update(json.dumps(sizes).encode())
    return digest.hexdigest()


def _read_places(path: Path, statistics: Mapping[str, Any]) -> dict[str, Places] | None:
    """Places of each split's records; older programs wrote whole windows there, newer ones what the bins cover."""
    if not path.is_file():
        return None
    length, crop = statistics["seq_length"], statistics["crop_bp"]
    before = {length: 0, length - 2 * crop: crop}
    places: dict[str, Places] = {}
    for number, line in read_lines(path, "places of the records"):
        try:
            chrom, start, end, split = line.split("\t")[:4]
            shift = before[int(end) - int(start)]
        except (ValueError, KeyError):
            raise JaxepiError(
                f"{path}: line {number} is {line!r}, but chromosome, start, end and split of a window of {length} or "
                f"{length - 2 * crop} bp were expected; copy the file again from its source, or remove it"
            ) from None
        chroms, starts = places.setdefault(split, ([], []))
        chroms.append(chrom)
        starts.append(int(start) - shift)
    return places


def check_counts(path: Path, counts: Mapping[str, Sequence[tuple[str, int]]], told: Description) -> str:
    """Compares records of each file of a split with sequences.bed if there is one.

    Else with statistics.json, which counts what was there before unmappable windows left. Returns what was compared.

    Raises:
      JaxepiError: they differ.
    """
    for split, files in counts.items():
        held = sum(length for _, length in files)
        if told.places is not None:
            expected, source = len(told.places.get(split, ([], []))[0]), SEQUENCES
        else:
            expected, source = max(held, 1), STATISTICS
            if held > told.statistics.get(f"{split}_seqs", held):
                expected = told.statistics[f"{split}_seqs"]
        if held != expected:
            raise JaxepiError(
                f"{path / SHARDS}: the shards of split {split!r} hold {held} records, but {source} tells of {expected}"
                "; copy both again from their source"
            )
    return f"numbers of records of {len(counts)} splits"


def _unpack_all(path: Path, shards: Sequence[Path], cache: Path) -> None:
    """Unpacks the shards that are not yet in the cache; whoever else is at it is waited for."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with hold(cache / "lock", wait=True):
            left = [shard for shard in shards if not (cache / shard.name).is_file()]
            needed = _SPARE * sum(shard.stat().st_size for shard in left)
            free = shutil.disk_usage(cache).free
            if needed > free:
                raise JaxepiError(
                    f"{cache} has {free / 1e9:.1f} GB free, but unpacking {path} takes about {needed / 1e9:.1f} GB: "
                    "make room, or set XDG_CACHE_HOME to a folder on a larger disk."
                )
            _unpack_in_threads(left, cache)
    except OSError as problem:
        raise JaxepiError(
            f"Cannot unpack {path} into {cache} ({problem.strerror or problem}): make room, or set XDG_CACHE_HOME to a "
            "folder that can be written."
        ) from problem


def _unpack_in_threads(shards: Sequence[Path], cache: Path) -> None:
    total = sum(shard.stat().st_size for shard in shards)
    pool = concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1))  # zlib lets threads work side by side
    with tqdm(total=total, unit="B", unit_scale=True, desc=f"unpacking into {cache}, once", delay=2) as bar:
        try:
            jobs = {pool.submit(_unpack, shard, cache / shard.name): shard for shard in shards}
            for job in concurrent.futures.as_completed(jobs):
                job.result()
                bar.update(jobs[job].stat().st_size)
        finally:
            pool.shutdown(cancel_futures=True)


def _unpack(shard: Path, place: Path) -> None:
    """One ZLIB stream of framed records to framed records that are compressed one by one, whole or not at all."""
    with replacing(place) as partial, partial.open("wb") as out:
        for payload in packed_records(shard):
            out.write(frame(zlib.compress(payload, _LEVEL)))


def packed_records(shard: Path) -> Iterator[bytes]:
    """The records of a file as it came, one after the other.

    Raises:
      JaxepiError: it is damaged or truncated.
    """
    with shard.open("rb") as file:
        yield from stream_records(_inflate(file, shard), shard)


def _inflate(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """What a ZLIB stream holds, in pieces of at most a mebibyte; an empty file holds nothing."""
    inflater, data, started = zlib.decompressobj(), b"", False
    while not inflater.eof:
        data = inflater.unconsumed_tail or file.read(_PIECE_BYTES)
        if not data and not started:
            return
        started = True
        try:
            piece = inflater.decompress(data, _PIECE_BYTES)
        except zlib.error as problem:
            raise JaxepiError(
                f"{path}: this is no whole ZLIB stream ({problem}); copy it again from its source"
            ) from None
        if piece:
            yield piece
        elif not data and not inflater.eof:
            raise JaxepiError(
                f"{path}: the file is truncated: its ZLIB stream does not end; copy it again from its source"
            )
    if inflater.unused_data or file.read(1):
        raise JaxepiError(f"{path}: the file goes on after the end of its ZLIB stream; copy it again from its source")
