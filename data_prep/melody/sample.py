"""`python -m data_prep melody-sample`: a small synthetic genome whose methylation follows rules that a model can learn.

The genome and four tracks are written as ordinary FASTA and BigWig files and then go through the path that users' own
files take (`python -m data_prep melody`). As the rules are known, so is the best that any model can reach on the noisy
measurements; it is written beside them (ceiling.json).
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.options import PROGRAM
from data_prep.build.synthetic import (
    WINDOW,
    Size,
    Track,
    auc,
    cpg_positions,
    describe,
    expected_methylation,
    make_chromosome,
    make_raw,
    motifs_of,
    pearson,
    rule_logits,
    run_sample,
    stretches,
    write_fasta,
)
from data_prep.melody import command
from jaxepi.errors import JaxepiError

# Shares of the genome; chr10 and chr8, chr9 are the validation and test chromosomes of the paper.
CHROMOSOMES = {"chr1": 25, "chr2": 20, "chr3": 17, "chr4": 13, "chr8": 7, "chr9": 8, "chr10": 10}
HELD_OUT = {"valid": ("chr10",), "test": ("chr8", "chr9")}
FORMAT = 1  # raised when the same arguments would give other files

HIDDEN_NOISE = 0.4  # standard deviation in logits of what the sequence does not tell, per CpG and track

MEAN_DEPTH, DEPTH_SHAPE = 20.0, 4.0  # reads a CpG: Poisson with a gamma-distributed mean
UNCOVERED = 0.02  # share of CpGs recorded as -1, per track
RECORDLESS = 0.01  # share of CpGs that are left out, per track, beside the stretches that no track records
BP_PER_DARK_STRETCH = 150_000
DARK_LENGTH = (500, 3000)  # bp

EXPECTATION = (
    "The sample is synthetic and its rules are known (raw/README.md): CpG density within 150 bp sets the islands, and "
    "clusters of short motifs raise or lower the methylation of single tracks around them. What a model can reach is "
    "the value 'best possible': the exact rules against the measurements; the rest is the sampling of reads and noise "
    "that no sequence tells. In the few minutes of this run a narrow model learns the islands and the motifs, the "
    "rarest last, and comes near the best possible value without reaching it; cut short, a track may stay near what "
    "CpG density alone gives. The numbers say nothing about real genomes."
)

# Two motifs act on two or three tracks each, one of them in opposite directions; the third is seen in one track only.
TRACKS = (
    Track("tissue_A", 2.2, {"TGASTCA": -4.0}),
    Track("tissue_B", 2.2, {"RTAAACAW": -4.0}),
    Track("tissue_C", 2.2, {"TGASTCA": -3.0, "RTAAACAW": -3.0}),
    Track("tissue_D", -0.6, {"TGASTCA": 3.5, "WGATAAG": 3.5}),
)


def measure(codes: np.ndarray, logits: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sequencing: methylated reads / reads with 3 decimals, -1 without reads, NaN without a record; (CpGs, tracks)."""
    methylation = 1 / (1 + np.exp(-(logits + HIDDEN_NOISE * random.standard_normal(logits.shape))))
    depth = random.poisson(random.gamma(DEPTH_SHAPE, MEAN_DEPTH / DEPTH_SHAPE, logits.shape))
    depth[random.random(logits.shape) < UNCOVERED] = 0
    value = np.where(depth > 0, random.binomial(depth, methylation) / np.maximum(depth, 1), -1.0).round(3)
    value[random.random(logits.shape) < RECORDLESS] = np.nan
    dark = stretches(len(codes), BP_PER_DARK_STRETCH, DARK_LENGTH, random)
    value[dark[cpg_positions(codes)]] = np.nan
    return value


def ceiling(expected: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    """Pearson and AUC (methylation above 0.5) of the best prediction, per track over covered CpGs."""
    per_track = {}
    for track, best, measured in zip(TRACKS, expected.T, value.T, strict=True):
        covered = measured >= 0
        best, measured = best[covered], measured[covered]
        per_track[track.name] = {"pearson_cpg": pearson(best, measured), "auc_cpg": auc(best, measured > 0.5)}
    means = {
        f"{name}_per_track_mean": float(np.mean([numbers[name] for numbers in per_track.values()]))
        for name in ("pearson_cpg", "auc_cpg")
    }
    return {"cpgs": len(value), **means, "per_track": per_track}


def chromosome_lengths(megabases: float) -> dict[str, int]:
    """Lengths in bp, multiples of the window. Raises JaxepiError if a chromosome would have no window."""
    total = sum(CHROMOSOMES.values())
    lengths = {name: int(megabases * 1e6 * share / total // WINDOW * WINDOW) for name, share in CHROMOSOMES.items()}
    if min(lengths.values()) < WINDOW:
        raise JaxepiError(f"--megabases is {megabases}, but a chromosome would be shorter than 10 kb: use 0.2 or more")
    return lengths


def write_raw(folder: Path, seed: int, megabases: float) -> dict[str, Any]:
    """Writes genome.fa, one BigWig a track, tracks.csv, README.md and ceiling.json to `folder`; returns the ceiling."""
    import pyBigWig

    lengths = chromosome_lengths(megabases)
    streams = np.random.default_rng(seed).spawn(len(lengths))
    expected, measured = {}, {}
    bigwigs = [pyBigWig.open(str(folder / f"{track.name}.bigwig"), "w") for track in TRACKS]
    for bigwig in bigwigs:
        bigwig.addHeader(list(lengths.items()))
    with (folder / "genome.fa").open("wb") as fasta:
        for (chrom, length), random in zip(lengths.items(), streams, strict=True):
            codes = make_chromosome(length, motifs_of(TRACKS), random)
            write_fasta(fasta, chrom, codes)
            logits, cpg = rule_logits(codes, TRACKS), cpg_positions(codes)
            expected[chrom] = expected_methylation(logits, HIDDEN_NOISE)
            measured[chrom] = measure(codes, logits, random)
            for bigwig, value in zip(bigwigs, measured[chrom].T, strict=True):
                recorded = value == value  # NaN differs from itself
                bigwig.addEntries(
                    [chrom] * int(recorded.sum()),
                    cpg[recorded].tolist(),
                    ends=(cpg[recorded] + 2).tolist(),
                    values=value[recorded].tolist(),
                )
    for bigwig in bigwigs:
        bigwig.close()
    rows = "".join(f"{track.name},{track.name}.bigwig\n" for track in TRACKS)
    (folder / "tracks.csv").write_text("name,file\n" + rows)
    (folder / "README.md").write_text(_readme(seed, megabases))
    splits = {
        split: ceiling(*(np.concatenate([part[chrom] for chrom in chroms]) for part in (expected, measured)))
        for split, chroms in HELD_OUT.items()
    }
    arguments = {"seed": seed, "megabases": megabases, "format": FORMAT}
    result = {"arguments": arguments, "text": EXPECTATION, "splits": splits}
    (folder / "ceiling.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _readme(seed: int, megabases: float) -> str:
    noise = f"hidden noise, normal with standard deviation {HIDDEN_NOISE}, drawn for each CpG and track"
    return f"""# Synthetic sample (seed {seed}, {megabases} Mb)

Made by `python -m data_prep melody-sample`. Nothing here is measured. {describe(TRACKS, noise)}
Reads are Poisson with a gamma-distributed mean of {MEAN_DEPTH:.0f}, methylated reads binomial. {UNCOVERED:.0%} of the
CpGs are recorded as -1 (not covered), {RECORDLESS:.0%} have no record, and neither have any CpGs in one stretch of
{DARK_LENGTH[0]} to {DARK_LENGTH[1]} bp every {BP_PER_DARK_STRETCH // 1000} kb.

A model can learn 1 to 3; it cannot learn 4 and the sampling of reads. `ceiling.json` holds what the exact rules reach
on the measurements of the held-out chromosomes: no model can be expected to do better.
"""


def prepare(out: Path, seed: int = 0, megabases: float = 12.0) -> dict[str, Any]:
    """Makes `out`/raw unless it is there, all or nothing; returns what ceiling.json holds."""
    arguments = {"seed": seed, "megabases": megabases, "format": FORMAT}
    return make_raw(out, arguments, lambda folder: write_raw(folder, seed, megabases))


def arguments(raw: Path) -> list[str]:
    """Options of `data_prep melody` for the files of a sample."""
    return ["--fasta", os.fspath(raw / "genome.fa"), "--tracks", os.fspath(raw / "tracks.csv")]


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Makes the raw files and the dataset; a rerun does nothing. Returns the exit status."""
    return run_sample(
        "melody-sample",
        argv,
        Size("megabases", 12.0, 0.2, "size of the genome in Mb"),
        about=__doc__.splitlines()[0],
        headline=f"synthetic genome of {{}} Mb and {len(TRACKS)} tracks",
        prepare=prepare,
        command=command.main,
        arguments=arguments,
        program=program,
    )
