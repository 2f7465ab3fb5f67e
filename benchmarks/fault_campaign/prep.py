"""The doors of data preparation: what is changed in the raw files and on the command lines of its programs."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_campaign import worlds
from benchmarks.fault_campaign.changes import (
    EITHER,
    REFUSED,
    SAME,
    UNPROTECTED,
    WRONG_NUMBERS,
    WRONG_PLACES,
    Case,
    Change,
    Table,
    damage,
    on_bytes,
    options,
    text,
)


@dataclass(frozen=True)
class Door:
    """One way into the product, with a valid input and what may be wrong with it.

    Attributes:
      kind: under which its cases are counted.
      name: of the door.
      files: (place below the base folder, place in the folder of a case) of what a case needs.
      words: the valid command line.
      enter: goes through the door and gives what can be compared.
      changes: what may be wrong.
      output: what must not be there when the door refused, in the folder of a case.
    """

    kind: str
    name: str
    files: Sequence[tuple[str, str]]
    words: str
    enter: Callable[[Case], Any]
    changes: Sequence[Change]
    output: str = "out"


def raw(*names: str) -> list[tuple[str, str]]:
    """Raw files, each under its own name."""
    return [(f"raw/{name}", name) for name in names]


def doors(prepared: Callable[[Case], Any]) -> list[Door]:
    """All of data preparation; `prepared` runs its program and gives the records."""
    return [*_melody(prepared), *_deepcpg(prepared), *_genes(prepared)]


def fasta(file: str) -> list[Change]:
    """What may be wrong with a plain FASTA file."""

    def letters(letter: bytes) -> Callable[[bytes, np.random.Generator], bytes]:
        def change(data: bytes, random: np.random.Generator) -> bytes:
            at = int(random.integers(100, 15_000))
            at += data[at : at + 1] == b"\n"
            return data[:at] + letter + data[at + 1 :]

        return change

    def shorter(data: bytes, random: np.random.Generator) -> bytes:
        lines = data.split(b"\n")
        at = int(random.integers(2, 200))
        return b"\n".join([*lines[:at], lines[at][:-7], *lines[at + 1 :]])

    return [
        *damage(file, checked=False),
        *(on_bytes(file, f"letter {letter!r}", REFUSED, letters(letter)) for letter in (b"7", b"-", b"*", b"E", b" ")),
        on_bytes(file, "lower case", SAME, lambda data, random: data.replace(b"A", b"a").replace(b"G", b"g")),
        on_bytes(file, "U for T", SAME, lambda data, random: data.replace(b"T", b"U")),
        on_bytes(file, "CRLF", SAME, lambda data, random: data.replace(b"\n", b"\r\n")),
        on_bytes(file, "byte order mark", EITHER, lambda data, random: b"\xef\xbb\xbf" + data),
        on_bytes(file, "blank line at the end", SAME, lambda data, random: data + b"\n"),
        on_bytes(file, "a short line", REFUSED, shorter),
        on_bytes(file, "without its first header", REFUSED, lambda data, random: data.partition(b"\n")[2]),
        on_bytes(file, "a contig twice", REFUSED, lambda data, random: data + b">chr1\nACGT\n"),
        on_bytes(file, "contigs without chr", REFUSED, lambda data, random: data.replace(b">chr", b">")),
        on_bytes(file, "one base less", REFUSED, lambda data, random: data[:-2] + b"\n"),
        on_bytes(file, "without its last contig", REFUSED, lambda data, random: data[: data.rindex(b">")]),
        on_bytes(file, "an empty header", REFUSED, lambda data, random: data.replace(b">chr3", b">")),
        on_bytes(file, "zipped in one piece", EITHER, lambda data, random: gzip.compress(data)),
    ]


def index(file: str) -> list[Change]:
    """A newer index that does not fit: it is passed over, or told."""

    def shifted(data: bytes, random: np.random.Generator) -> bytes:
        rows = [line.split(b"\t") for line in data.splitlines()]
        row = rows[int(random.integers(len(rows)))]
        row[2] = str(int(row[2]) + int(random.choice([-7, -1, 1, 61]))).encode()
        return b"".join(b"\t".join(row) + b"\n" for row in rows)

    changes = [change for change in damage(file) if not change.name.endswith("a folder in its place")]
    changes = [Change(change.name, EITHER, change.apply) for change in changes]
    return changes if file.endswith(".gzi") else [*changes, on_bytes(file, "an offset is wrong", EITHER, shifted)]


def bigwig(file: str, *, values: bool = True) -> list[Change]:
    """What may be wrong with a BigWig file; `values` for shares of methylated reads, else for read depth."""
    wrong = {"infinite": np.inf, "negative": -0.5} | ({"percent": 87.0, "above one": 1.25} if values else {})
    changes = [*damage(file), on_bytes(file, "a bit of the header", EITHER, _header_bit)]
    outcome = REFUSED if values else EITHER  # depth is read at genes only
    changes += [_rewritten(file, f"value {name}", outcome, value=value) for name, value in wrong.items()]
    changes += [
        on_bytes(file, "its header alone", REFUSED, lambda data, random: data[:64]),
        _rewritten(file, "without a value", REFUSED if values else EITHER, empty=True),
        _rewritten(file, "chromosomes without chr", name=lambda chrom: chrom.removeprefix("chr")),
        _rewritten(file, "of another build", longer=100),
        _rewritten(file, "with one more chromosome", EITHER if not values else REFUSED, more="chr9"),
        on_bytes(file, "a bedGraph", REFUSED, lambda data, random: b"chr1\t10\t12\t0.5\nchr1\t20\t22\t0.5\n"),
    ]
    return changes


def _header_bit(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[int(random.integers(64))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _rewritten(
    file: str,
    what: str,
    outcome: str = REFUSED,
    *,
    value: float | None = None,
    name: Callable[[str], str] = str,
    longer: int = 0,
    more: str = "",
    empty: bool = False,
) -> Change:
    """The file once more with one value, the names or the lengths of its chromosomes changed, or without values."""

    def apply(case: Case, random: np.random.Generator) -> str:
        import pyBigWig

        path = case.folder / file
        with pyBigWig.open(str(path)) as old:
            lengths = dict(old.chroms())
            rows = {chrom: old.intervals(chrom) for chrom in lengths}
        chosen = str(random.choice(sorted(rows)))
        with pyBigWig.open(str(path), "w") as new:
            sizes = [(name(chrom), lengths[chrom] + longer) for chrom in sorted(lengths)]
            new.addHeader(sorted(sizes + ([(more, 500)] if more else [])))
            for chrom in () if empty else sorted(rows):
                starts, ends, values = (list(column) for column in zip(*rows[chrom], strict=True))
                if value is not None and chrom == chosen:
                    values[int(random.integers(len(values)))] = value
                new.addEntries([name(chrom)] * len(starts), starts, ends=ends, values=values)
        return chosen

    return Change(f"{file}: {what}", outcome, apply)


RUNNING = ("--processes -1", "--beam-runner Foo", "--beam-options a=b", "--processes x", "--wndow 3", "--out")
OUT = ("--out {folder}/genome.fa", "--out {folder}/genome.fa/out", "--out {folder}")


def _melody(enter: Callable[[Case], Any]) -> list[Door]:
    numbers = ("--window 0", "--window -5", "--window 2e3", "--window 90000", "--stride 0", "--max-n-fraction 0")
    numbers += ("--max-n-fraction nan", "--windows tiels", "--windows random:0", "--windows random:-3")
    numbers += ("--windows random:9 --seed -1", "--windows random:9 --seed 99999999999", "--windows valdi=tiles")
    splits = ("--valid-chroms chr9", "--valid-chroms 2", "--valid-chroms chr3", "--test-chroms chrX")
    splits += ("--drop-chroms chr1 chr4", "--seed 3", "--blacklist-treatment zero", "--windows blocks")
    files = ("--scale procent", "--value-dtype float8", "--dyads none", "--bigwigs {folder}/a.bw {folder}/a.bw")
    files += ("--bigwigs {folder}/c.bw", "--bigwigs {folder}", "--bigwigs", "--bigwigs-dir {folder}/nowhere")
    files += ("--fasta {folder}/nothing.fa", "--fasta {folder}", "--regions {folder}/genome.fa")
    files += ("--blacklist {folder}/none.bed", "--tracks {folder}/a.bw", "--chrom-prefix add-chr")
    plain = [*fasta("genome.fa"), *index("genome.fa.fai"), *bigwig("a.bw"), *bigwig("b.bw")]
    plain += options([*numbers, *splits, *files, *RUNNING, *OUT])
    regions, blocks = Table("regions.bed"), Table("blocks.csv", ",", titles=1)
    tables = [*damage("genome.fa.gz"), *index("genome.fa.gz.fai"), *index("genome.fa.gz.gzi")]
    for table, first in ((regions, 1), (blocks, 1), (Table("blacklist.bed.gz"), 1)):
        tables += damage(table.file, checked=table.file.endswith("gz"), packed=not table.file.endswith("gz"))
        tables += [*table.cells(first, WRONG_PLACES | {"end before start": None}), table.renamed_chromosomes()]
        tables += [*table.cells(0, {"unknown": "chr77"}, EITHER), *table.cells(0, {"empty": ""})]
        tables += table.rows(twice=UNPROTECTED if table is blocks else EITHER)
    tables += regions.cells(3, {"without a split": "", "misspelt": "vaild"})
    tables += [_overlapping("regions.bed"), *text("regions.bed"), *text("blocks.csv")]
    tracks = Table("tracks.csv", ",", titles=1)
    tables += [*text("tracks.csv"), *tracks.rows(), *damage("tracks.csv", checked=False, packed=True)]
    tables += tracks.cells(1, {"unknown": "nothing.bw", "empty": "", "a folder": "."})
    tables += tracks.cells(0, {"of another": "lung", "empty": ""})
    both = raw("a.bw", "b.bw")
    return [
        Door("melody", "tracks", [*raw("genome.fa", "genome.fa.fai"), *both], worlds.MELODY, enter, plain),
        Door(
            "melody", "tables",
            [*raw("genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi", "tracks.csv", "regions.bed", "blocks.csv"),
             *raw("blacklist.bed.gz"), *both],
            worlds.MELODY_FILES, enter, tables,
        ),
    ]  # fmt: skip


def _overlapping(file: str) -> Change:
    return on_bytes(file, "splits overlap", REFUSED, lambda data, random: data + b"chr1\t500\t4000\ttest\n")


def _deepcpg(enter: Callable[[Case], Any]) -> list[Door]:
    plain: list[Change] = []
    columns = {"cellA.tsv": (1, 2), "cellB.bedGraph": (1, 3), "cellC.cov.gz": (1, 4)}
    for file, (place, value) in columns.items():
        table, zipped = Table(file), file.endswith("gz")
        plain += damage(file, checked=zipped, packed=not zipped)
        plain += table.cells(place, {**WRONG_PLACES, "a tab too many": "5\t6"})
        wrong = WRONG_NUMBERS | {"empty": "", "NaN": "nan"} | ({} if zipped else {"percent": "100"})
        plain += [*table.cells(value, wrong), table.renamed_chromosomes(), *table.rows()]
        plain += [] if zipped else text(file)
        plain += table.cells(0, {"unknown": "chr77", "empty": ""})
    islands = Table("islands.bed")
    plain += [*damage("islands.bed", checked=False, packed=True), *text("islands.bed"), islands.renamed_chromosomes()]
    plain += [*islands.cells(1, WRONG_PLACES | {"end before start": None}), *islands.rows(twice=SAME, blank_line=SAME)]
    plain += options(
        [
            *("--dna-wlen 40", "--dna-wlen 0", "--dna-wlen x", "--cpg-wlen 5", "--cpg-wlen -2", "--cpg-cov 9"),
            *("--cpg-cov 0", "--cpg-stats-cov 0", "--cpg-stats meen", "--max-distance 0", "--max-distance 99999"),
            *("--min-reads 0", "--min-reads 2", "--format bed", "--format allc", "--values binair", "--strands both"),
            *(
                "--sites-per-chrom 0",
                "--seed -1 --sites-per-chrom 5",
                "--seed 4",
                "--win-stats mean --win-stats-wlen 0",
            ),
            *("--chroms chr9", "--chroms 1", "--train-chroms chr9 chr8", "--valid-chroms chr1", "--regions x.bed"),
            *("--profiles {folder}/cellA.tsv {folder}/cellA.tsv", "--profiles {folder}", "--profiles {folder}/no.tsv"),
            *("--annotation-extend -1", "--window-sites all", "--diff-maximum exact", "--positions {folder}/no.tsv"),
            *("--extra-chroms ignor", "--fasta {folder}/islands.bed", "--unsorted srt", *RUNNING, *OUT),
        ]
    )
    tables: list[Change] = []
    for file, numbers in {"allc.tsv.gz": (1, 4), "methyl.bed": (1, 10), "positions.tsv": (1, None)}.items():
        table, zipped = Table(file), file.endswith("gz")
        tables += damage(file, checked=zipped, packed=not zipped)
        tables += [*table.cells(numbers[0], WRONG_PLACES), table.renamed_chromosomes()]
        tables += table.rows(twice=EITHER, no_column=REFUSED)
        tables += table.cells(numbers[1], WRONG_NUMBERS | {"empty": "", "far too many": "101"}) if numbers[1] else []
        tables += [] if zipped else text(file)
    tables += Table("allc.tsv.gz").cells(2, {"strand *": "*", "empty": ""})
    tables += Table("methyl.bed").cells(5, {"strand x": "x"})
    files = raw("genome.fa", "genome.fa.fai", *worlds.CELLS, "islands.bed")
    more = raw("genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi", "positions.tsv", "regions.bed", "allc.tsv.gz")
    return [
        Door("deepcpg", "cells", files, worlds.DEEPCPG, enter, plain),
        Door("deepcpg", "tables", [*more, *raw("methyl.bed")], worlds.DEEPCPG_FILES, enter, tables),
    ]


def _genes(enter: Callable[[Case], Any]) -> list[Door]:
    own = raw("genes.gtf", "expression.tsv", "contacts.tsv", "K4.bw", "K27.bw")
    tables = raw("tss.tsv", "list.txt", "hic", "marks.csv", "K4.bw", "K27.bw")
    arrays = raw("metadata.csv", "npy", "sizes.txt")
    return [
        Door("genes", "annotation", own, worlds.GENES, enter, _annotation()),
        Door("genes", "tables", tables, worlds.GENES_FILES, enter, _gene_tables()),
        Door("genes", "arrays", arrays, worlds.GENES_ARRAYS, enter, _gene_arrays()),
    ]


def _annotation() -> list[Change]:
    gtf, expression, contacts = Table("genes.gtf"), Table("expression.tsv", titles=1), Table("contacts.tsv", titles=1)
    plain = [*gtf.cells(3, WRONG_PLACES | {"after its end": "9999999"}), *gtf.cells(6, {"strand x": "x", "empty": ""})]
    plain += [*gtf.rows(twice=SAME), gtf.renamed_chromosomes(), *gtf.cells(8, {"empty": "", "without id": 'a "b";'})]
    plain += [*expression.cells(1, WRONG_NUMBERS | {"empty": "", "NaN": "nan"}), *expression.rows()]
    plain += [*expression.cells(0, {"empty": ""}), *contacts.rows(twice=SAME), contacts.renamed_chromosomes()]
    plain += contacts.cells(
        0, {"text": "abc", "empty": "", "backwards": "chr1:900-100", "huge": "chr1:1-9999999999999999"}
    )
    plain += contacts.cells(1, {"beyond the chromosome": "chr1:900000-900400", "negative": "chr1:-5-100"}, EITHER)
    plain += contacts.cells(2, WRONG_NUMBERS)
    plain.append(
        on_bytes("contacts.tsv", "a .cool file", REFUSED, lambda data, random: b"\x89HDF\r\n\x1a\n" + bytes(99))
    )
    for table in (gtf, expression, contacts):
        plain += [*damage(table.file, checked=False, packed=True), *text(table.file)]
    plain += bigwig("K4.bw", values=False)
    plain += options(
        [
            *("--promoter-length 0", "--promoter-length 2050", "--resolution 0", "--resolution 7", "--min-score nan"),
            *("--max-neighbors -1", "--max-pcre-length 0", "--max-depth 0", "--max-depth nan", "--sum-dtype uint7"),
            *("--folds papr", "--folds 1=chr1 2=chr1 3=chr3 4=chr4", "--folds 5=chr1 2=chr2"),
            *("--folds balancd", "--biotype protein", "--whole-scores some"),
            *("--score-column scor", "--contacts-direction left", "--depth K4={folder}/no.bw", "--depth K4", "--depth"),
            *("--depth K4={folder}/K4.bw K4={folder}/K27.bw", "--hic {folder}", "--hic-bin 5", "--marks a b"),
            *("--metadata {folder}/e.csv", "--npy-dir {folder}", "--tss {folder}/genes.gtf", "--gene-versions cut"),
            *("--bam-reads some", "--expression-column lver"),
            *("--genes {folder}/no.txt", "--metadata-out {folder}/genes.gtf", "--chrom-sizes {folder}/genes.gtf"),
            *("--tss-fragments {folder}/genes.gtf", *RUNNING, *OUT[1:]),
        ]
    )  # fmt: skip
    plain += options(["--folds 1=chr1", "--folds 1=chr1 2=chr2 3=chr3 4=chr9"], EITHER)
    return plain


def _gene_tables() -> list[Change]:
    tss, marks = Table("tss.tsv", titles=1), Table("marks.csv", ",", titles=1)
    files = [*tss.rows(twice=SAME), *tss.cells(2, WRONG_PLACES, EITHER), *tss.cells(3, {"strand x": "x", "empty": ""})]
    files += [tss.renamed_chromosomes(), *tss.cells(0, {"empty": ""}), *tss.cells(1, {"empty": ""}), *marks.rows()]
    files += [*text("tss.tsv"), *text("marks.csv"), *text("list.txt")]
    files += marks.cells(1, {"unknown": "no.bw", "empty": ""})
    files += [*damage("tss.tsv", checked=False, packed=True), *damage("list.txt", checked=False, packed=True)]
    files += [*damage("hic/chr1.npy", checked=False), *damage("hic/chr2.txt", checked=False, packed=True)]
    files = [
        Change(c.name, EITHER, c.apply) if c.name in ("hic/chr1.npy: gone", "hic/chr2.txt: gone") else c for c in files
    ]
    files += _arrays("hic/chr1.npy", "not square", "negative shape") + text("hic/chr2.txt")
    files += Table("hic/chr2.txt", " ").cells(2, {"text": "abc", "empty": "", "one more": "1 2"})
    return files


def _gene_arrays() -> list[Change]:
    metadata, sizes = Table("metadata.csv", ",", titles=1), Table("sizes.txt")
    arrays = [*metadata.rows(no_column=UNPROTECTED), *text("metadata.csv")]  # without expression, labels are unknown
    arrays += metadata.cells(5, {**WRONG_PLACES, "beyond the chromosome": "89500"})
    arrays += metadata.cells(1, {"text": "abc", "negative": "-1", "NaN": "nan"})
    arrays += metadata.cells(3, {"not 0 or 1": "2", "text": "x"}) + metadata.cells(7, {"strand x": "x", "empty": ""})
    arrays += metadata.cells(8, {"fold 5": "5", "text": "x", "empty": ""})
    arrays += metadata.cells(9, {"no region": "abc", "two": "chr1:1-5;chr1:7-9", "unknown": "chr1:1-5"})
    arrays += metadata.cells(10, {"text": "x", "empty": "", "NaN": "nan"}) + [metadata.renamed_chromosomes()]
    arrays += [*sizes.cells(1, {"text": "x", "empty": "", "zero": "0", "negative": "-1"}), *text("sizes.txt")]
    arrays += damage("metadata.csv", checked=False, packed=True)
    arrays += [*damage("npy/chr1:10000-50000.npy", checked=False), *_arrays("npy/chr1:10000-50000.npy", *_SPOILT)]
    arrays += _arrays("npy/chr2:70000-70800.npy", *_SPOILT)
    return arrays


_SPOILT = ("not square", "one row", "NaN", "negative", "of texts", "pickled", "complex", "a scalar", "empty")


def _arrays(file: str, *names: str) -> list[Change]:
    """A whole .npy file whose array is not what is expected."""
    edits: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "not square": lambda array: array[:, :-3],
        "negative shape": lambda array: array[None],
        "one row": lambda array: array[:1],
        "NaN": lambda array: np.where(np.arange(array.shape[1]) == 7, np.nan, array),
        "negative": lambda array: array - 1000,
        "of texts": lambda array: array.astype(str),
        "pickled": lambda array: array.astype(object),
        "complex": lambda array: array.astype(complex),
        "a scalar": lambda array: array[0, 0],
        "empty": lambda array: array[:0],
    }

    def change(name: str) -> Change:
        def apply(case: Case, random: np.random.Generator) -> None:
            path: Path = case.folder / file
            np.save(path, edits[name](np.load(path)), allow_pickle=True)

        return Change(f"{file}: {name}", REFUSED, apply)

    return [change(name) for name in names]
