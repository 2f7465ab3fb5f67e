"""Tables as text: comma- or tab-separated, plain or gzipped; each row comes with its line number for messages."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.intervals import parse_position
from jaxepi.genome.text_files import read_lines

Row = dict[str, str]


def split_line(line: str, path: Path, number: int) -> list[str]:
    """Cells of a line: by tabs if there are any, else by commas (quotes are understood), without blanks around.

    Raises:
        JaxepiError: if they cannot be told apart; `path` and the line's `number` are for the sentence.
    """
    if "\t" in line:
        return [cell.strip() for cell in line.split("\t")]
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error as error:
        raise JaxepiError(f"{path} line {number} is no row of a table ({error}): mend or remove it") from error


def read_rows(path: Path, required: Sequence[str] = ()) -> Iterator[tuple[int, Row]]:
    """(line number, column -> cell) of a table with a header row; cells that a row lacks at its end are empty.

    Raises:
        JaxepiError: if there is no header, a required column is missing, a column is there twice, or a row has more
            cells than the header.
    """
    columns: list[str] | None = None
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("##"):
            continue
        cells = split_line(line, path, number)
        if columns is None:
            columns = cells
            _check_columns(path, columns, required)
            continue
        if any(cells[len(columns) :]):
            raise JaxepiError(
                f"{path} line {number} has {len(cells)} cells, but its header has {len(columns)} columns: mend the row"
            )
        cells += [""] * (len(columns) - len(cells))
        yield number, dict(zip(columns, cells, strict=False))
    if columns is None:
        raise JaxepiError(f"{path} is empty: a table with a header row was expected")


def _check_columns(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise JaxepiError(f"{path} has two columns {twice!r}: which one counts cannot be told, so rename or remove one")
    missing = next((name for name in required if name not in columns), None)
    if missing is not None:
        raise JaxepiError(
            f"{path} has no column {missing!r}{did_you_mean(missing, columns)}: it has {', '.join(columns)}, and "
            f"{', '.join(required)} are needed"
        )


def read_sizes(path: Path) -> dict[str, int]:
    """Chromosome -> length in bp, in the order of a file with both in the first two columns.

    Raises:
        JaxepiError: a line without them, a chromosome that comes twice, or no line.
    """
    lengths: dict[str, int] = {}
    for number, line in read_lines(path):
        cells = line.split()
        if not cells:
            continue
        try:
            length = parse_position(cells[1])
        except (IndexError, ValueError) as error:
            raise JaxepiError(
                f"{path} line {number} is {line[:60]!r}: a chromosome and its length were expected"
            ) from error
        if cells[0] in lengths:
            raise JaxepiError(f"{path} line {number} lists {cells[0]} once more: remove the line")
        lengths[cells[0]] = length
    if not lengths:
        raise JaxepiError(f"{path} is empty: a chromosome and its length a line were expected")
    return lengths
