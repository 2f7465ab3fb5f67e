"""The table of tracks (targets.txt of the original): which file is which track, and how its values become bins."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.sources.signals import kind_of_signal
from data_prep.sources.text_tables import Row, read_rows
from jaxepi.errors import JaxepiError, did_you_mean

# How the values of a bin become one; see `data_prep.coverage.transforms`.
SUM_STATS = ("sum", "mean", "avg", "median", "max", "peak", "sum_sqrt", "mean_sqrt", "avg_sqrt", "sum_exp75")
_KNOWN = ("identifier", "file", "clip", "clip_soft", "scale", "sum_stat", "description", "strand_pair", "genome")


@dataclass(frozen=True)
class Target:
    """One track.

    Attributes:
        name: its identifier; `name#place` if an earlier track has the same one.
        path: BigWig, BED or HDF5 file.
        description: free text, the assay before a colon.
        clip: largest value of a bin; None = no limit.
        clip_soft: value above which bins grow as a square root; None = none.
        scale: factor.
        sum_stat: one of `SUM_STATS`.
        strand_pair: place of the track of the opposite strand; the own one if there is none.
        peaks: BED file of its peaks, for labels; None = none.
    """

    name: str
    path: Path
    description: str = ""
    clip: float | None = None
    clip_soft: float | None = None
    scale: float = 1.0
    sum_stat: str = "sum"
    strand_pair: int = 0
    peaks: Path | None = None


@dataclass(frozen=True)
class TargetTable:
    """The tracks in order, and the table as it was given: its columns, and the cells of each row."""

    targets: tuple[Target, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    repeated: tuple[str, ...]  # identifiers that several tracks share

    def text(self) -> str:
        """The table, tab-separated, with its header."""
        return "".join("\t".join(cells) + "\n" for cells in (self.columns, *self.cells))


def read_targets(path: Path, genome: str | None = None, files: bool = True) -> TargetTable:
    """Reads a tab-separated table whose first column is the index of a track.

    Args:
        path: the table; files are looked up beside it unless their paths are absolute.
        genome: take only rows whose column `genome` says so; needed if the table has several.
        files: whether the files of the tracks must be there.

    Raises:
        JaxepiError: a column or file that is missing, a cell that is no number where one is expected, a statistic that
            is none, a strand pair that is no track or not mutual; the sentence names the line.
    """
    rows = list(read_rows(path, ("identifier", "file")))
    if not rows:
        raise JaxepiError(f"{path} has a header and no row: one line a track was expected")
    columns = tuple(rows[0][1])
    if columns[0] in _KNOWN:
        raise JaxepiError(
            f"{path} begins with the column {columns[0]!r}: the first column is the index of a track, so put one there"
        )
    rows = _of_genome(path, rows, genome)
    numbers = _numbers(path, rows, columns[0])
    targets: list[Target] = []
    taken: dict[str, str] = {}
    repeated: list[str] = []
    for place, (line, row) in enumerate(rows):
        target = _target(path, line, row, place, numbers, files)
        if target.name in taken:
            repeated.append(target.name)
            target = Target(**{**target.__dict__, "name": f"{target.name}#{place}"})
        taken[target.name] = target.name
        targets.append(target)
    _check_pairs(path, [line for line, _ in rows], targets)
    cells = tuple(tuple(row[name] for name in columns) for _, row in rows)
    return TargetTable(tuple(targets), columns, cells, tuple(dict.fromkeys(repeated)))


def _of_genome(path: Path, rows: list[tuple[int, Row]], genome: str | None) -> list[tuple[int, Row]]:
    named = list(dict.fromkeys(row.get("genome", "") for _, row in rows))
    if genome is not None:
        if genome not in named:
            has = ", ".join(name for name in named if name) or "no genome at all"
            raise JaxepiError(
                f"--genome is {genome}{did_you_mean(genome, named)}, but the column `genome` of {path} names {has}"
            )
        return [(line, row) for line, row in rows if row["genome"] == genome]
    if len(named) > 1:
        raise JaxepiError(
            f"{path} has tracks of {len(named)} genomes ({', '.join(repr(name) for name in named[:5])}): prepare one "
            "after the other, each with --genome NAME"
        )
    return rows


def _numbers(path: Path, rows: Sequence[tuple[int, Row]], column: str) -> dict[str, int]:
    """Index as the table says it -> place among the tracks."""
    numbers: dict[str, int] = {}
    for place, (line, row) in enumerate(rows):
        index = row[column]
        if not index.isdecimal():
            raise JaxepiError(
                f"{path} line {line} begins with {index!r}: the index of the track, a number, was expected"
            )
        if index in numbers:
            raise JaxepiError(
                f"{path} line {line} has the index {index} once more: give each track an index of its own"
            )
        numbers[index] = place
    return numbers


def _target(path: Path, line: int, row: Row, place: int, numbers: Mapping[str, int], files: bool) -> Target:
    where = f"{path} line {line}"
    name, file, peak = row["identifier"], row["file"], row.get("peak")
    if not name or not file:
        raise JaxepiError(f"{where} has no {'file' if name else 'identifier'}: each track needs both")
    source, peaks = _beside(path, file), _beside(path, peak) if peak else None
    if files:
        _check_there(source, where, f"the file of track {name!r}")
        kind_of_signal(source)
        if peaks is not None:
            _check_there(peaks, where, f"the peaks of track {name!r}")
    stat = row.get("sum_stat") or "sum"
    if stat not in SUM_STATS:
        raise JaxepiError(f"{where} has the sum_stat {stat!r}{did_you_mean(stat, SUM_STATS)}: one of "
                          f"{', '.join(SUM_STATS)} was expected")  # fmt: skip
    clip, soft = (_number(where, row, column) for column in ("clip", "clip_soft"))
    scale = _number(where, row, "scale", positive=False)
    if clip is not None and soft is not None and soft >= clip:
        raise JaxepiError(
            f"{where} has clip_soft {soft:g}, not below its clip {clip:g}: the soft clip would do nothing"
        )
    pair = row.get("strand_pair") or row[next(iter(row))]
    if pair not in numbers:
        raise JaxepiError(
            f"{where} has the strand_pair {pair}, which is no index of a track in the table: name the track of the "
            "opposite strand, or the own one"
        )
    return Target(
        name, source, row.get("description", ""), clip, soft, 1.0 if scale is None else scale, stat,
        numbers[pair], peaks,
    )  # fmt: skip


def _beside(table: Path, name: str) -> Path:
    """The file that a cell names; it lies beside the table unless its path is absolute."""
    return Path(name if os.path.isabs(name) else os.path.join(table.absolute().parent, name))


def _check_there(path: Path, where: str, what: str) -> None:
    """Raises JaxepiError if what a row names is no file."""
    if not os.path.isfile(path):  # unlike Path.is_file, also answers for what no name can be
        state = "is a folder" if os.path.isdir(path) else "does not exist"
        raise JaxepiError(f"{str(path)[:200]} {state}: {where} names it as {what}")


def _number(where: str, row: Row, column: str, positive: bool = True) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value == 0 or (positive and value < 0):
        raise JaxepiError(
            f"{where} has the {column} {text!r}: a number {'above' if positive else 'other than'} 0 was expected, or "
            "an empty cell"
        )
    return value


def _check_pairs(path: Path, lines: Sequence[int], targets: Sequence[Target]) -> None:
    for place, target in enumerate(targets):
        back = targets[target.strand_pair].strand_pair
        if back != place:
            raise JaxepiError(
                f"{path} line {lines[place]}: the strand_pair of {target.name!r} is "
                f"{targets[target.strand_pair].name!r}, whose own is {targets[back].name!r}: pairs must be mutual"
            )
