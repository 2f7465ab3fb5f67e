"""Parity of windows, bins, labels and splits with what the original's programs made of the same small genome."""

import shutil

import numpy as np
import pytest

from data_prep.build.options import parse_options
from data_prep.coverage.targets import read_targets
from data_prep.coverage.transforms import pooled
from data_prep.epiformer.chunk_files import find_chunks, read_headers
from data_prep.epiformer.command import check_options, lay, make_chunk_recipe, make_recipe
from data_prep.epiformer.options import parser
from data_prep.epiformer.splits import at_random
from data_prep.sources.genome import Genome
from data_prep.sources.peak_bins import bins_of
from jaxepi.sequence import encode, one_hot

WINDOW, BIN, CHUNKS = 1024, 128, 3
PARITY = ["--missing", "nan", "--peak-bins", "original", "--n-test", "line", "--scale", "repeat"]
OPTIONS = ["--seqlen", WINDOW, "--binsize", BIN, "--seqcons", "cons.bw", "--gsize", "chrom.sizes",
           "--blacklist", "blacklist.bed", "--valid-chroms", "none", "--test-chroms", "none"]  # fmt: skip


@pytest.fixture(scope="module")
def want(golden):
    """Arrays of all chunk files, one after the other."""
    file = golden("epiformer", "dataset.npz")
    names = [key.removeprefix("out:chunk0/") for key in file.files if key.startswith("out:chunk0/")]
    arrays = {name: np.concatenate([file[f"out:chunk{n}/{name}"] for n in range(CHUNKS)]) for name in names}
    return arrays | {key: file[key] for key in file.files if key.startswith("out:item1")}


@pytest.fixture(scope="module")
def world(golden_path, tmp_path_factory):
    """A writable copy of the golden inputs: an index file is made beside the FASTA."""
    folder = tmp_path_factory.mktemp("golden") / "tiny_genome"
    shutil.copytree(golden_path("epiformer", "tiny_genome"), folder, copy_function=shutil.copyfile)
    return folder


def made(world, folder, *more):
    """Recipe and records of a genome with these options."""
    with pytest.MonkeyPatch.context() as monkey:
        monkey.chdir(world)
        words = ["--fa", "genome.fa", "--target", "targets.txt", "--out", "x", *OPTIONS, "--no-progress"]
        args, typed = parse_options(parser(), [str(word) for word in [*words, "--processes", 1, *more]])
        check_options(args, typed)
        genome, table = Genome(args.fasta), read_targets(world / args.targets)
        sequences, left_out = lay(args, genome)
        recipe = make_recipe(args, genome, table, sequences, left_out, folder)
        return recipe, records_of(recipe)


def records_of(recipe):
    """All records of the split `train`."""
    return [record for block in recipe.blocks()["train"] for _, record in recipe.make_block(block).records]


@pytest.fixture(scope="module")
def parity(world, tmp_path_factory):
    return made(world, tmp_path_factory.mktemp("parity"), *PARITY)


def test_windows_sequences_and_conservation(parity, want):
    recipe, records = parity
    assert [record["key"] for record in records] == [name.decode() for name in want["segments/name"]]
    assert recipe.beside.told == {"left_out": {"blacklist": 1, "n": 1, "length": 0, "chunk_files": 0, "no_split": 0}}
    for record, letters, scores in zip(records, want["inputs/seq"], want["inputs/seqcons"], strict=True):
        np.testing.assert_array_equal(record["sequence"], encode(letters))
        np.testing.assert_array_equal(record["conservation"], scores.astype(np.float16))
    assert (want["inputs/seqcons"] == 0).any(), "bases without a score"


def test_bins_are_the_originals_rounded_to_float16(parity, want):
    """mean, sum, median and clips; a track with gaps, whose bins are NaN."""
    values = want["targets/value"].transpose(0, 2, 1)
    got = np.stack([record["target"] for record in parity[1]])
    assert got.dtype == np.float16 and np.isnan(values).any()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(values))
    np.testing.assert_allclose(got.astype(np.float64), values, rtol=2**-11 + 1e-6)


def test_labels_by_the_originals_arithmetic(parity, want):
    got = np.stack([record["label"] for record in parity[1]])
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, want["targets/label"].transpose(0, 2, 1))


def test_corrected_labels_and_missing_bases(world, parity, tmp_path):
    """Labels from their definition, a base at a time; bases without a record count as 0."""
    import pyBigWig

    recipe, records = made(world, tmp_path)
    for track in range(4):
        marks = {chrom: np.zeros(length, bool) for chrom, length in recipe.genome.lengths.items()}
        for line in (world / f"T{track}.bed").read_text().splitlines():
            chrom, start, end = line.split()[:3]
            marks[chrom][int(start) : int(end)] = True
        for record in records:
            inside = marks[record["chrom"]][record["start"] :][:WINDOW].reshape(-1, BIN).any(axis=1)
            np.testing.assert_array_equal(record["label"][:, track], inside, f"{record['key']} {track}")
    other = np.stack([record["label"] for record in parity[1]])
    assert (np.stack([record["label"] for record in records]) != other).any()
    with pyBigWig.open(str(world / "T3.bw")) as file:
        for record in records:
            bases = file.values(record["chrom"], record["start"], record["start"] + WINDOW, numpy=True)
            bins = np.clip(np.nan_to_num(bases).reshape(-1, BIN).mean(axis=1), 0, 128)
            np.testing.assert_allclose(record["target"][:, 3].astype(np.float64), bins, rtol=2**-11 + 1e-6)


def test_records_are_what_the_originals_reader_yields(parity, want):
    record = parity[1][1]
    for which, rows in ((None, slice(None)), (0, slice(0, 1)), (1, slice(1, 2))):
        item = {name: want[f"out:item1_which{which}/{name}"] for name in ("seq", "seqcons", "signal", "label")}
        np.testing.assert_array_equal(one_hot(record["sequence"]).T, item["seq"])
        np.testing.assert_array_equal(record["conservation"], item["seqcons"][0].astype(np.float16))
        np.testing.assert_allclose(record["target"].T[rows].astype(np.float64), item["signal"], rtol=2**-11 + 1e-6)
        chosen = slice(None) if which == 0 else rows  # there, 0 gives all rows of labels
        np.testing.assert_array_equal(record["label"].T[chosen], item["label"])
    signal = record["target"].T[1:2].astype(np.float64)
    np.testing.assert_allclose(np.where(signal > 1, np.log2(signal), signal), want["out:item1_which1_log2/signal"],
                               rtol=1e-3)  # fmt: skip


def test_chunk_files_hold_the_same_records(world, parity, want, tmp_path):
    h5py = pytest.importorskip("h5py")
    first = 0
    for number, count in enumerate((4, 4, 3)):
        with h5py.File(tmp_path / f"human.{number}.h5", "w") as file:
            for name in ("inputs/seqcons", "targets/value", "targets/label"):
                file.create_dataset(name, data=want[name][first : first + count], compression="gzip")
            for name in ("inputs/seq", "segments/name"):
                text = [value.decode() for value in want[name][first : first + count]]
                file.create_dataset(name, data=text, dtype=h5py.string_dtype())
        first += count
    words = ["--chunks", tmp_path, "--valid-chroms", "none", "--test-chroms", "none", "--out", "x"]
    args, typed = parse_options(parser(), list(map(str, words)))
    check_options(args, typed)
    chunks = read_headers(find_chunks(args.chunks, args.chunk_order, args.chunk_files))
    records = records_of(make_chunk_recipe(args, chunks, ["T0", "T1", "T2", "T3"], None))
    for ours, theirs in zip(records, parity[1], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)


def test_the_random_split_of_seed_2022(golden):
    want = golden("epiformer", "split_seed2022.npz")
    got = at_random(10_000, 2022)
    np.testing.assert_array_equal(got["train"], want["out:train_index_10000"])
    np.testing.assert_array_equal(got["valid"], want["out:valid_index_10000"])


@pytest.mark.parametrize("stat", ["mean", "median", "sum"])
def test_statistics_of_bins(golden, stat):
    """float32 values; the last bin is a part of one."""
    file = golden("epiformer", "augment.npz")
    values, want = file["in:sig2sum_values"].astype(np.float32), file[f"out:sig2sum_{stat}_128"]
    whole = pooled(values[:896].reshape(1, -1, BIN), stat, "sqrt")[0]
    rest = pooled(values[896:].reshape(1, 1, -1), stat, "sqrt")[0]
    np.testing.assert_allclose(np.concatenate([whole, rest]), want, rtol=1e-6)


def test_bins_of_peaks(golden):
    file = golden("epiformer", "augment.npz")
    for (window, width, start, end), want in zip(
        file["in:bin_index_args"].tolist(), file["out:bin_index"], strict=True
    ):
        assert bins_of(window, start, end, width, "original") == tuple(want)
        first, last = bins_of(window, start, end, width, "overlap")
        overlapping = [b for b in range(800) if start < window + (b + 1) * width and end > window + b * width]
        assert list(range(first, last)) == overlapping
