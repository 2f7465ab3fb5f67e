"""The doors of `data_prep epiformer`: a genome with its conservation and peaks, and the original's chunk files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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
    on_file,
    options,
    text,
)
from benchmarks.fault_campaign.prep import RUNNING, Door, bigwig, raw

_ZERO = {"zero": "0", "text": "abc", "infinite": "inf", "negative": "-3"}
_CHUNK = "chunks/x.0.h5"


def doors(enter: Callable[[Case], Any]) -> list[Door]:
    """Both doors; `enter` runs the program and gives the records."""
    genome = raw("genome.fa", "genome.fa.fai", "K4.bw", "cons.bw", "peaks.narrowPeak.gz", "windowed.txt", "windows.bed")
    return [
        Door("epiformer", "genome", genome, worlds.EPIFORMER, enter, _genome()),
        Door("epiformer", "chunks", raw("chunks", "windowed.txt"), worlds.EPIFORMER_CHUNKS, enter, _chunks()),
    ]


def _genome() -> list[Change]:
    table, peaks, windows = Table("windowed.txt", titles=1), Table("peaks.narrowPeak.gz"), Table("windows.bed")
    changes = [*bigwig("cons.bw", values=False), *table.cells(2, {"unknown": "no.bw", "empty": "", "a folder": "."})]
    changes += [*table.cells(3, _ZERO), *table.cells(4, {"unknown": "medain", "empty": ""})]
    changes += [
        *table.cells(6, {"unknown": "no.bed", "a BigWig": "K4.bw"}),
        *table.cells(7, {"text": "x", "zero": "0"}),
    ]
    changes += [*table.rows(short_row=REFUSED, twice=REFUSED), *text("windowed.txt")]
    changes += [*peaks.cells(1, WRONG_PLACES | {"end before start": None}), peaks.renamed_chromosomes()]
    changes += [*damage("peaks.narrowPeak.gz"), *peaks.rows(twice=SAME), *peaks.cells(0, {"unknown": "chr77"}, EITHER)]
    changes += [*windows.cells(1, WRONG_PLACES | {"end before start": None}), windows.renamed_chromosomes()]
    changes += [
        *windows.rows(twice=REFUSED),
        *windows.cells(0, {"unknown": "chr77", "empty": ""}),
        *text("windows.bed"),
    ]
    return changes + options(
        [
            *("--seqlen 0", "--seqlen 999", "--seqlen 20000", "--binsize 0", "--binsize 7", "--nchunk 3"),
            *("--chunk-files 0", "--valid chr9", "--test chr2", "--drop-chroms chr9", "--seed 3", "--split random"),
            *("--missing baseline", "--scale twice", "--peak-bins all", "--n-test name", "--chunk-order text"),
            *("--conservation {folder}/no.bw", "--conservation {folder}/genome.fa", "--conservation {folder}"),
            *("--regions {folder}/windows.bed", "--gsize {folder}/genome.fa", "--blacklist {folder}/genome.fa"),
            *("--chunks {folder}", "--targets {folder}/genome.fa", "--out {folder}/genome.fa", *RUNNING),
        ]
    )


def _chunks() -> list[Change]:
    changes = [*damage(_CHUNK, checked=False)]
    changes += [_array("targets/value", "infinite", np.inf), _array("inputs/seqcons", "NaN", np.nan)]
    changes += [_array("inputs/seqcons", "huge", 1e9), _array("targets/label", "a half", 0.5)]
    changes += [_text("inputs/seq", "names of regions", "::chr1:0-1000"), _text("inputs/seq", "a gap", "-" * 1000)]
    changes += [_text("segments/name", "no region", "chr1"), _text("segments/name", "a longer one", "chr1:0-2000")]
    changes += [_text("segments/name", "twice", "chr1:0-1000")]
    changes += [_gone(name) for name in ("inputs/seq", "inputs/seqcons", "targets/value", "segments/name")]
    return changes + options(
        [
            *("--chunks {folder}/no", "--chunks {folder}", "--chunks {folder}/windowed.txt", "--chunk-files 0"),
            *("--chunk-order size", "--conservation {folder}/x.bw", "--seqlen 1000", "--valid chr9", "--scale repeat"),
            "--targets {folder}/no.txt",
        ]
    )


def _edited(what: str, edit: Callable[[Any], object]) -> Change:
    """A change inside the first chunk file."""

    def change(path: Path, random: np.random.Generator) -> None:
        import h5py

        with h5py.File(path, "r+") as file:
            edit(file)

    return on_file(_CHUNK, what, REFUSED, change)


def _array(name: str, what: str, value: float) -> Change:
    return _edited(f"{name} {what}", lambda file: file[name].__setitem__((0,) * file[name].ndim, value))


def _text(name: str, what: str, value: str) -> Change:
    return _edited(f"{name} {what}", lambda file: file[name].__setitem__(slice(None), value))


def _gone(name: str) -> Change:
    return _edited(f"{name} gone", lambda file: file.__delitem__(name))
