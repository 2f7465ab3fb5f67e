"""Writes the dataset folder of the original Basenji programs: what they train on, and what `jaxepi.data` reads too.

statistics.json, targets.txt, contigs.bed, sequences.bed, mseqs_unmap.npy and tfrecords/<split>-<i>.tfr, each of which
is one ZLIB stream of framed `tf.train.Example`s, with the level and the memory of the compressor that TensorFlow uses:
the same bytes. (The order of the features within an example is that of a hash table there and differs between runs.)
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_prep.build.dataset import Execution, Writer, progress_bar
from data_prep.build.recipe import Block, BlockResult, Record, Tally
from data_prep.build.runner import available_processes, block_map

_MEMORY_LEVEL = 9
_WORTH_PROCESSES = 16 << 20  # bytes of records


@dataclass(frozen=True)
class FolderStyle:
    """How the folder is written.

    Attributes:
        per_file: records of a file.
        one_hot: four bytes a base instead of one, as in 2020.
        parity: with the slips of the original: statistics.json counts the windows before unmappable ones were left out,
            and a split that fills its last file has an empty one more.
    """

    per_file: int = 256
    one_hot: bool = False
    parity: bool = False


def example_bytes(features: Mapping[str, bytes]) -> bytes:
    """A serialised `tf.train.Example` of bytes features, in the order of the mapping."""
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _field(1, _field(1, value)))) for name, value in features.items()
    )
    return _field(1, entries)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, digits = len(content), bytearray([number << 3 | 2])
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    digits.append(length)
    return bytes(digits) + content


def features_of(record: Record, one_hot: bool = False) -> dict[str, bytes]:
    """The bytes of a record's features: sequence, target, and umap if it tells what is unmappable."""
    codes = np.asarray(record["sequence"])
    letters = np.eye(5, 4, dtype=np.uint8)[codes] if one_hot else codes
    features = {"sequence": letters.tobytes(), "target": np.ascontiguousarray(record["target"]).tobytes()}
    if "unmappable" in record:
        features["umap"] = np.asarray(record["unmappable"]).astype(bool).tobytes()
    return features


def write_shard(path: Path, examples: Iterable[bytes]) -> None:
    """One ZLIB stream of framed examples."""
    from jaxepi.data.tfrecord import frame  # loads JAX, which no other work of a process needs

    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY_LEVEL)
    with path.open("wb") as file:
        for example in examples:
            file.write(packer.compress(frame(example)))
        file.write(packer.flush())


@dataclass(frozen=True)
class Around:
    """What lies beside the records and is not told by them.

    Attributes:
        targets: text of targets.txt.
        contigs: (chromosome, start, end) of each split; None: not known.
        unmappable: (N, T) bool of all records; None: not known, unless records tell.
        left_out: windows of each split that were left out as unmappable.
    """

    targets: str
    contigs: Mapping[str, Iterable[Sequence[Any]]] | None
    unmappable: np.ndarray | None
    left_out: Mapping[str, int]


class Source(Protocol):
    """Records of binned coverage that can be written as a folder; must survive pickling."""

    def slices(self, size: int) -> dict[str, list[Block]]:
        """Blocks of `size` records of each split; the last one may have fewer."""

    def records(self, block: Block, tally: Tally) -> Iterator[Record]:
        """The records of a block; counts them."""

    def sizes(self) -> dict[str, Any]:
        """window, bins, bin_width, crop and tracks, as in a manifest."""

    def around(self) -> Around:
        """What lies beside the records."""

    def bytes_per_record(self) -> int:
        """About."""


class _Shards:
    """Makes the files of a source, one a block; safe to pickle."""

    def __init__(self, source: Source, folder: Path, style: FolderStyle) -> None:
        self.source, self.folder, self.style, self.crop = source, folder, style, source.sizes()["crop"]

    def make_block(self, block: Block) -> BlockResult:
        """Writes a file; `block.payload` is (split, name of the file, block of the source).

        In place of records come their lines of sequences.bed and their masks, if they have any.
        """
        split, name, own = block.payload
        result = BlockResult([], Tally())

        def examples() -> Iterator[bytes]:
            for number, record in enumerate(self.source.records(own, result.tally)):
                start, end = record["start"] + self.crop, record["start"] + len(record["sequence"]) - self.crop
                told = {"line": f"{record['chrom']}\t{start}\t{end}\t{split}\n", "mask": record.get("unmappable")}
                result.records.append((own.first_key + number, told))
                yield example_bytes(features_of(record, self.style.one_hot))

        write_shard(self.folder / name, examples())
        return result


def statistics_text(sizes: Mapping[str, Any], counts: Mapping[str, int], one_hot: bool = False) -> str:
    """statistics.json, from sizes as in a manifest and the records of each split."""
    form = {} if one_hot else {"seq_1hot": True}  # the name says the contrary of what it means
    told = {
        "num_targets": len(sizes["tracks"]),
        "seq_length": sizes["window"],
        **form,
        "pool_width": sizes["bin_width"],
        "crop_bp": sizes["crop"],
        "target_length": sizes["bins"],
    }
    return json.dumps(told | {f"{split}_seqs": count for split, count in counts.items()})


def write_folder(
    source: Source, folder: Path, style: FolderStyle, processes: int, bar: Any
) -> tuple[dict[str, int], dict[str, Tally]]:
    """Writes the whole dataset into the empty `folder`; returns files and counts of each split."""
    (folder / "tfrecords").mkdir()
    slices, around = source.slices(style.per_file), source.around()
    blocks = []
    for split, own in slices.items():
        if style.parity and own[-1].size == style.per_file:
            own.append(Block(0, 0, own[-1].payload))
        blocks += [Block(b.first_key, b.size, (split, f"{split}-{i}.tfr", b)) for i, b in enumerate(own)]
    tallies = {split: Tally() for split in slices}
    counts = dict.fromkeys(slices, 0)
    masks: list[np.ndarray] = []
    large = sum(block.size for block in blocks) * source.bytes_per_record() > _WORTH_PROCESSES
    shards = _Shards(source, folder / "tfrecords", style)
    with (
        (folder / "sequences.bed").open("w") as bed,
        block_map(shards, min(processes, len(blocks)) if large else 1) as mapped,
    ):
        for block, result in zip(blocks, mapped(blocks), strict=True):
            split = block.payload[0]
            tallies[split].merge(result.tally)
            counts[split] += len(result.records)
            bed.writelines(told["line"] for _, told in result.records)
            masks += [told["mask"] for _, told in result.records if told["mask"] is not None]
            bar.update(block.size)
    if style.parity:
        counts = {split: count + around.left_out.get(split, 0) for split, count in counts.items()}
    (folder / "statistics.json").write_text(statistics_text(source.sizes(), counts, style.one_hot))
    (folder / "targets.txt").write_text(around.targets)
    if around.contigs is not None:
        rows = ((*row, split) for split, own in around.contigs.items() for row in own)
        (folder / "contigs.bed").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    if around.unmappable is not None or masks:
        mask = np.stack(masks).astype(bool) if around.unmappable is None else around.unmappable
        np.save(folder / "mseqs_unmap.npy", mask)
    return {split: len(own) for split, own in slices.items()}, tallies


def folder_writer(style: FolderStyle) -> Writer:
    """What `data_prep.build.dataset.build` needs to write this layout; the recipe must be a `Source`."""

    def write(
        recipe: Any, work: dict[str, list[Block]], folder: Path, execution: Execution
    ) -> tuple[Path, dict[str, int], dict[str, Tally]]:
        made = folder / "dataset"
        made.mkdir()
        total = sum(block.size for blocks in work.values() for block in blocks)
        with progress_bar(recipe.name, recipe.unit, total, execution.progress) as bar:
            files, tallies = write_folder(recipe, made, style, execution.processes or available_processes(), bar)
        return made, files, tallies

    return write
