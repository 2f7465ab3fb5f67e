"""CpG profiles: which sites of the genome a cell was seen at, and how methylated, from the usual text formats.

Sites are the 0-based position of the C of the CpG on the forward strand, whatever the file counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.deepcpg.formats import (
    COUNTED,
    FORMATS,
    PARSERS,
    REVERSE,
    UNSTRANDED,
    Rows,
    one_based,
    plain_rows,
    recognise,
)
from data_prep.sources.text_blocks import TextBlock, read_blocks
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.chroms import PREFIX_OPTIONS, harmonise, naming_error, other_name
from jaxepi.sequence import C, G, N

VALUE_MODES = ("as-is", "binary", "round")
UNSORTED_MODES = ("error", "sort")
STRAND_MODES = ("join", "as-is")
_LARGEST = 2**31 - 1
_STRETCH = 4 << 20  # bases looked at at once
_LOOKED_AT = 300  # sites whose sequence is checked

# chromosome, start, end -> base codes, N outside the chromosome
Codes = Callable[[str, int, int], np.ndarray]


@dataclass(frozen=True)
class Reading:
    """How profiles are read."""

    form: str = "auto"  # a name of FORMATS; auto = told by the columns
    prefix: str = "as-is"  # see jaxepi.genome.chroms.harmonise
    # The original takes column 2 of a bedGraph as a 1-based position: 1 for parity with it.
    bedgraph_base: int = 0
    unsorted: str = "error"  # sort = the original's way, which sorts what it reads
    values: str = "as-is"  # binary = anything but 0 and 1 is an error; round = half to even, as the paper's data
    strands: str = "join"  # join = reads of both strands of a CpG are added up, where a format tells strands apart
    min_reads: int = 1  # sites with fewer are left out; formats with numbers of reads only
    chroms: frozenset[str] | None = None  # harmonised names of the chromosomes to keep; None = all
    extra_chroms: str = "error"  # ignore = leave out chromosomes that the FASTA lacks


@dataclass
class Profile:
    """Observed sites of a cell: per chromosome positions (S,) int32, ascending, and values (S,) float32."""

    positions: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def binary(self) -> bool:
        """Whether all values are 0 or 1."""
        return all(((value == 0) | (value == 1)).all() for value in self.values.values())


def cell_name(path: Path) -> str:
    """The file name up to its first dot."""
    return path.name.split(".")[0]


def read_profile(
    path: Path, reading: Reading = Reading(), lengths: Mapping[str, int] | None = None, codes: Codes | None = None
) -> Profile:
    """Reads the profile of a cell.

    Args:
        path: the file, plain or gzipped.
        reading: how.
        lengths: bases of each chromosome, harmonised names; None = not known.
        codes: the genome; needed to tell the strands of a `bismark` file apart, and to check that sites are CpGs.

    Raises:
        JaxepiError: wrong columns, a position that is no site of the genome, a value outside [0, 1] (or not binary
            where that is asked), unsorted or doubled sites; the sentence names file and line.
    """
    form = recognise(path) if reading.form == "auto" else reading.form
    if form not in FORMATS:
        raise JaxepiError(f"--format {form} is unknown{did_you_mean(form, FORMATS)}: use auto or {', '.join(FORMATS)}")
    if reading.min_reads > 1 and form not in COUNTED:
        raise JaxepiError(
            f"{path} is a {form} file, which has no numbers of reads: leave out --min-reads {reading.min_reads}"
        )
    exact = FORMATS[form] if form in ("tsv", "bedgraph", "bismark", "methyldackel", "allc") else None
    parts: dict[str, list[Rows]] = {}
    previous = ""
    for block in read_blocks(path, exact):
        if block.first.shape[1] < FORMATS[form]:
            raise block.error(0, f"{block.first.shape[1]} columns are too few for {form}, which has {FORMATS[form]}")
        rows = PARSERS[form](block, reading.bedgraph_base)
        previous = _by_chromosome(block, rows, reading, previous, lengths, parts)
    if not parts:
        raise JaxepiError(f"{path} holds no CpG site: lines with chromosome, position and value were expected")
    profile = Profile()
    for chrom in sorted(parts):
        rows = _finish(path, chrom, Rows.join(parts.pop(chrom)), form, reading, codes)
        profile.positions[chrom] = rows.position.astype(np.int32)
        profile.values[chrom] = (rows.methylated / rows.total).astype(np.float32)
        _check_binary(path, chrom, profile.values, rows, reading)
    if codes is not None:
        check_at_cpg(path, profile.positions, codes, reading.strands == "as-is")
    return profile


def check_at_cpg(path: Path, positions: Mapping[str, np.ndarray], codes: Codes, either: bool = False) -> None:
    """Looks at the sequence of all sites, or of 300 of a larger file, evenly spread; N says nothing.

    Args:
        path: for the sentence.
        positions: sites (S,) per chromosome.
        codes: the genome.
        either: sites may be at the G of a CG, too.

    Raises:
        JaxepiError: if more than half of them are at no CG: build or base of positions are wrong.
    """
    total = sum(map(len, positions.values()))
    step = -(-total // _LOOKED_AT)
    looked_at, elsewhere, first = 0, 0, ""
    for chrom, own in positions.items():
        for site in own[::step].tolist() if step else ():
            before, own_base, after = codes(chrom, site - 1, site + 2).tolist()
            if own_base == N:
                continue
            looked_at += 1
            if [own_base, after] != [C, G] and not (either and [before, own_base] == [C, G]):
                elsewhere, first = elsewhere + 1, first or f"{chrom}:{site}-{site + 2}"
    if elsewhere > looked_at / 2:
        raise JaxepiError(
            f"{path}: {elsewhere} of {looked_at} sites are at no CG of the FASTA, such as {first}: check genome build, "
            "strand and whether positions count from 0 or 1 (--format, --bedgraph-base, --strands)"
        )


def read_positions(
    path: Path, reading: Reading = Reading(), lengths: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Sites (S,) int32 per chromosome from a file of two columns, chromosome and 1-based position.

    Raises:
        JaxepiError: as `read_profile`. With `unsorted="sort"` doubled sites count once.
    """
    parts: dict[str, list[Rows]] = {}
    previous = ""
    for block in read_blocks(path, 2):
        rows = plain_rows(block, one_based(block, 1), np.zeros(len(block)))
        previous = _by_chromosome(block, rows, reading, previous, lengths, parts)
    if not parts:
        raise JaxepiError(f"{path} holds no site: lines with chromosome and position were expected")
    sites = {}
    for chrom in sorted(parts):
        rows = Rows.join(parts[chrom])
        if reading.unsorted == "sort":
            sites[chrom] = np.unique(rows.position).astype(np.int32)
        else:
            sites[chrom] = _in_order(path, chrom, rows, reading).position.astype(np.int32)
    return sites


def _by_chromosome(
    block: TextBlock,
    rows: Rows,
    reading: Reading,
    previous: str,
    lengths: Mapping[str, int] | None,
    parts: dict[str, list[Rows]],
) -> str:
    """Sorts the rows of a block into `parts`; returns the chromosome of the last line."""
    names = block.text(0)[np.isin(block.lines, rows.line)] if len(rows.line) < len(block) else block.text(0)
    edges = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        if low == high:
            continue
        own = rows.take(np.arange(low, high))
        where = f"{block.path} line {own.line[0]}"
        chrom = harmonise(names[low].decode("utf-8", "replace"), reading.prefix)
        if reading.chroms is not None and chrom not in reading.chroms:
            continue
        if reading.extra_chroms == "ignore" and lengths is not None and chrom not in lengths:
            continue
        if chrom in parts and chrom != previous and reading.unsorted == "error":
            raise JaxepiError(
                f"{where}: {chrom} comes back after {previous}, so the file is not sorted: sort it by chromosome and "
                "position, or add --unsorted sort"
            )
        _check_place(where, chrom, own, lengths, block.path)
        parts.setdefault(chrom, []).append(own)
        previous = chrom
    return previous


def _check_place(where: str, chrom: str, rows: Rows, lengths: Mapping[str, int] | None, path: Path) -> None:
    if lengths is not None and chrom not in lengths:
        other = other_name(chrom, lengths)
        if other is not None:
            raise JaxepiError(naming_error(where, chrom, "the FASTA", other, PREFIX_OPTIONS))
        known = ", ".join(list(lengths)[:3]) + (" …" if len(lengths) > 3 else "")
        raise JaxepiError(
            f"{where}: chromosome {chrom!r} is not in the FASTA ({known}): use the genome of the profiles, or leave "
            "such chromosomes out with --chroms or --extra-chroms ignore"
        )
    end = _LARGEST if lengths is None else lengths[chrom]
    beyond = np.flatnonzero(rows.position >= end)
    if len(beyond):
        row = int(beyond[0])
        raise JaxepiError(
            f"{path} line {rows.line[row]}: position {rows.position[row] + 1} lies beyond the end of {chrom}, which "
            f"has {end} bp: use the genome build of the profiles"
        )


def _finish(path: Path, chrom: str, rows: Rows, form: str, reading: Reading, codes: Codes | None) -> Rows:
    """Order, doubles, strands and the least number of reads, for the sites of a chromosome."""
    rows = _in_order(path, chrom, rows, reading)
    if reading.strands == "join" and form in COUNTED:
        if form in UNSTRANDED:
            rows.strand = _strand_from_sequence(path, chrom, rows, codes)
        rows = _join_strands(path, chrom, rows)
    return rows.take(rows.total >= reading.min_reads) if reading.min_reads > 1 else rows


def _in_order(path: Path, chrom: str, rows: Rows, reading: Reading) -> Rows:
    step = np.diff(rows.position)
    falls = np.flatnonzero(step < 0)
    if len(falls) and reading.unsorted == "error":
        row = int(falls[0]) + 1
        raise JaxepiError(
            f"{path} line {rows.line[row]}: {chrom}:{rows.position[row] + 1} comes after "
            f"{chrom}:{rows.position[row - 1] + 1}, so the file is not sorted: sort it, or add --unsorted sort"
        )
    if len(falls):
        rows = rows.take(np.argsort(rows.position, kind="stable"))
        step = np.diff(rows.position)
    same = np.flatnonzero(step == 0)
    if len(same):
        raise _doubled(path, chrom, rows, int(same[0]))
    return rows


def _doubled(path: Path, chrom: str, rows: Rows, row: int) -> JaxepiError:
    first, second = sorted(rows.line[row : row + 2].tolist())
    return JaxepiError(
        f"{path} line {second}: {chrom}:{rows.position[row] + 1} is there twice, first in line {first}: keep one line "
        "a site (both strands of a CpG must be merged)"
    )


def _strand_from_sequence(path: Path, chrom: str, rows: Rows, codes: Codes | None) -> np.ndarray:
    """Reverse where the base is the G of a CpG. Without a genome only files with merged strands can be used."""
    if codes is None:
        beside = np.flatnonzero(np.diff(rows.position) == 1)
        if len(beside):
            row = int(beside[0]) + 1
            raise JaxepiError(
                f"{path} line {rows.line[row]}: {chrom}:{rows.position[row] + 1} is the other strand of the line "
                "before: give --fasta, with which strands can be joined, or merge them beforehand"
            )
        return rows.strand
    strand = np.zeros(len(rows.position), np.int8)
    low = 0
    while low < len(rows.position):
        start = int(rows.position[low])
        high = int(np.searchsorted(rows.position, start + _STRETCH))
        offset = rows.position[low:high] - start + 1
        bases = codes(chrom, start - 1, int(rows.position[high - 1]) + 1)
        strand[low:high] = (bases[offset] == G) & (bases[offset - 1] == C)
        low = high
    return strand


def _join_strands(path: Path, chrom: str, rows: Rows) -> Rows:
    """Moves reads of the reverse strand to the C of the forward strand and adds them up."""
    rows.position = rows.position - (rows.strand == REVERSE)
    before = np.flatnonzero(rows.position < 0)
    if len(before):
        raise JaxepiError(
            f"{path} line {rows.line[before[0]]}: the first base of {chrom} cannot be a reverse strand's C"
        )
    rows = rows.take(np.lexsort((rows.strand, rows.position)))
    same = np.diff(rows.position) == 0
    doubled = np.flatnonzero(same & (np.diff(rows.strand) == 0))
    if len(doubled):
        raise _doubled(path, chrom, rows, int(doubled[0]))
    first = np.flatnonzero(np.concatenate([[True], ~same]))
    joined = rows.take(first)
    joined.methylated, joined.total = np.add.reduceat(rows.methylated, first), np.add.reduceat(rows.total, first)
    return joined


def _check_binary(path: Path, chrom: str, values: dict[str, np.ndarray], rows: Rows, reading: Reading) -> None:
    """Rounds, or refuses, values between 0 and 1 if `reading` says so."""
    value = values[chrom]
    if reading.values == "round":
        values[chrom] = np.rint(value)
    elif reading.values == "binary":
        between = np.flatnonzero((value != 0) & (value != 1))
        if len(between):
            row = int(between[0])
            raise JaxepiError(
                f"{path} line {rows.line[row]}: methylation of {chrom}:{rows.position[row] + 1} is {value[row]:g}, but "
                "--values binary allows 0 and 1 only: round with --values round, or allow fractions with --values as-is"
            )
