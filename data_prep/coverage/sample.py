"""`python -m data_prep coverage-sample`: a small synthetic genome whose coverage follows rules that can be learnt.

The genome and five tracks of several kinds are written as ordinary FASTA and BigWig files with a targets table, and
then go through the path that users' own files take (`python -m data_prep coverage`). As the rules are known, so is the
best that any model can reach on the noisy measurements; it is written beside them (ceiling.json).
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.options import PROGRAM
from data_prep.build.synthetic import (
    WINDOW,
    Size,
    cpg_positions,
    islandness,
    make_chromosome,
    make_raw,
    motif_centres,
    motif_weight,
    pearson,
    run_sample,
    write_fasta,
)
from data_prep.coverage import command
from data_prep.coverage.transforms import pooled, soft_clipped
from jaxepi.errors import JaxepiError

# Shares of the genome.
CHROMOSOMES = {"chr1": 32, "chr2": 26, "chr3": 20, "chr4": 10, "chr5": 12}
HELD_OUT = {"valid": "chr4", "test": "chr5"}
FORMAT = 1  # raised when the same arguments would give other files
RECORD, CROP, BIN = 8_192, 1_024, 128  # bp
PIECE = 32  # bp with one value

HIDDEN_NOISE = (
    6.0  # shape of the gamma-distributed factor, mean 1, that the sequence does not tell, per piece and track
)
LEAST = 0.1  # Mb

EXPECTATION = (
    "The sample is synthetic and its rules are known (raw/README.md): CpG islands and clusters of short motifs raise "
    "the coverage around them, for one pair of tracks on one strand only. What a model can reach is the value 'best "
    "possible': the exact rules against the measurements; the rest is the sampling of reads and noise that no sequence "
    "tells. In the few minutes of this run a narrow model learns the islands and the motifs and comes near that value "
    "without reaching it. The numbers say nothing about real genomes."
)


@dataclass(frozen=True)
class CoverageTrack:
    """One track.

    Attributes:
        name: identifier in the table.
        description: its assay and what it measures.
        base: logarithm of the mean reads of a piece.
        island: what a CpG island adds to it.
        effects: what a nearby motif (IUPAC letters) adds to it.
        strands: of the matches that count.
        width: pieces over which the mean is spread.
        sparse: pieces without a read have no record.
        table: cells of clip, clip_soft, scale and sum_stat.
    """

    name: str
    description: str
    base: float
    island: float
    effects: Mapping[str, float]
    strands: str = "+-"
    width: int = 1
    sparse: bool = False
    table: tuple[str, str, str, str] = ("", "", "1", "mean")


_CAGE = ("384", "32", str(1 / PIECE), "sum")
TRACKS = (
    CoverageTrack("dnase_A", "DNASE:cell A", -0.5, 1.0, {"TGASTCA": 2.0}, table=("32", "", "2", "mean")),
    CoverageTrack(
        "dnase_B", "DNASE:cell B", -0.5, 1.0, {"TGASTCA": 1.0, "RTAAACAW": 1.5}, table=("32", "", "2", "mean")
    ),
    CoverageTrack(
        "chip_B", "CHIP:H3K27ac:cell B", 0.0, 0.8, {"RTAAACAW": 1.5}, width=16, table=("64", "", "1", "mean")
    ),
    CoverageTrack("cage_C+", "CAGE:cell C", -3.0, 1.0, {"WGATAAG": 3.5}, "+", sparse=True, table=_CAGE),
    CoverageTrack("cage_C-", "CAGE:cell C", -3.0, 1.0, {"WGATAAG": 3.5}, "-", sparse=True, table=_CAGE),
)
STRAND_PAIR = (0, 1, 2, 4, 3)
MOTIFS = tuple(dict.fromkeys(motif for track in TRACKS for motif in track.effects))


def expected_reads(codes: np.ndarray) -> np.ndarray:
    """What the rules say: mean reads of every piece in every track, (pieces, tracks)."""
    middle = np.arange(PIECE // 2, len(codes), PIECE)
    island = islandness(cpg_positions(codes), middle)
    weights = {
        (motif, strands): motif_weight(middle, motif_centres(codes, motif, strands))
        for motif, strands in {(motif, track.strands) for track in TRACKS for motif in track.effects}
    }
    means = []
    for track in TRACKS:
        logs = track.base + track.island * island
        logs += sum(effect * weights[motif, track.strands] for motif, effect in track.effects.items())
        means.append(np.convolve(np.exp(logs), np.full(track.width, 1 / track.width), "same"))
    return np.stack(means, axis=1)


def measure(expected: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Reads (pieces, tracks): Poisson, with a gamma-distributed factor that is the same for nothing else."""
    return random.poisson(expected * random.gamma(HIDDEN_NOISE, 1 / HIDDEN_NOISE, expected.shape)).astype(np.float32)


def bins_of(reads: np.ndarray) -> np.ndarray:
    """Bins (bins, tracks) as `data_prep coverage` makes them from reads (pieces, tracks), whole bins only."""
    per_bin = BIN // PIECE
    made = []
    for track, own in zip(TRACKS, reads[: len(reads) // per_bin * per_bin].T, strict=True):
        clip, soft, scale, stat = track.table
        bases = np.repeat(own * float(scale), PIECE).reshape(1, -1, BIN).astype(np.float32)
        bins = pooled(bases, stat, "sqrt")
        bins = soft_clipped(bins, float(soft), 1) if soft else bins
        made.append(np.minimum(bins, float(clip))[0])
    return np.stack(made, axis=1)


def ceiling(expected: np.ndarray, reads: np.ndarray) -> dict[str, Any]:
    """Pearson over bins of the best prediction, per track."""
    best, measured = bins_of(expected), bins_of(reads)
    per_track = {
        track.name: {"pearson_bin": pearson(best[:, i], measured[:, i])} for i, track in enumerate(TRACKS)
    }  # fmt: skip
    mean = float(np.mean([numbers["pearson_bin"] for numbers in per_track.values()]))
    return {"bins": len(best), "pearson_bin_per_track_mean": mean, "per_track": per_track}


def chromosome_lengths(megabases: float) -> dict[str, int]:
    """Lengths in bp. Raises JaxepiError if a chromosome would hold no window."""
    total = sum(CHROMOSOMES.values())
    lengths = {name: int(megabases * 1e6 * share / total // WINDOW * WINDOW) for name, share in CHROMOSOMES.items()}
    if min(lengths.values()) < RECORD:
        raise JaxepiError(f"--megabases is {megabases}, but a chromosome would hold no window: use {LEAST} or more")
    return lengths


def write_raw(folder: Path, seed: int, megabases: float) -> dict[str, Any]:
    """Writes genome.fa, one BigWig a track, targets.txt, README.md and ceiling.json; returns the ceiling."""
    import pyBigWig

    lengths = chromosome_lengths(megabases)
    streams = np.random.default_rng(seed).spawn(len(lengths))
    bigwigs = [pyBigWig.open(str(folder / f"{track.name}.bigwig"), "w") for track in TRACKS]
    for bigwig in bigwigs:
        bigwig.addHeader(list(lengths.items()))
    ceilings = {}
    with (folder / "genome.fa").open("wb") as fasta:
        for (chrom, length), random in zip(lengths.items(), streams, strict=True):
            codes = make_chromosome(length, MOTIFS, random)
            write_fasta(fasta, chrom, codes)
            expected = expected_reads(codes)
            reads = measure(expected, random)
            ceilings[chrom] = ceiling(expected, reads)
            for track, bigwig, own in zip(TRACKS, bigwigs, reads.T, strict=True):
                _add(bigwig, chrom, own, length, track.sparse)
    for bigwig in bigwigs:
        bigwig.close()
    (folder / "targets.txt").write_text(_table())
    (folder / "README.md").write_text(_readme(seed, megabases))
    result = {
        "arguments": {"seed": seed, "megabases": megabases, "format": FORMAT},
        "text": EXPECTATION,
        "splits": {split: ceilings[chrom] for split, chrom in HELD_OUT.items()},
    }
    (folder / "ceiling.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _add(bigwig: Any, chrom: str, reads: np.ndarray, length: int, sparse: bool) -> None:
    """Writes the pieces of a chromosome; equal neighbours are one record."""
    edges = np.flatnonzero(np.diff(reads, prepend=np.nan) != 0)
    start = edges * PIECE
    end = np.minimum(np.append(start[1:], len(reads) * PIECE), length)
    kept = reads[edges] > 0 if sparse else np.ones(len(edges), bool)
    bigwig.addEntries(
        [chrom] * int(kept.sum()), start[kept].tolist(), ends=end[kept].tolist(), values=reads[edges][kept].tolist()
    )


def _table() -> str:
    columns = ("index", "identifier", "file", "clip", "clip_soft", "scale", "sum_stat", "strand_pair", "description")
    rows = [
        (str(i), track.name, f"{track.name}.bigwig", *track.table, str(STRAND_PAIR[i]), track.description)
        for i, track in enumerate(TRACKS)
    ]
    return "".join("\t".join(cells) + "\n" for cells in (columns, *rows))


def _readme(seed: int, megabases: float) -> str:
    rows = "\n".join(
        f"| {t.name} | {t.base:+.1f} | {t.island:+.1f} | "
        f"{', '.join(f'{motif} {effect:+.1f}' for motif, effect in t.effects.items())} | {t.strands} | "
        f"{t.width * PIECE} bp |"
        for t in TRACKS
    )
    return f"""# Synthetic sample (seed {seed}, {megabases} Mb)

Made by `python -m data_prep coverage-sample`. Nothing here is measured. The genome is random, with CpG islands and
clusters of the motifs below on random strands. A track has one value in {PIECE} bp: reads, Poisson with a mean whose
logarithm is the sum of

1. the base level of the track;
2. its island effect times how much the place lies in a CpG island, 0 to 1, by the CpGs within 150 bp;
3. for each motif of the track: its effect times min(m / 2, 1), where m counts the matches around, on the strands given:
   each as 1 if its middle lies within 100 bp, falling linearly to 0 at 200 bp.

The mean is then spread over the width given, and multiplied by noise with the mean 1 (gamma, shape {HIDDEN_NOISE:.0f}).

| track | base level | island | motifs (IUPAC) and effects | strands | width |
|---|---|---|---|---|---|
{rows}

The two CAGE tracks are strands of one measurement: what raises one in a sequence raises the other in its reverse
complement (`strand_pair`). They have no record where there is no read. `ceiling.json` holds what the exact rules reach
on the bins of the held-out chromosomes: no model can be expected to do better.
"""


def prepare(out: Path, seed: int = 0, megabases: float = 6.0) -> dict[str, Any]:
    """Makes `out`/raw unless it is there, all or nothing; returns what ceiling.json holds."""
    arguments = {"seed": seed, "megabases": megabases, "format": FORMAT}
    return make_raw(out, arguments, lambda folder: write_raw(folder, seed, megabases))


def arguments(raw: Path) -> list[str]:
    """Options of `data_prep coverage` for the files of a sample."""
    words = ["--fasta", os.fspath(raw / "genome.fa"), "--targets", os.fspath(raw / "targets.txt")]
    words += ["--window", str(RECORD), "--crop", str(CROP), "--bin-width", str(BIN)]
    return [*words, "--valid", HELD_OUT["valid"], "--test", HELD_OUT["test"]]


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Makes the raw files and the dataset; a rerun does nothing. Returns the exit status."""
    return run_sample(
        "coverage-sample",
        argv,
        Size("megabases", 6.0, LEAST, "size of the genome in Mb"),
        about=__doc__.splitlines()[0],
        headline=f"synthetic genome of {{}} Mb and {len(TRACKS)} tracks",
        prepare=prepare,
        command=command.main,
        arguments=arguments,
        program=program,
    )
