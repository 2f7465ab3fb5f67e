"""What the malformed-input campaign does to files and command lines: each change says what has to come of it."""

import functools
import gzip
import json
import operator
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# What has to come of a change.
REFUSED = "refused"  # one sentence; anything else is wrong
SAME = "same"  # harmless: the result of the valid input
EITHER = "either"  # one sentence, a warning, or the result of the valid input, such as for a bit that nobody reads
UNPROTECTED = "unprotected"  # the format has no checksum there: whatever is read, but no traceback

_FOREIGN = {
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "an HTML page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "random bytes": None,
}


@dataclass
class Case:
    """One malformed input in the making: a folder with copies of the files, and the words of the command line."""

    folder: Path
    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One way to spoil a case.

    Attributes:
      name: what it does, the same for every seed.
      outcome: REFUSED, SAME, EITHER or UNPROTECTED.
      apply: changes the case and tells the details, for the list of what went wrong.
    """

    name: str
    outcome: str
    apply: Callable[[Case, np.random.Generator], object]


def on_file(file: str, what: str, outcome: str, change: Callable[[Path, np.random.Generator], object]) -> Change:
    """A change of one file: the one of this name, or one by chance of those that fit a pattern such as `run/**/*`."""

    def apply(case: Case, random: np.random.Generator) -> str:
        files = (
            sorted(path for path in case.folder.glob(file) if path.is_file()) if "*" in file else [case.folder / file]
        )
        path = files[int(random.integers(len(files)))]
        told = change(path, random)
        return f"{path.relative_to(case.folder)} {told or ''}"

    return Change(f"{file}: {what}", outcome, apply)


def on_bytes(file: str, what: str, outcome: str, change: Callable[[bytes, np.random.Generator], bytes]) -> Change:
    """A change of the content of one file, see `on_file`."""

    def edit(path: Path, random: np.random.Generator) -> None:
        path.write_bytes(change(path.read_bytes(), random))

    return on_file(file, what, outcome, edit)


def cut(data: bytes, random: np.random.Generator) -> bytes:
    """The first bytes, at least one and not all."""
    return data[: int(random.integers(1, len(data)))] if len(data) > 1 else b""


def flipped(data: bytes, random: np.random.Generator, first: int = 0, last: int | None = None) -> bytes:
    """One bit the other way, of bytes `first` to `last`."""
    changed = bytearray(data)
    changed[int(random.integers(first, min(last or len(data), len(data))))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def zeroed(data: bytes, random: np.random.Generator) -> bytes:
    """Up to 64 bytes in the middle are zero, as a disk gives blocks that were never written."""
    start = int(random.integers(0, max(len(data) - 64, 1)))
    changed = data[:start] + bytes(min(64, len(data) - start)) + data[start + 64 :]
    return changed if changed != data else b"\0" + data[1:]


def damage(file: str, *, checked: bool = True, packed: bool = False) -> list[Change]:
    """What may happen to any file on its way.

    Args:
      file: in the folder of the case.
      checked: whether its format notices missing and changed bytes (or does not read them).
      packed: whether the file may be gzipped once.
    """
    outcome = EITHER if checked else UNPROTECTED
    changes = [
        on_bytes(file, "cut", REFUSED if checked else UNPROTECTED, cut),
        on_bytes(file, "one bit flipped", outcome, flipped),
        on_bytes(file, "64 bytes zeroed", outcome, zeroed),
        on_bytes(file, "emptied", REFUSED, lambda data, random: b""),
        on_bytes(file, "zipped garbage", REFUSED, lambda data, random: b"\x1f\x8b\x08\0" + random.bytes(99)),
        on_bytes(file, "cut after zipping", REFUSED, lambda data, random: cut(gzip.compress(data, mtime=0), random)),
        on_bytes(file, "zipped twice", REFUSED, lambda data, random: gzip.compress(gzip.compress(data))),
        on_file(file, "a folder in its place", REFUSED, lambda path, random: _folder_for(path)),
        on_file(file, "gone", REFUSED, lambda path, random: path.unlink()),
    ]
    for name, content in _FOREIGN.items():
        changes.append(on_bytes(file, name, REFUSED, lambda data, random, c=content: c or random.bytes(len(data))))
    if packed:
        changes.append(on_bytes(file, "zipped", SAME, lambda data, random: gzip.compress(data)))
    return changes


def _folder_for(path: Path) -> None:
    path.unlink()
    path.mkdir()


def either(changes: Iterable[Change]) -> list[Change]:
    """The same changes of files that a door need not read."""
    return [Change(change.name, EITHER, change.apply) for change in changes]


def entries(file: str, outcome: str = EITHER) -> list[Change]:
    """What may be wrong with a JSON object: an entry by chance, of any depth, is gone or of another kind."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in inside:
            yield (*path, key)
            yield from places(item, (*path, key))

    def edit(what: str, replace: Callable[[Any], Any] | None) -> Change:
        def change(path: Path, random: np.random.Generator) -> str:
            content = json.loads(path.read_text())
            known = list(places(content))
            chosen = known[int(random.integers(len(known)))]
            holder = functools.reduce(operator.getitem, chosen[:-1], content)
            if replace is None:
                del holder[chosen[-1]]
            else:
                holder[chosen[-1]] = replace(holder[chosen[-1]])
            path.write_text(json.dumps(content))
            return ".".join(map(str, chosen))

        return on_file(file, what, outcome, change)

    new = {
        "null": None,
        "a text": "x",
        "-1": -1,
        "a list": [],
        "an object": {"a": 1},
        "NaN": float("nan"),
        "huge": 10**30,
    }
    return [
        edit("an entry gone", None),
        *(edit(f"an entry is {what}", lambda old, value=value: value) for what, value in new.items()),
        on_bytes(file, "a list", REFUSED, lambda data, random: b"[1, 2]"),
        on_bytes(file, "null", REFUSED, lambda data, random: b"null"),
        on_bytes(file, "an empty object", REFUSED, lambda data, random: b"{}"),
    ]


def text(file: str, *, crlf: str = SAME, bom: str = SAME) -> list[Change]:
    """What editors and other systems do to a text file."""

    def zero(data: bytes, random: np.random.Generator) -> bytes:
        at = int(random.integers(len(data) // 2, len(data) - 1))
        return data[:at] + b"\0" + data[at:]

    return [
        on_bytes(file, "a zero byte", REFUSED, zero),
        on_bytes(file, "CRLF", crlf, lambda data, random: data.replace(b"\n", b"\r\n")),
        on_bytes(file, "byte order mark", bom, lambda data, random: b"\xef\xbb\xbf" + data),
        on_bytes(file, "no last line end", SAME, lambda data, random: data.rstrip(b"\n")),
        on_bytes(file, "not UTF-8", REFUSED, lambda data, random: data[:-1] + b"\xff\xfe\n"),
        on_bytes(file, "UTF-16", REFUSED, lambda data, random: data.decode().encode("utf-16")),
    ]


@dataclass(frozen=True)
class Table:
    """A text table to spoil: its file, what parts its cells, and how many lines of titles it has."""

    file: str
    separator: str = "\t"
    titles: int = 0

    def cells(self, column: int, values: Mapping[str, str | None], outcome: str = REFUSED) -> list[Change]:
        """One cell of a column, in a row by chance, for each of the values; None swaps it with the next one."""
        return [self._cell(column, name, value, outcome) for name, value in values.items()]

    def _cell(self, column: int, name: str, value: str | None, outcome: str) -> Change:
        def edit(rows: list[list[str]], random: np.random.Generator) -> str:
            row = rows[int(random.integers(self.titles, len(rows)))]
            if value is None:
                row[column], row[column + 1] = row[column + 1], row[column]
            else:
                row[column] = value
            return self.separator.join(row)

        return self._edited(f"column {column + 1}, {name}", outcome, edit)

    def rows(self, **outcomes: str) -> list[Change]:
        """Changes of whole rows and columns; `outcomes` by name where they differ from these."""

        def short(rows: list[list[str]], random: np.random.Generator) -> str:
            row = rows[int(random.integers(self.titles, len(rows)))]
            del row[1:]
            return self.separator.join(row)

        def no_column(rows: list[list[str]], random: np.random.Generator) -> None:
            for row in rows:
                del row[1]

        def no_rows(rows: list[list[str]], random: np.random.Generator) -> None:
            del rows[self.titles :]

        def blank(rows: list[list[str]], random: np.random.Generator) -> None:
            rows.append([""])

        def twice(rows: list[list[str]], random: np.random.Generator) -> None:
            rows.append(list(rows[int(random.integers(self.titles, len(rows)))]))

        edits = {"short_row": short, "no_column": no_column, "no_rows": no_rows, "blank_line": blank, "twice": twice}
        usual = {"blank_line": SAME}
        if self.titles:
            edits["no_titles"] = lambda rows, random: rows.__delitem__(slice(0, self.titles))
        wanted = {name: outcomes.get(name, usual.get(name, REFUSED)) for name in edits}
        return [
            self._edited(name.replace("_", " "), wanted[name], edit) for name, edit in edits.items() if wanted[name]
        ]

    def renamed_chromosomes(self, outcome: str = REFUSED) -> Change:
        """`chr1` becomes `1` in the whole file."""

        def rename(rows: list[list[str]], random: np.random.Generator) -> None:
            for row in rows:
                row[:] = [cell.replace("chr", "") if cell.startswith("chr") else cell for cell in row]

        return self._edited("chromosomes without chr", outcome, rename)

    def _edited(
        self, what: str, outcome: str, edit: Callable[[list[list[str]], np.random.Generator], object]
    ) -> Change:
        def change(case: Case, random: np.random.Generator) -> object:
            path = case.folder / self.file
            zipped = path.read_bytes()[:2] == b"\x1f\x8b"
            data = gzip.decompress(path.read_bytes()) if zipped else path.read_bytes()
            rows = [line.split(self.separator) for line in data.decode().splitlines()]
            told = edit(rows, random)
            changed = "".join(self.separator.join(row) + "\n" for row in rows).encode()
            path.write_bytes(gzip.compress(changed) if zipped else changed)
            return told

        return Change(f"{self.file}: {what}", outcome, change)


# Values of cells that are wrong wherever a position stands.
WRONG_PLACES = {
    "negative": "-5",
    "text": "abc",
    "empty": "",
    "with a point": "12.5",
    "huge": "99999999999999999999",
    "beyond the chromosome": "3000000",
    "NaN": "nan",
}
# Values of cells that are wrong wherever a number stands.
WRONG_NUMBERS = {"text": "abc", "infinite": "inf", "negative": "-0.5", "a zero byte": "0\x00"}


def words(name: str, outcome: str, *typed: object, without: Sequence[str] = ()) -> Change:
    """More words on the command line; `without` takes options with their values out first."""

    def apply(case: Case, random: np.random.Generator) -> str:
        case.words = [*dropped(case.words, without), *(str(word).format(folder=case.folder) for word in typed)]
        return " ".join(str(word) for word in typed) or f"without {' '.join(without)}"

    return Change(f"options: {name}", outcome, apply)


def options(lines: Iterable[str], outcome: str = REFUSED) -> list[Change]:
    """Each line is added to the command line; an option that is there already is replaced."""
    changes = []
    for line in lines:
        typed = line.split()
        own = [word.partition("=")[0] for word in typed if word.startswith("--")]
        changes.append(words(line or "none", outcome, *typed, without=own))
    return changes


def dropped(line: Sequence[str], names: Sequence[str]) -> list[str]:
    """The words of a command line without some options and their values."""
    kept, inside = [], False
    for word in line:
        if word.startswith("--"):
            inside = word.partition("=")[0] in names
        if not inside:
            kept.append(word)
    return kept


def copied(source: Path, place: Path) -> None:
    """Copies a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, place)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, place)
