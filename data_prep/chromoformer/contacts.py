"""Contacts between genome fragments with normalised scores, and the choice of a gene's neighbours among them."""

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_prep.sources.text_tables import read_rows, split_line
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.annotation import Tss
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import Interval, make_interval, parse_interval
from jaxepi.genome.text_files import UNREADABLE, damaged, open_bytes, read_lines

DIRECTIONS = ("both", "as-listed")
WHOLE_SCORES = ("error", "accept")
_ENOUGH_SCORES = 20  # that are all whole numbers, to take them for counts
_BINARY = {b"\x89HDF": "an HDF5 file, such as .cool", b"HIC\0": "a Juicer .hic file", b"PK\3\4": "a zip archive"}
_PAIR = ("fragment", "neighbor")
_BEDPE = ("chrom1", "start1", "end1", "chrom2", "start2", "end2")
_WHAT = "a table of contacts"
_SCORE_AFTER_NAME = 8  # BEDPE: two intervals, name, score; without a name the score is column 7


class Contacts:
    """Scores by fragment and neighbour; looks up the fragments at a position."""

    def __init__(self) -> None:
        self._scores: dict[Interval, dict[Interval, float]] = {}
        self._places: dict[str, tuple[list[Interval], list[int], int]] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._scores.values()))

    def add(self, fragment: Interval, neighbor: Interval, score: float) -> None:
        """Adds a contact; of several scores of one pair the highest counts."""
        own = self._scores.setdefault(fragment, {})
        own[neighbor] = max(score, own.get(neighbor, -math.inf))
        self._places = None

    @property
    def chroms(self) -> set[str]:
        """Chromosomes with a fragment."""
        return {fragment.chrom for fragment in self._scores}

    def of(self, fragment: Interval) -> Mapping[Interval, float]:
        """Neighbours of a fragment with their scores."""
        return self._scores.get(fragment, {})

    def at(self, chrom: str, position: int) -> list[Interval]:
        """Fragments with contacts that contain a position, by start; one where fragments do not overlap."""
        if self._places is None:
            by_chrom: dict[str, list[Interval]] = {}
            for fragment in sorted(self._scores):
                by_chrom.setdefault(fragment.chrom, []).append(fragment)
            self._places = {
                name: (own, [fragment.start for fragment in own], max(fragment.length for fragment in own))
                for name, own in by_chrom.items()
            }
        if chrom not in self._places:
            return []
        own, starts, longest = self._places[chrom]
        low, high = bisect.bisect_left(starts, position - longest), bisect.bisect_right(starts, position)
        return [fragment for fragment in own[low:high] if fragment.end > position]


def read_contacts(
    path: Path,
    prefix: str = "as-is",
    direction: str = "both",
    min_score: float = 1.5,
    max_length: int = 40_000,
    score_column: str | None = None,
    accept_whole: bool = False,
) -> Contacts:
    """Reads a table of contacts and keeps those that can become neighbours.

    Args:
        path: columns fragment, neighbor (as chrom:start-end) and score; or chrom1, start1, end1, chrom2, start2, end2
            and score; or the latter without a header (BEDPE, `cooler dump --join`), score in column 8, else 7.
        prefix: see `jaxepi.genome.chroms.harmonise`.
        direction: `both` lets each fragment of a pair be the other's neighbour; `as-listed` only the second the
            first's.
        min_score: contacts must score more than this.
        max_length: bp that a neighbour may have.
        score_column: another name, or number from 1, of the score column.
        accept_whole: take scores that are all whole numbers, which counts without normalisation are.

    Raises:
        JaxepiError: for wrong columns or numbers, naming the line; or if no contact is left.
    """
    _check_text(path)
    contacts, whole = Contacts(), WholeScores(path, accept_whole)
    listed = 0
    for where, first, second, text in _pairs(path, score_column):
        if not all((*first, *second)):
            raise JaxepiError(f"{where} has an empty cell where a fragment was expected: mend or remove the line")
        score = _score(text, where)
        listed += 1
        whole.see(score)
        if not score > min_score:
            continue
        left, right = (_harmonised(region, prefix, where) for region in (first, second))
        if left == right:
            continue
        if right.length <= max_length:
            contacts.add(left, right, score)
        if direction == "both" and left.length <= max_length:
            contacts.add(right, left, score)
    whole.check()
    if not len(contacts):
        raise JaxepiError(
            f"{path} lists {listed} contacts, of which none scores above {min_score} with a neighbour of at most "
            f"{max_length} bp: lower --min-score or raise --max-pcre-length"
        )
    return contacts


class WholeScores:
    """Tells counts of reads from normalised scores: counts are whole numbers, all of them."""

    def __init__(self, path: Path, accept: bool) -> None:
        self._path, self._accept = path, accept
        self._seen, self._all_whole = 0, True

    def see(self, score: float) -> None:
        """Notes a score; NaN and 0 say nothing."""
        if score and not math.isnan(score):
            self._seen += 1
            self._all_whole &= score.is_integer()

    def check(self) -> None:
        """Raises JaxepiError if all of many scores were whole numbers."""
        if self._all_whole and self._seen >= _ENOUGH_SCORES and not self._accept:
            raise JaxepiError(
                f"{self._path} has whole numbers only as its {self._seen} scores, which are counts rather than "
                "normalised scores: give normalised ones (--score-column), or take them with --whole-scores accept"
            )


def _check_text(path: Path) -> None:
    """Says of a binary file of contacts what it is, and what to give instead."""
    with open_bytes(path, _WHAT) as file:
        try:
            kind = _BINARY.get(file.read(4))
        except UNREADABLE as error:
            raise damaged(path, error) from error
    if kind is not None:
        raise JaxepiError(
            f"{path} is {kind}, and a table of contacts was expected: write one with `cooler dump --join --balanced "
            "FILE.cool` (of a .hic file after `hic2cool convert`), or give matrices with --hic"
        )


def _score(text: str, where: str) -> float:
    """The score; an empty one is NaN (bins without a balanced value), which passes no cut."""
    if not text:
        return math.nan
    try:
        score = float(text)
    except ValueError:
        score = math.inf
    if math.isinf(score) or score < 0:
        raise JaxepiError(f"{where} has the score {text!r}: a number from 0 was expected")
    return score


def _harmonised(text: tuple[str, ...], prefix: str, where: str) -> Interval:
    try:
        region = parse_interval(text[0]) if len(text) == 1 else make_interval(*text)
    except ValueError as error:
        raise JaxepiError(f"{where} has a wrong fragment ({error}): chrom, start < end were expected") from error
    return region._replace(chrom=harmonise(region.chrom, prefix))


def _pairs(path: Path, score_column: str | None) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...], str]]:
    """(place in the file, one fragment, the other, score) of each row, as text."""
    lines = ((number, line) for number, line in read_lines(path) if line.strip() and not line.startswith("##"))
    first, first_line = next(lines, (0, None))
    if first_line is None:
        raise JaxepiError(f"{path} is empty: a table of contacts was expected")
    cells = split_line(first_line, path, first)
    if len(cells) > len(_BEDPE) and cells[1].isdigit() and cells[2].isdigit():
        yield from _headerless(path, len(cells), score_column)
        return
    score = score_column or "score"
    if score not in cells:
        raise JaxepiError(
            f"{path} has no column {score!r}{did_you_mean(score, cells)}: it has {', '.join(cells)}; name the column "
            "of scores with --score-column"
        )
    columns = next((names for names in (_PAIR, _BEDPE) if set(names) <= set(cells)), None)
    if columns is None:
        raise JaxepiError(
            f"{path} has the columns {', '.join(cells)}: {', '.join(_PAIR)} or {', '.join(_BEDPE)} were expected"
        )
    middle = len(columns) // 2
    for number, row in read_rows(path):
        text = tuple(row[name] for name in columns)
        yield f"{path} line {number}", text[:middle], text[middle:], row[score]


def _headerless(
    path: Path, width: int, score_column: str | None
) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...], str]]:
    column = score_column or str(min(width, _SCORE_AFTER_NAME))
    if not column.isdecimal() or not len(_BEDPE) < int(column) <= width:
        raise JaxepiError(f"{path} has no header and {width} columns: --score-column {column} names none from 7 on")
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        cells = split_line(line, path, number)
        if len(cells) < int(column):
            cells += [""] * (int(column) - len(cells))
        yield f"{path} line {number}", tuple(cells[:3]), tuple(cells[3:6]), cells[int(column) - 1].strip()


def read_tss_fragments(path: Path, prefix: str = "as-is") -> dict[str, Interval | None]:
    """Fragment of each start site (`chrom:start-end`), None where it has none; columns tss and fragment."""
    table: dict[str, Interval | None] = {}
    for number, row in read_rows(path, ("tss", "fragment")):
        where = f"{path} line {number}"
        tss = str(_harmonised((row["tss"],), prefix, where))
        table[tss] = _harmonised((row["fragment"],), prefix, where) if row["fragment"] else None
    return table


def select_neighbors(
    contacts: Contacts,
    sites: Sequence[Tss],
    max_neighbors: int,
    fragments: Mapping[str, Interval | None] | None = None,
) -> tuple[tuple[Interval, ...], tuple[float, ...]]:
    """A gene's neighbours, best score first (equal ones in the order of their text), and their scores.

    All start sites count, in their order; a neighbour of several keeps the score that it has with the first.

    Args:
        contacts: those that pass the cuts.
        sites: start sites of the gene, the preferred one first.
        max_neighbors: how many to keep.
        fragments: fragment of each start site, as `read_tss_fragments` gives it; without it those that contain it.
    """
    found: dict[Interval, float] = {}
    for site in sites:
        if fragments is None:
            own: list[Interval] = contacts.at(site.chrom, site.position)
        else:
            fragment = fragments.get(str(site))
            own = [] if fragment is None else [fragment]
        for fragment in own:
            for neighbor, score in contacts.of(fragment).items():
                found.setdefault(neighbor, score)
    best = sorted(found.items(), key=lambda entry: (-entry[1], str(entry[0])))[:max_neighbors]
    return tuple(region for region, _ in best), tuple(score for _, score in best)
