"""The one reader of text files: plain, gzipped or block-gzipped (told by their bytes), with or without a BOM.

Every error is one sentence with the file and, for a line, its number.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import Interval, make_interval

UNREADABLE = (OSError, EOFError, zlib.error)  # what reading a damaged file may raise
BOM = b"\xef\xbb\xbf"
_PASSED_OVER = ("track", "browser")
_GZIP = b"\x1f\x8b"


class BedRow(NamedTuple):
    """A row of a BED file: its line, its interval, and the cells after the third column."""

    line: int
    interval: Interval
    further: list[str]


def open_bytes(path: Path, what: str = "a text file") -> IO[bytes]:
    """A file for reading bytes, unpacked if its first bytes say gzip.

    Args:
        path: the file.
        what: what it should be, for the sentence.

    Raises:
        JaxepiError: if there is no such file, or it may not be read.
    """
    if not path.exists():
        raise JaxepiError(f"{path} does not exist: {what} was expected")
    if not path.is_file():
        raise JaxepiError(f"{path} is a folder: {what} was expected")
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_GZIP)) == _GZIP
        return gzip.open(path, "rb") if zipped else path.open("rb")
    except OSError as error:
        raise JaxepiError(f"{path} cannot be opened ({error.strerror}): {what} was expected") from error


def damaged(path: Path, error: Exception) -> JaxepiError:
    """The sentence for a file that breaks off or is no text."""
    return JaxepiError(f"{path} cannot be read to its end ({error}): copy or download it again")


def read_lines(path: Path, what: str = "a text file") -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end).

    Raises:
        JaxepiError: if the file is missing, damaged or no text.
    """
    with open_bytes(path, what) as file:
        number = 0
        try:
            for number, raw in enumerate(file, 1):
                if b"\0" in raw:
                    raise JaxepiError(f"{path} line {number} is no text (a zero byte): {what} was expected")
                line = (raw.removeprefix(BOM) if number == 1 else raw).decode("utf-8").rstrip("\r\n")
                if "\r" in line:
                    raise JaxepiError(
                        f"{path} line {number} has a carriage return inside: lines were expected to end with LF or CRLF"
                    )
                yield number, line
        except UnicodeDecodeError as error:
            raise JaxepiError(f"{path} line {number} is no text ({error.reason}): {what} was expected") from error
        except UNREADABLE as error:
            raise damaged(path, error) from error


def is_passed_over(line: str) -> bool:
    """Whether a line holds no data: blank, a comment, or a `track` or `browser` line."""
    words = line.split(None, 1)
    return not words or line.startswith("#") or words[0] in _PASSED_OVER


def read_bed(path: Path, prefix: str = "as-is") -> Iterator[BedRow]:
    """The rows of a BED file. Columns are separated by tabs, else blanks, else commas.

    Blank lines, comments, `track` and `browser` lines and one line of column names at the top are passed over.

    Args:
        path: the file.
        prefix: see `jaxepi.genome.chroms.harmonise`.

    Raises:
        JaxepiError: a line that is no interval, told with its number.
    """
    titles_allowed = True
    for number, line in read_lines(path, "a BED file"):
        if is_passed_over(line):
            continue
        cells = _bed_cells(line)
        titles = titles_allowed and len(cells) >= 3 and cells[1].isidentifier() and cells[2].isidentifier()
        titles_allowed = False
        if titles:
            continue
        if len(cells) < 3:
            raise JaxepiError(
                f"{path} line {number} has {len(cells)} column(s), but a BED file has chromosome, start and end"
            )
        try:
            interval = make_interval(harmonise(cells[0], prefix), cells[1], cells[2])
        except ValueError as error:
            raise JaxepiError(f"{path} line {number}: {error}") from None
        yield BedRow(number, interval, cells[3:])


def _bed_cells(line: str) -> list[str]:
    if "\t" in line:
        return [cell.strip() for cell in line.split("\t")]
    cells = line.split()
    return line.replace(",", " ").split() if "," in cells[0] else cells
