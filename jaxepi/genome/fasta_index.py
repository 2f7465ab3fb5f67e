"""The index of a FASTA file: found, checked against the file, or built. pyfaidx reads by it."""

import bisect
import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyfaidx

from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import BOM
from jaxepi.storage.atomic import replacing

_HEADERS_CHECKED = 1000


def told_by(problem: Exception) -> str:
    """What a library says, on one line."""
    return " ".join(str(problem).split()) or type(problem).__name__


class _Reader(pyfaidx.Faidx):
    """pyfaidx with an index of our making: its own fails on a byte order mark, and on some blank lines."""

    def build_index(self) -> None:
        rows = (
            "\t".join(map(str, (record.name, record.length, record.offset, *record.line))) + "\n"
            for record in index_records(self.file, self.filename)
        )
        Path(self.indexname).write_text("".join(rows), encoding="utf-8")


@dataclasses.dataclass
class IndexedRecord:
    """A line of a `.fai`: where the sequence of a record begins (byte), its length, and letters and bytes of a line."""

    name: str
    offset: int
    length: int = 0
    line: tuple[int, int] = (0, 0)


def index_records(lines: Iterable[bytes], path: str) -> Iterator[IndexedRecord]:
    """The records of a FASTA file, from its lines; `path` is for sentences.

    Blank lines may stand between records, and comments (`;`) before the first one.

    Raises:
      JaxepiError: no record, text before the first one, a record without a name, or a sequence in which bases cannot be
        found by counting: its lines differ in length or in how they end, or blank ones part them.
    """
    record: IndexedRecord | None = None
    place, ended = 0, False  # bytes so far; whether only blank lines may follow in this record
    for number, raw in enumerate(lines, 1):
        text = raw.removeprefix(BOM) if number == 1 else raw
        place += len(raw)
        letters = len(text.rstrip(b"\r\n"))
        if text[:1] == b">":
            if record is not None:
                yield record
            record, ended = IndexedRecord(_name(text, f"{path} line {number}"), place), False
        elif not letters:
            ended = True
        elif record is None:
            if text[:1] != b";":
                raise JaxepiError(f"{path} line {number} is no FASTA: a header, which starts with '>', was expected.")
        else:
            record.line = record.line if record.length else (letters, len(text))
            same_end = len(text) - letters in (record.line[1] - record.line[0], 0)  # none at the end of the file
            if ended or not same_end or letters > record.line[0]:
                raise JaxepiError(
                    f"{path} line {number}: the lines of record {record.name} differ in length or in how they end, or "
                    "blank ones part them, so that a base cannot be found by counting: write them anew, for example "
                    "with `seqkit seq -w 60`."
                )
            record.length += letters
            ended = (letters, len(text)) != record.line
    if record is None:
        raise JaxepiError(f"{path} holds no FASTA record: expected lines that start with '>'.")
    yield record


def _name(header: bytes, where: str) -> str:
    try:
        return header[1:].decode("utf-8").split()[0]
    except (UnicodeDecodeError, IndexError):
        raise JaxepiError(f"{where} is a header without a name: '>' and a name were expected.") from None


def _open_fasta(path: Path, fai: Path, gzi: Path, kind: type = pyfaidx.Fasta) -> Any:
    """Opens with the index at the given places, building it there if it is missing; `kind` is a class of pyfaidx."""
    gzi_name = str(gzi) if _is_gzip(path) else None
    try:
        return kind(str(path), as_raw=True, rebuild=False, indexname=str(fai), gzi_indexname=gzi_name)
    except JaxepiError:
        raise
    except pyfaidx.UnsupportedCompressionFormat as problem:
        raise JaxepiError(
            f"{path} is gzipped in one piece, which allows no random access: "
            f"recompress it in blocks (gunzip -c {path.name} | bgzip > new.fa.gz) or unpack it."
        ) from problem
    except OSError as problem:
        raise JaxepiError(f"Cannot read {path} or write its index {fai} ({problem}).") from problem
    except Exception as problem:  # of a damaged block come errors of struct, zlib, Biopython and pyfaidx
        raise JaxepiError(
            f"{path} cannot be read as FASTA ({told_by(problem)}): mend it, or copy or download it again."
        ) from problem


def open_indexed(path: Path) -> pyfaidx.Fasta:
    """Opens with an index that belongs to the file, built if there is none."""
    parts = (".fai", ".gzi") if _is_gzip(path) else (".fai",)
    beside = [Path(f"{path}{part}") for part in parts]
    about = path.stat()
    identity = f"{path.resolve()} {about.st_size} {about.st_mtime_ns}"
    digest = hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxepi" / "fasta_index" / digest
    cached = [cache / f"genome.fa{part}" for part in parts]
    candidates = [beside] if _usable(beside, path) else []
    candidates += [cached] if all(place.is_file() for place in cached) else []
    for places in candidates:
        try:
            fasta = _open_fasta(path, places[0], places[-1])
            if _fits(fasta.faidx):
                return fasta
        except Exception:  # the index is built anew; if the file itself is wrong, that tells it
            continue
    places = _build_index(path, beside, cached)
    return _open_fasta(path, places[0], places[-1])


def _fits(faidx: Any) -> bool:
    """Whether headers lie where the index of a pyfaidx object says: the right name, ended right before the sequence.

    All of them are looked at, or 1,000 of a file with more; and behind the last contig there is nothing but blanks.
    """
    records = list(faidx.index.items())
    if not records:
        return False
    for i in np.unique(np.linspace(0, len(records) - 1, _HEADERS_CHECKED, dtype=np.int64)):
        name, record = records[i]
        before = _read_at(faidx, record.prev_bend, record.offset - record.prev_bend)
        before = before.removeprefix(BOM) if not record.prev_bend else before
        *earlier, header = before.splitlines() if before.endswith(b"\n") else [b""]
        named = header[:1] == b">" and header[1:].decode("utf-8", "replace").split()[:1] == [name]
        if not named or any(line.strip() and not line.startswith(b";") for line in earlier):
            return False
    last = records[-1][1]
    end = last.bend - (last.lenb - last.lenc)  # without the line end, which the last line may lack
    if last.rlen and not _read_at(faidx, end - 1, 1).strip():
        return False
    return not _read_at(faidx, end, 1 << 16).strip()


def _read_at(faidx: Any, start: int, size: int) -> bytes:
    """Bytes of a file that pyfaidx has open, counted without compression."""
    blocks = getattr(faidx, "gzi_index", None)
    if blocks is None:
        faidx.file.seek(start)
        return faidx.file.read(max(size, 0))
    from Bio import bgzf

    block = blocks[max(bisect.bisect_right(blocks, start, key=lambda block: block.ustart) - 1, 0)]
    faidx.file.seek(bgzf.make_virtual_offset(block.cstart, start - block.ustart))
    return faidx.file.read(max(size, 0))


def _usable(places: list[Path], path: Path) -> bool:
    return all(place.is_file() and place.stat().st_mtime >= path.stat().st_mtime for place in places)


def _build_index(path: Path, beside: list[Path], cached: list[Path]) -> list[Path]:
    """Builds in a temporary place and moves the result beside the file, or into the cache where that is forbidden."""
    with tempfile.TemporaryDirectory(prefix="jaxepi_fasta_") as folder:
        built = [Path(folder) / place.name for place in cached]
        _open_fasta(path, built[0], built[-1], _Reader).close()
        for places in (beside, cached):
            try:
                places[0].parent.mkdir(parents=True, exist_ok=True)
                for source, place in zip(built, places, strict=True):
                    with replacing(place) as partial:
                        shutil.copyfile(source, partial)
                return places
            except OSError as problem:
                reason = problem
    raise JaxepiError(
        f"{path} has no index, and one can be written neither beside it nor to {cached[0].parent} ({reason}): "
        f"run `samtools faidx {path}` where you may write, or set XDG_CACHE_HOME."
    )


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"
