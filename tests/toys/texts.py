"""Files for property-based tests: sound and damaged texts that hypothesis makes, and what a reader may do with them."""

import contextlib
import gzip
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import BOM

# What tables hold by accident: numbers of every kind, other scripts' digits and blanks, what parts cells and lines.
NASTY = (
    *("", " ", "-1", "0", "1", "+5", "1e5", "1.5", "NaN", "nan", "inf", "-inf", "1e400", "0x10", "1_000", "1,000"),
    *("9" * 19, "9" * 30, "9" * 5000, "²", "٣", "Ａ", "\u2028", "\x85", "\xa0", "\x00", "\x1c", "\ufeff", "\r"),
    *('"', "'", "#", "##", ",", ";", ":", "\t", "\n", "chr1:5-2", "chr1:0-5", "+", "-", ".", "track", "A" * 300),
)

chroms = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.*|-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("track", "browser")
)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)
positions = st.integers(0, 2**31 - 3)


@st.composite
def intervals(draw: Any, longest: int = 50_000) -> tuple[str, int, int]:
    start = draw(st.integers(0, 10**9))
    return draw(chroms), start, start + draw(st.integers(1, longest))


@st.composite
def files(draw: Any, lines: Sequence[str]) -> bytes:
    """The lines as one of the files that mean the same: either line end, a BOM, gzipped, no end of the last line."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    content = (BOM if draw(st.booleans()) else b"") + end.join(lines).encode()
    content += end.encode() if draw(st.booleans()) else b""
    return gzip.compress(content, mtime=0) if draw(st.booleans()) else content


@st.composite
def damaged(draw: Any, sound: Sequence[str], columns: str = "\t") -> bytes:
    """The text of some sound lines after a few accidents, or any text, or any bytes."""
    kind = draw(st.integers(0, 9))
    if kind < 2:
        return draw(st.binary(max_size=60)) if kind else draw(st.text(max_size=60)).encode()
    lines = [line.split(columns) for line in sound]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(lines) - 1))
        cell = draw(st.integers(0, len(lines[row]) - 1))
        new = draw(st.sampled_from(NASTY) | st.text(max_size=4))
        accident = draw(st.integers(0, 4))
        if accident == 0:
            lines[row][cell] = new
        elif accident == 1:
            lines[row][cell] += new
        elif accident == 2:
            lines[row].insert(cell, new)
        elif accident == 3 and len(lines[row]) > 1:
            del lines[row][cell]
        else:
            lines.append(list(lines[row]))
    return "\n".join(columns.join(line) for line in lines).encode()


@contextlib.contextmanager
def file_of(content: bytes, name: str = "file.txt") -> Iterator[Path]:
    """A file in a folder of its own, for one example."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def read_or_tell(read: Callable[[Path], Any], content: bytes, name: str = "file.txt", named: bool = True) -> Any:
    """What `read` makes of a file; None if it said in one line, with the file's name if `named`, why it does not."""
    with file_of(content, name) as path:
        try:
            return read(path)
        except JaxepiError as problem:
            assert (name in str(problem) or not named) and len(str(problem).splitlines()) == 1, str(problem)
            return None
