"""Large tables of text in blocks of lines, parsed column by column with NumPy; errors name file and line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import BOM, UNREADABLE, damaged, is_passed_over, open_bytes, read_lines

_BLOCK_BYTES = 4 << 20
_WIDEST_FIELD = 256
_NEWLINE, _TAB, _BLANK, _RETURN, _HASH = b"\n\t \r#"
_WHAT = "a file of CpG sites"


@dataclass(frozen=True)
class TextBlock:
    """Some data lines of a file, all with the same number of columns.

    Attributes:
        path: for sentences.
        letters: bytes of the block.
        lines: line numbers (n,) in the file, from 1.
        first: where the columns begin in `letters`, (n, columns).
        last: where they end, exclusive, (n, columns).
    """

    path: Path
    letters: np.ndarray
    lines: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)

    def text(self, column: int) -> np.ndarray:
        """A column as byte strings (n,)."""
        first, size = self.first[:, column], self.last[:, column] - self.first[:, column]
        widest = max(int(size.max()), 1)
        if widest > _WIDEST_FIELD:
            raise self.error(int(size.argmax()), f"column {column + 1} has {widest} letters")
        offset = np.arange(widest)
        inside = offset < size[:, None]
        picked = self.letters[np.where(inside, first[:, None] + offset, 0)]
        return np.ascontiguousarray(np.where(inside, picked, 0).astype(np.uint8)).view(f"S{widest}")[:, 0]

    def integers(self, column: int, what: str) -> np.ndarray:
        """A column of whole numbers of 0 and above, (n,) int64."""
        first, size = self.first[:, column], self.last[:, column] - self.first[:, column]
        value = np.zeros(len(self), np.int64)
        bad = (size < 1) | (size > 18)
        for i in range(min(int(size.max()), 18)):
            inside = i < size
            digit = self.letters[np.where(inside, first + i, 0)].astype(np.int64) - ord("0")
            bad |= inside & ((digit < 0) | (digit > 9))
            value = np.where(inside, value * 10 + digit, value)
        if bad.any():
            row = int(bad.argmax())
            raise self.error(row, f"column {column + 1} is {self.shown(row, column)}, not {what}")
        return value

    def numbers(self, column: int, what: str) -> np.ndarray:
        """A column of decimal numbers, (n,) float64."""
        text = self.text(column)
        # A single cell's file has few different values.
        known, place = np.unique(text, return_inverse=True)
        try:
            return known.astype(np.float64)[place]
        except ValueError:
            row = next(i for i, field in enumerate(text) if not _is_number(field))
            raise self.error(row, f"column {column + 1} is {self.shown(row, column)}, not {what}") from None

    def shown(self, row: int, column: int) -> str:
        """A field for a sentence."""
        field = self.letters[self.first[row, column] : self.last[row, column]].tobytes()[:40]
        return repr(field.decode("utf-8", "replace"))

    def error(self, row: int, problem: str) -> JaxepiError:
        """The sentence for a row of the block."""
        return JaxepiError(f"{self.path} line {self.lines[row]}: {problem}")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def first_line(path: Path) -> tuple[int, list[str], bool]:
    """The first data line: its number from 1, its fields, and whether a line `track type=bedGraph` stands before it.

    Raises:
        JaxepiError: if there is no data line.
    """
    is_bedgraph = False
    for number, line in read_lines(path, _WHAT):
        is_bedgraph |= line.startswith("track") and "bedgraph" in line.lower()
        if not is_passed_over(line):
            return number, line.split(), is_bedgraph
    raise JaxepiError(f"{path} holds no line of data: lines with chromosome, position and value were expected")


def read_blocks(path: Path, columns: int | None = None) -> Iterator[TextBlock]:
    """The data lines of a file in blocks. Columns are parted by one tab or one blank each.

    Comments (`#`), empty lines, `track` and `browser` lines are passed over.

    Args:
        path: the file, plain or gzipped.
        columns: how many columns each line must have; None = as many as the first one.

    Raises:
        JaxepiError: a line with another number of columns, or a file that cannot be read.
    """
    before, rest = 0, b""
    with open_bytes(path, _WHAT) as file:
        while True:
            try:
                raw = file.read(_BLOCK_BYTES)
            except UNREADABLE as error:
                raise damaged(path, error) from error
            text = rest + raw if before or rest else raw.removeprefix(BOM)
            end = text.rfind(b"\n") + 1 if raw else len(text)
            text, rest = text[:end], text[end:]
            if text:
                if b"\0" in text:
                    line = before + 1 + text.count(b"\n", 0, text.index(b"\0"))
                    raise JaxepiError(f"{path} line {line} is no text (a zero byte): {_WHAT} was expected")
                if not text.endswith(b"\n"):
                    text += b"\n"
                block = _cut(path, np.frombuffer(text, np.uint8), before, columns)
                if block is not None:
                    columns = block.first.shape[1]
                    yield block
                before += text.count(b"\n")
            if not raw:
                return


def _cut(path: Path, letters: np.ndarray, before: int, columns: int | None) -> TextBlock | None:
    """Finds the fields of whole lines."""
    ends = np.flatnonzero(letters == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lines = before + 1 + np.arange(len(ends))
    ends = ends - ((ends > starts) & (letters[ends - 1] == _RETURN))
    kept = (ends > starts) & (letters[starts] != _HASH)
    for row in np.flatnonzero(kept & np.isin(letters[starts], list(b"tb"))):
        kept[row] = not is_passed_over(letters[starts[row] : ends[row]].tobytes().decode("utf-8", "replace"))
    starts, ends, lines = starts[kept], ends[kept], lines[kept]
    if not len(lines):
        return None
    gaps = np.flatnonzero((letters == _TAB) | (letters == _BLANK))
    low, high = np.searchsorted(gaps, starts), np.searchsorted(gaps, ends)
    columns = columns or int(high[0] - low[0]) + 1
    wrong = np.flatnonzero(high - low + 1 != columns)
    if len(wrong):
        row = int(wrong[0])
        raise JaxepiError(
            f"{path} line {lines[row]} has {high[row] - low[row] + 1} column(s) where {columns} were expected: "
            "mend or remove the line, or name the layout of the file with --format"
        )
    between = gaps[low[:, None] + np.arange(columns - 1)] if columns > 1 else np.empty((len(lines), 0), np.int64)
    first = np.concatenate([starts[:, None], between + 1], axis=1)
    last = np.concatenate([between, ends[:, None]], axis=1)
    return TextBlock(path, letters, lines, first, last)
