"""Small genomes and tracks as real FASTA and BigWig files, and a call of the command line."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LETTERS = np.frombuffer(b"ACGTN", np.uint8)
Intervals = tuple[np.ndarray, np.ndarray, np.ndarray]  # start, end, value


def random_codes(rng: np.random.Generator, length: int, cpg_share: float = 0.04, n_share: float = 0.02) -> np.ndarray:
    """Base codes with many CpGs and a few stretches of N."""
    codes = rng.integers(0, 4, length).astype(np.uint8)
    at = rng.integers(0, length - 1, int(length * cpg_share))
    codes[at], codes[at + 1] = 1, 2
    for start in rng.integers(0, length, int(length * n_share / 20) + 1):
        codes[start : start + 20] = 4
    return codes


def write_fasta(path: Path, genome: Mapping[str, np.ndarray], width: int = 60) -> Path:
    """Writes base codes per chromosome as FASTA."""
    with path.open("wb") as file:
        for name, codes in genome.items():
            text = LETTERS[codes].tobytes()
            file.write(b">" + name.encode() + b"\n")
            file.writelines(text[i : i + width] + b"\n" for i in range(0, len(text), width))
    return path


def write_bigwig(path: Path, lengths: Mapping[str, int], intervals: Mapping[str, Intervals]) -> Path:
    """Writes (start, end, value) per chromosome as BigWig; chromosomes are sorted by name, as the format wants."""
    import pyBigWig

    file = pyBigWig.open(str(path), "w")
    file.addHeader(sorted(lengths.items()))
    for chrom in sorted(intervals):
        start, end, value = intervals[chrom]
        if len(start):
            file.addEntries(
                [chrom] * len(start), start.tolist(), ends=end.tolist(), values=value.astype(float).tolist()
            )
    file.close()
    return path


def dyad_intervals(rng: np.random.Generator, codes: np.ndarray, share: float = 0.9) -> Intervals:
    """A two-base interval at most CpGs: values with three digits, some of them -1."""
    first = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
    first = first[rng.random(len(first)) < share]
    value = np.round(rng.random(len(first)), 3).astype(np.float32)
    value[rng.random(len(first)) < 0.1] = -1
    return first, first + 2, value


class World:
    """A genome of five chromosomes and three tracks on disk."""

    def __init__(self, folder: Path, seed: int = 0, tracks: int = 3):
        rng = np.random.default_rng(seed)
        sizes = {"chr1": 41_000, "chr2": 23_000, "chr8": 14_500, "chr9": 12_000, "chr10": 16_000}
        self.folder = folder
        self.codes = {chrom: random_codes(rng, size) for chrom, size in sizes.items()}
        self.lengths = sizes
        self.fasta = write_fasta(folder / "genome.fa", self.codes)
        self.bigwigs = [
            write_bigwig(
                folder / f"track{i}.bw",
                sizes,
                {chrom: dyad_intervals(rng, codes) for chrom, codes in self.codes.items()},
            )
            for i in range(tracks)
        ]

    def argv(self, out: Path, *more: object) -> list[str]:
        """Command line for this world, with a small window."""
        words = ["melody", "--fasta", self.fasta, "--bigwigs", *self.bigwigs, "--out", out, "--window", 4000]
        return [str(word) for word in [*words, "--processes", 1, "--no-progress", *more]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh small world."""
    return World(tmp_path)


@pytest.fixture
def prepare(capsys: pytest.CaptureFixture[str]) -> Callable[[Sequence[str]], tuple[int, str, str]]:
    """Runs the command line in this process: (exit status, stdout, stderr)."""
    from data_prep.__main__ import main

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        status = main(argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def load(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All records of a dataset per split."""
    from jaxepi.data import open_dataset

    data = open_dataset(path)
    return {name: [data.split(name)[i] for i in range(len(data.split(name)))] for name in data.splits}


def expand(record: Mapping[str, Any], length: int) -> np.ndarray:
    """Per-base matrix (length, K) of a record, written independently of the package, one site at a time."""
    dense = np.full((length, record["value"].shape[1]), np.nan, np.float32)
    for position, width, value in zip(record["position"], record["width"], record["value"], strict=True):
        assert np.isnan(dense[position : position + width]).all()
        dense[int(position) : int(position) + int(width)] = value
    return dense


@pytest.fixture
def tools() -> Any:
    """The functions of this file, for tests (test folders are no packages)."""
    from types import SimpleNamespace

    return SimpleNamespace(
        World=World,
        load=load,
        expand=expand,
        write_fasta=write_fasta,
        write_bigwig=write_bigwig,
        random_codes=random_codes,
    )
