"""Windows as the original lays them: chromosomes tiled from their first base, or regions of a file, less some."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.sources.genome import Genome
from data_prep.sources.regions import Windows, check_inside, make_windows, mark, tile
from data_prep.sources.text_tables import read_sizes
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import PREFIX_OPTIONS, harmonise_all, misnamed, naming_error
from jaxepi.genome.intervals import Interval, Intervals
from jaxepi.genome.text_files import read_bed
from jaxepi.sequence import N

N_TESTS = ("sequence", "line")


def sized(path: Path, genome: Genome, prefix: str) -> dict[str, int]:
    """Chromosomes and lengths of a file of sizes, in its order, compared with the genome.

    Raises:
        JaxepiError: a chromosome that the genome lacks or knows under another name, or with another length.
    """
    given = read_sizes(path)
    lengths = {name: given[own] for name, own in harmonise_all(list(given), prefix).items()}
    wrong = misnamed(lengths, genome.lengths)
    if wrong is not None:
        raise JaxepiError(naming_error(path, wrong[0], genome.path, wrong[1], PREFIX_OPTIONS))
    for chrom, length in lengths.items():
        if genome.lengths.get(chrom) != length:
            have = f"{genome.lengths[chrom]} bases long" if chrom in genome.lengths else "not there"
            raise JaxepiError(
                f"{path} gives {chrom} {length} bases, but in {genome.path} it is {have}: use files of one genome build"
            )
    return lengths


def tiled(lengths: Mapping[str, int], length: int) -> Windows:
    """Windows of `length` bp side by side from the first base of every chromosome, in the order of these."""
    return tile([Interval(chrom, 0, end) for chrom, end in lengths.items()], length, length)


def listed(path: Path, genome: Genome, length: int, prefix: str) -> tuple[Windows, int]:
    """The regions of a BED file that are `length` bp long, in its order, and how many are not.

    Raises:
        JaxepiError: a region beyond its chromosome or on an unknown one, or one that comes twice.
    """
    rows = list(read_bed(path, prefix))
    check_inside(path, Intervals.of(row.interval for row in rows), genome.lengths)
    seen: set[Interval] = set()
    for row in rows:
        if row.interval.chrom not in genome.lengths:
            raise JaxepiError(
                f"{path} line {row.line} says {row.interval}, but {genome.path} has no {row.interval.chrom}: use the "
                "same genome build"
            )
        if row.interval in seen:
            raise JaxepiError(f"{path} line {row.line} lists {row.interval} once more: remove the line")
        seen.add(row.interval)
    fitting = [(row.interval.chrom, row.interval.start) for row in rows if row.interval.length == length]
    if not fitting:
        raise JaxepiError(
            f"{path} has no region of --seqlen {length} bp, its first one is {rows[0].interval.length} bp long: give "
            "the length of its regions with --seqlen"
        )
    return make_windows(fitting), len(rows) - len(fitting)


def holds_n(windows: Windows, length: int, genome: Genome, how: str) -> np.ndarray:
    """Which windows (S,) hold an N (or an ambiguity code).

    Args:
        windows: S of them.
        length: bp.
        genome: their sequences.
        how: `sequence`, or `line`: the original searches the whole line of a table, in which the name of the chromosome
            stands too, so that chromosomes with an n in their names, such as chrUn, go as well.
    """
    found = np.zeros(len(windows), bool)
    for number, (chrom_id, start) in enumerate(zip(windows.chrom_id.tolist(), windows.start.tolist(), strict=True)):
        chrom = windows.chroms[chrom_id]
        found[number] = (how == "line" and "n" in chrom.lower()) or bool(
            (genome.codes(chrom, start, start + length) == N).any()
        )
    return found


def kept(
    windows: Windows, length: int, genome: Genome, blacklist: Intervals, n_test: str
) -> tuple[Windows, dict[str, int]]:
    """The windows without a blacklisted base and without an N, in their order, and how many were left out for each.

    Raises:
        JaxepiError: none is left.
    """
    barred = mark(windows, length, blacklist)
    free = windows.take(~barred)
    unknown = holds_n(free, length, genome, n_test)
    left = free.take(~unknown)
    if not len(left):
        raise JaxepiError(
            f"no window of {length} bp is left: of {len(windows)}, {int(barred.sum())} touch the blacklist and "
            f"{int(unknown.sum())} hold an N, so use shorter windows (--seqlen)"
        )
    return left, {"blacklist": int(barred.sum()), "n": int(unknown.sum())}
