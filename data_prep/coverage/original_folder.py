"""Writes the dataset folder of the original Basenji programs: what they train on, and what `jaxepi.data` reads too.

statistics.json, targets.txt, contigs.bed, sequences.bed, mseqs_unmap.npy and tfrecords/<split>-<i>.tfr, each of which is
one ZLIB stream of framed `tf.train.Example`s, with the level and the memory of the compressor that TensorFlow uses: the
same bytes. (The order of the features within an example is that of their names' hashes there and differs between runs.)
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Record, Tally
from data_prep.build.runner import block_map
from data_prep.coverage.recipe import CoverageRecipe
from jaxepi.data.tfrecord import frame

_MEMORY_LEVEL = 9


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
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY_LEVEL)
    with path.open("wb") as file:
        for example in examples:
            file.write(packer.compress(frame(example)))
        file.write(packer.flush())


class _Shards:
    """Makes the files of a recipe, one a block; safe to pickle."""

    def __init__(self, recipe: CoverageRecipe, folder: Path, style: FolderStyle) -> None:
        self.recipe, self.folder, self.style = recipe, folder, style

    def make_block(self, block: Block) -> BlockResult:
        """Writes the file that `block.payload` names: (name, block of the recipe)."""
        name, own = block.payload
        tally = Tally()
        tally.add(records=0, n_bases=0, ambiguous_bases=0, unmappable_bins=0)
        examples = (example_bytes(features_of(r, self.style.one_hot)) for r in self.recipe.records(own, tally))
        write_shard(self.folder / name, examples)
        return BlockResult([], tally)


def write_records(
    recipe: CoverageRecipe, folder: Path, style: FolderStyle, processes: int, bar: Any
) -> tuple[dict[str, int], dict[str, Tally]]:
    """Writes all files of tfrecords/ into `folder`; returns files and counts of each split."""
    folder.mkdir()
    shards = _Shards(recipe, folder, style)
    slices = recipe.slices(style.per_file)
    blocks, split_of = [], []
    for split, own in slices.items():
        if style.parity and own[-1].size == style.per_file:
            own.append(Block(0, 0, own[-1].payload + own[-1].size))
        blocks += [Block(b.first_key, b.size, (f"{split}-{i}.tfr", b)) for i, b in enumerate(own)]
        split_of += [split] * len(own)
    tallies = {split: Tally() for split in slices}
    with block_map(shards, min(processes, len(blocks))) as mapped:
        for split, block, result in zip(split_of, blocks, mapped(blocks), strict=True):
            tallies[split].merge(result.tally)
            bar.update(block.size)
    return {split: len(own) for split, own in slices.items()}, tallies


def statistics_text(manifest: Mapping[str, Any], counts: Mapping[str, int], one_hot: bool = False) -> str:
    """statistics.json, from the entries of a manifest and the records of each split."""
    form = {} if one_hot else {"seq_1hot": True}  # the name says the contrary of what it means
    sizes = {
        "num_targets": len(manifest["tracks"]),
        "seq_length": manifest["window"],
        **form,
        "pool_width": manifest["bin_width"],
        "crop_bp": manifest["crop"],
        "target_length": manifest["bins"],
    }
    return json.dumps(sizes | {f"{split}_seqs": count for split, count in counts.items()})


def bed_text(regions: Mapping[str, Iterable[Sequence[Any]]]) -> str:
    """Rows chromosome, start, end, split."""
    return "".join(f"{chrom}\t{start}\t{end}\t{split}\n" for split, own in regions.items() for chrom, start, end in own)


def write_around(
    folder: Path,
    statistics: str,
    targets: str,
    contigs: Mapping[str, Iterable[Sequence[Any]]] | None,
    sequences: str,
    unmappable: np.ndarray | None,
) -> None:
    """Writes what lies beside the records; contigs.bed and mseqs_unmap.npy if there are any."""
    (folder / "statistics.json").write_text(statistics)
    (folder / "targets.txt").write_text(targets)
    (folder / "sequences.bed").write_text(sequences)
    if contigs is not None:
        (folder / "contigs.bed").write_text(bed_text(contigs))
    if unmappable is not None:
        np.save(folder / "mseqs_unmap.npy", unmappable)


def write_folder(
    recipe: CoverageRecipe, folder: Path, style: FolderStyle, processes: int, bar: Any
) -> tuple[dict[str, int], dict[str, Tally]]:
    """Writes everything of a recipe into the empty `folder`; returns files and counts of each split."""
    files, tallies = write_records(recipe, folder / "tfrecords", style, processes, bar)
    counts = recipe.sequences.counts()
    if style.parity:
        counts = {split: count + recipe.left_out.get(split, 0) for split, count in counts.items()}
    write_around(
        folder,
        statistics_text(recipe.manifest(tallies), counts, style.one_hot),
        recipe.table.text(),
        recipe.contigs,
        recipe.sequences.bed(),
        recipe.unmappable,
    )
    return files, tallies
