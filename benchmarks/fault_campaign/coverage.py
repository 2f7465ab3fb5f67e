"""The doors of `data_prep coverage`: a table of tracks of three kinds, regions, and given windows."""

from collections.abc import Callable
from typing import Any

from benchmarks.fault_campaign import worlds
from benchmarks.fault_campaign.changes import (
    EITHER,
    REFUSED,
    SAME,
    WRONG_PLACES,
    Case,
    Change,
    Table,
    damage,
    on_bytes,
    options,
    text,
)
from benchmarks.fault_campaign.prep import RUNNING, Door, bigwig, fasta, raw

_ZERO = {"zero": "0", "text": "abc", "infinite": "inf", "negative": "-3"}
_SILENT = ("value negative", "value infinite")  # a signal may be either: bins of it are told where they do not fit


def doors(enter: Callable[[Case], Any]) -> list[Door]:
    """Both doors; `enter` runs the program and gives the records."""
    shared = raw("genome.fa", "genome.fa.fai", "K4.bw", "peaks.narrowPeak.gz", "targets.txt")
    return [
        Door("coverage", "tracks", [*shared, *raw("blacklist.bed.gz")], worlds.COVERAGE, enter, _tracks()),
        Door("coverage", "tables", [*shared, *raw("sequences.bed", "islands.bed")], worlds.COVERAGE_FILES, enter,
             _tables()),
    ]  # fmt: skip


def _tracks() -> list[Change]:
    table, peaks, blacklist = Table("targets.txt", titles=1), Table("peaks.narrowPeak.gz"), Table("blacklist.bed.gz")
    changes = [*fasta("genome.fa"), *(c for c in bigwig("K4.bw", values=False) if not c.name.endswith(_SILENT))]
    changes += table.cells(0, {"text": "x", "empty": "", "of another": "7"}, EITHER)
    changes += [*table.cells(1, {"empty": ""}), *table.cells(2, {"unknown": "no.bw", "empty": "", "a folder": "."})]
    changes += [
        *table.cells(3, _ZERO),
        *table.cells(4, {**_ZERO, "above clip": "9999"}),
        *table.cells(5, {"text": "x"}),
    ]
    changes += [*table.cells(6, {"unknown": "meen"}), *table.cells(8, {"no track": "9", "text": "x"})]
    changes += [*table.rows(short_row=REFUSED, twice=REFUSED), *text("targets.txt")]
    changes += damage("targets.txt", checked=False, packed=True)
    changes += [*peaks.cells(1, WRONG_PLACES | {"end before start": None}), peaks.renamed_chromosomes()]
    changes += [*damage("peaks.narrowPeak.gz"), *peaks.rows(twice=SAME), *peaks.cells(0, {"unknown": "chr77"})]
    changes += [*blacklist.cells(1, WRONG_PLACES), blacklist.renamed_chromosomes(), *damage("blacklist.bed.gz")]
    return changes + options(
        [
            *("--window 0", "--window 1000", "--window 99328", "--bin-width 0", "--bin-width 7", "--crop -1"),
            *("--crop 512", "--valid 0.1", "--valid chr9", "--valid chr3", "--test 2", "--test chr3,chrX", "--folds 1"),
            *("--stride-train 0", "--stride-train 10.5", "--snap 0", "--snap 1000", "--sample 0", "--sample 2"),
            *("--umap-t 0.4", "--umap-tfr", "--umap {folder}/no.bed", "--per-file 0", "--layout basenji"),
            *("--transform basenji", "--missing median", "--clip-pct 0", "--decimals -1", "--break 10", "--seed -1"),
            *("--genome hg38", "--peaks", "--gaps {folder}/genome.fa", "--limit {folder}", "--targets {folder}/no.txt"),
            *("--splits {folder}/blacklist.bed.gz", "--lost-contig all", "--targets {folder}/genome.fa", *RUNNING),
            *("--out {folder}/genome.fa", "--out {folder}/genome.fa/out", "--out {folder}"),
        ]
    )


def _tables() -> list[Change]:
    windows, islands = Table("sequences.bed"), Table("islands.bed")
    changes = [*windows.cells(1, WRONG_PLACES | {"end before start": None}), windows.renamed_chromosomes()]
    changes += windows.cells(2, {"a longer window": "7777"})
    changes += [*windows.cells(3, {"without a split": ""}), *windows.cells(0, {"unknown": "chr77", "empty": ""})]
    changes += [
        *windows.rows(twice=REFUSED),
        *text("sequences.bed"),
        *damage("sequences.bed", checked=False, packed=True),
    ]
    changes += [*islands.cells(1, WRONG_PLACES | {"end before start": None}), islands.renamed_chromosomes()]
    changes += [*islands.rows(twice=SAME), *text("islands.bed"), *damage("islands.bed", checked=False, packed=True)]
    changes.append(on_bytes("islands.bed", "all of chr3", REFUSED, lambda data, random: data + b"chr3\t0\t8000\n"))
    return changes + options(
        [
            *("--stride-train 0.5", "--test chr3", "--valid 0.1", "--gaps {folder}/islands.bed", "--seed 3", "--peaks"),
            *("--umap-t 0", "--umap-t 1.5", "--umap-clip 0", "--umap-clip x", "--crop 100", "--splits {folder}/x.bed"),
            *("--folds 3", "--snap 64", "--sequences {folder}", "--sequences {folder}/genome.fa"),
        ]
    )
