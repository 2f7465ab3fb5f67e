"""The text formats of CpG sites, and the rows that they hold.

| format | columns | position | value |
|---|---|---|---|
| tsv | chromosome, position, value | 1-based, of the C | 0 to 1 |
| bedgraph | chromosome, start, end, value | start is 0-based | 0 to 1 |
| bismark | chromosome, start, end, percent, methylated and unmethylated reads | 1-based, of either C | of the reads |
| methyldackel | as bismark, under a line `track type="bedGraph"` | start is 0-based, of either C | of the reads |
| allc | chromosome, position, strand, context, methylated, all reads, call | 1-based, of either C | of the reads |
| bedmethyl | BED9, reads, percent (, more) | 0-based, of either C | percent of the reads |
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.sources.text_blocks import TextBlock, first_line
from jaxepi.errors import JaxepiError

# Formats and their least number of columns.
FORMATS = {"tsv": 3, "bedgraph": 4, "bismark": 6, "methyldackel": 6, "allc": 7, "bedmethyl": 11}
COUNTED = ("bismark", "methyldackel", "allc", "bedmethyl")  # the files tell numbers of reads
UNSTRANDED = ("bismark", "methyldackel")  # they have both strands, and do not tell which
FORWARD, REVERSE = 0, 1


@dataclass
class Rows:
    """Sites in file order: position, strand, methylated share of `total` reads, line, each (S,)."""

    position: np.ndarray
    strand: np.ndarray
    methylated: np.ndarray
    total: np.ndarray
    line: np.ndarray

    def take(self, chosen: np.ndarray) -> "Rows":
        """The rows at the indices, or where the mask is true."""
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @staticmethod
    def join(parts: list["Rows"]) -> "Rows":
        """One after the other."""
        return Rows(*(np.concatenate([getattr(p, name) for p in parts]) for name in Rows.__dataclass_fields__))


def recognise(path: Path) -> str:
    """The format of a file, by the columns of its first data line.

    Raises:
        JaxepiError: if they fit no format.
    """
    number, fields, is_bedgraph = first_line(path)
    columns = len(fields)
    signed = [text in ("+", "-", ".") for text in fields]
    if is_bedgraph and columns in (4, 6):  # the line above them tells that positions count from 0
        return "bedgraph" if columns == 4 else "methyldackel"
    if columns >= 11 and signed[5]:
        return "bedmethyl"
    if columns == 7 and signed[2]:
        return "allc"
    if columns in (3, 4, 6) and fields[1].isdigit():
        return {3: "tsv", 4: "bedgraph", 6: "bismark"}[columns]
    if columns in (3, 4, 6) and not any(text.isdigit() for text in fields):
        raise JaxepiError(
            f"{path} line {number} is a header ({' '.join(fields)[:60]!r}) where a site was expected: remove it, or "
            "begin it with #"
        )
    raise JaxepiError(
        f"{path} line {number} has {columns} column(s) that fit no known layout of CpG sites "
        f"({', '.join(FORMATS)}): mend the file, or name its layout with --format"
    )


def one_based(block: TextBlock, column: int) -> np.ndarray:
    """0-based positions (n,) from a column of 1-based ones."""
    position = block.integers(column, "a position (a whole number from 1)")
    zero = np.flatnonzero(position < 1)
    if len(zero):
        raise block.error(int(zero[0]), f"position {position[zero[0]]}, but the first base of a chromosome is 1 here")
    return position - 1


def plain_rows(block: TextBlock, position: np.ndarray, value: np.ndarray) -> Rows:
    """Rows of forward positions (n,) and values (n,), each counting as one read."""
    return Rows(position, np.full(len(block), FORWARD, np.int8), value, np.ones(len(block)), block.lines)


def _tsv(block: TextBlock, bedgraph_base: int) -> Rows:
    return plain_rows(block, one_based(block, 1), _share(block, 2))


def _share(block: TextBlock, column: int) -> np.ndarray:
    value = block.numbers(column, "a methylation value")
    outside = np.flatnonzero(~((value >= 0) & (value <= 1)))
    if len(outside):
        row = int(outside[0])
        raise block.error(row, f"methylation value {block.shown(row, column)}, but values lie between 0 and 1")
    return value


def _start(block: TextBlock) -> np.ndarray:
    """0-based starts (n,) of intervals of one CpG each."""
    start = block.integers(1, "a start (a whole number)")
    size = block.integers(2, "an end (a whole number)") - start
    wrong = np.flatnonzero((size < 1) | (size > 2))
    if len(wrong):
        raise block.error(int(wrong[0]), f"an interval of {size[wrong[0]]} bp, but each line is one CpG of 1 or 2 bp")
    return start


def _bedgraph(block: TextBlock, bedgraph_base: int) -> Rows:
    start = _start(block)
    position = one_based(block, 1) if bedgraph_base else start
    return plain_rows(block, position, _share(block, 3))


def _counted(block: TextBlock, rows: Rows, wanted: np.ndarray | None = None) -> Rows:
    """Counts to shares later; checks them now."""
    over = np.flatnonzero(rows.methylated > rows.total)
    if len(over):
        row = int(over[0])
        raise block.error(row, f"{rows.methylated[row]:g} methylated of {rows.total[row]:g} reads, which are too many")
    kept = rows.total > 0
    return rows.take(kept if wanted is None else kept & wanted)


def _bismark(block: TextBlock, bedgraph_base: int) -> Rows:
    return _with_reads(block, one_based(block, 1))


def _methyldackel(block: TextBlock, bedgraph_base: int) -> Rows:
    return _with_reads(block, _start(block))


def _with_reads(block: TextBlock, position: np.ndarray) -> Rows:
    methylated = block.integers(4, "a number of methylated reads")
    total = methylated + block.integers(5, "a number of unmethylated reads")
    rows = plain_rows(block, position, methylated.astype(np.float64))
    rows.total = total.astype(np.float64)
    return _counted(block, rows)


def _stranded(block: TextBlock, column: int) -> np.ndarray:
    sign = block.text(column)
    wrong = np.flatnonzero(~np.isin(sign, [b"+", b"-", b"."]))
    if len(wrong):
        raise block.error(int(wrong[0]), f"column {column + 1} is {block.shown(int(wrong[0]), column)}, not + or -")
    return np.where(sign == b"-", REVERSE, FORWARD).astype(np.int8)


def _allc(block: TextBlock, bedgraph_base: int) -> Rows:
    methylated = block.integers(4, "a number of methylated reads").astype(np.float64)
    total = block.integers(5, "a number of reads").astype(np.float64)
    rows = Rows(one_based(block, 1), _stranded(block, 2), methylated, total, block.lines)
    return _counted(block, rows, np.char.startswith(block.text(3), b"CG"))


def _bedmethyl(block: TextBlock, bedgraph_base: int) -> Rows:
    start = block.integers(1, "a start (a whole number)")
    total = block.integers(9, "a number of reads").astype(np.float64)
    percent = block.numbers(10, "a percentage")
    outside = np.flatnonzero(~((percent >= 0) & (percent <= 100)))
    if len(outside):
        row = int(outside[0])
        raise block.error(row, f"methylation {block.shown(row, 10)}, but percentages lie between 0 and 100")
    wanted = None
    methylated = percent / 100 * total
    if block.first.shape[1] >= 18:  # of modkit: other modifications stand in lines of their own, and reads are counted
        wanted = np.char.partition(block.text(3), b",")[:, 0] == b"m"
        methylated = block.integers(11, "a number of methylated reads").astype(np.float64)
    return _counted(block, Rows(start, _stranded(block, 5), methylated, total, block.lines), wanted)


PARSERS: dict[str, Callable[[TextBlock, int], Rows]] = {
    "tsv": _tsv,
    "bedgraph": _bedgraph,
    "bismark": _bismark,
    "methyldackel": _methyldackel,
    "allc": _allc,
    "bedmethyl": _bedmethyl,
}
