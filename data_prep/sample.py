"""`python -m data_prep sample`: a small synthetic genome whose methylation follows rules that a model can learn.

The genome and four tracks are written as ordinary FASTA and BigWig files and then go through the path that users' own
files take (`python -m data_prep melody`). As the rules are known, so is the best that any model can reach on the noisy
measurements; it is written beside them (ceiling.json).
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build_folder import BuildFolder
from jaxepi.errors import JaxepiError
from jaxepi.sequence import A, C, G, N, T, decode, reverse_complement

WINDOW = 10_000  # bp; chromosomes are multiples of it, so that tiles cover them
# Shares of the genome; chr10 and chr8, chr9 are the validation and test chromosomes of the paper.
CHROMOSOMES = {"chr1": 25, "chr2": 20, "chr3": 17, "chr4": 13, "chr8": 7, "chr9": 8, "chr10": 10}
HELD_OUT = {"valid": ("chr10",), "test": ("chr8", "chr9")}
FORMAT = 1  # raised when the same arguments would give other files

BACKGROUND_GC, ISLAND_GC = 0.42, 0.66
CPG_LOSS = 0.75  # share of the CpGs outside islands that have decayed to TG or CA
BP_PER_ISLAND = 40_000
ISLAND_LENGTH = (300, 1200)  # bp
BP_PER_ELEMENT = 2_500  # one regulatory element of each motif
ELEMENT_LENGTH = (300, 800)  # bp
BP_PER_MATCH = (30, 70)  # distance of the implanted motif instances in an element

DENSITY_REACH = 150  # bp to each side in which CpGs are counted
DENSITY_MIDDLE, DENSITY_SCALE = 10.0, 1.5  # CpGs within reach at which the island effect is half, and its steepness
ISLAND_EFFECT = -5.0  # logit
MOTIF_REACH = (100, 200)  # bp: a match counts 1 up to the first distance, nothing beyond the second
SATURATION = 2.0  # matches that give the full effect of a motif
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


@dataclass(frozen=True)
class Track:
    """One track: logit of the methylation outside islands, and what a nearby motif (IUPAC letters) adds to it."""

    name: str
    base: float
    effects: Mapping[str, float]


# Two motifs act on two or three tracks each, one of them in opposite directions; the third is seen in one track only.
TRACKS = (
    Track("tissue_A", 2.2, {"TGASTCA": -4.0}),
    Track("tissue_B", 2.2, {"RTAAACAW": -4.0}),
    Track("tissue_C", 2.2, {"TGASTCA": -3.0, "RTAAACAW": -3.0}),
    Track("tissue_D", -0.6, {"TGASTCA": 3.5, "WGATAAG": 3.5}),
)
MOTIFS = tuple(dict.fromkeys(motif for track in TRACKS for motif in track.effects))
_IUPAC = {"A": (A,), "C": (C,), "G": (G,), "T": (T,), "S": (C, G), "W": (A, T), "R": (A, G), "Y": (C, T)}


def make_chromosome(length: int, random: np.random.Generator) -> np.ndarray:
    """Base codes (length,) uint8: islands in a CpG-poor background, implanted motifs, a few runs of N."""
    island = _stretches(length, BP_PER_ISLAND, ISLAND_LENGTH, random)
    gc = np.where(island, ISLAND_GC, BACKGROUND_GC)
    strong, second = random.random(length) < gc, random.random(length) < 0.5
    codes = np.where(strong, np.where(second, G, C), np.where(second, T, A)).astype(np.uint8)
    cpg = cpg_positions(codes)
    decayed = cpg[~island[cpg] & (random.random(len(cpg)) < CPG_LOSS)]
    to_tg = random.random(len(decayed)) < 0.5
    codes[decayed[to_tg]] = T
    codes[decayed[~to_tg] + 1] = A
    for motif in MOTIFS:
        _implant(codes, motif, random)
    codes[: random.integers(1_000, 3_000)] = N
    for _ in range(length // 400_000):
        start = random.integers(0, length)
        codes[start : start + random.integers(50, 500)] = N
    return codes


def _stretches(length: int, spacing: int, lengths: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Marks (length,) randomly placed stretches, on average one in `spacing` bp."""
    marks = np.zeros(length, bool)
    for start in random.integers(0, length, max(length // spacing, 1)):
        marks[start : start + random.integers(*lengths)] = True
    return marks


def _implant(codes: np.ndarray, motif: str, random: np.random.Generator) -> None:
    """Writes elements into `codes`: clusters of instances of `motif`, each on a random strand."""
    starts = []
    for element in random.integers(0, len(codes) - ELEMENT_LENGTH[1] - len(motif), len(codes) // BP_PER_ELEMENT):
        gaps = random.integers(*BP_PER_MATCH, ELEMENT_LENGTH[1] // BP_PER_MATCH[0])
        inside = np.cumsum(gaps)
        starts.append(element + inside[inside < random.integers(*ELEMENT_LENGTH)])
    starts = np.concatenate(starts)
    instances = np.stack([random.choice(_IUPAC[letter], len(starts)) for letter in motif], axis=1).astype(np.uint8)
    flip = random.random(len(starts)) < 0.5
    instances[flip] = reverse_complement(instances[flip])
    codes[starts[:, None] + np.arange(len(motif))] = instances


def cpg_positions(codes: np.ndarray) -> np.ndarray:
    """Positions of the C of every CpG, ascending."""
    return np.flatnonzero((codes[:-1] == C) & (codes[1:] == G))


def motif_centres(codes: np.ndarray, motif: str) -> np.ndarray:
    """Centres (position of the middle base) of all matches of an IUPAC motif on both strands, ascending."""
    allowed = np.zeros((len(motif), 5), bool)
    for place, letter in enumerate(motif):
        allowed[place, list(_IUPAC[letter])] = True
    other_strand = allowed[::-1][:, [T, G, C, A, N]]
    match = np.zeros(len(codes) - len(motif) + 1, bool)
    for pattern in (allowed, other_strand):
        match |= np.logical_and.reduce([row[codes[i : i + len(match)]] for i, row in enumerate(pattern)])
    return np.flatnonzero(match) + len(motif) // 2


def rule_logits(codes: np.ndarray) -> np.ndarray:
    """What the rules say: logit of the methylation of every CpG in every track, (CpGs, tracks)."""
    cpg = cpg_positions(codes)
    near = np.searchsorted(cpg, cpg + DENSITY_REACH, "right") - np.searchsorted(cpg, cpg - DENSITY_REACH)
    island = ISLAND_EFFECT / (1 + np.exp(-(near - DENSITY_MIDDLE) / DENSITY_SCALE))
    weights = {motif: _motif_weight(cpg, motif_centres(codes, motif)) for motif in MOTIFS}
    return np.stack(
        [
            track.base + island + sum(effect * weights[motif] for motif, effect in track.effects.items())
            for track in TRACKS
        ],
        axis=1,
    )


def _motif_weight(cpg: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Share of a motif's effect at each CpG, 0 to 1, from the matches around it: (CpGs,)."""
    full, none = MOTIF_REACH
    first, last = np.searchsorted(centres, cpg - none), np.searchsorted(centres, cpg + none, "right")
    total = np.zeros(len(cpg))
    for place in range(int((last - first).max(initial=0))):
        has = first + place < last
        distance = np.abs(centres[(first + place)[has]] - cpg[has])
        total[has] += np.clip((none - distance) / (none - full), 0.0, 1.0)
    return np.minimum(total / SATURATION, 1.0)


def expected_methylation(logits: np.ndarray) -> np.ndarray:
    """Mean methylation over the hidden noise, by Gauss-Hermite quadrature: the best prediction from the sequence."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    noisy = logits[..., None] + HIDDEN_NOISE * nodes
    return (1 / (1 + np.exp(-noisy))) @ (weights / weights.sum())


def measure(codes: np.ndarray, logits: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sequencing: methylated reads / reads with 3 decimals, -1 without reads, NaN without a record; (CpGs, tracks)."""
    methylation = 1 / (1 + np.exp(-(logits + HIDDEN_NOISE * random.standard_normal(logits.shape))))
    depth = random.poisson(random.gamma(DEPTH_SHAPE, MEAN_DEPTH / DEPTH_SHAPE, logits.shape))
    depth[random.random(logits.shape) < UNCOVERED] = 0
    value = np.where(depth > 0, random.binomial(depth, methylation) / np.maximum(depth, 1), -1.0).round(3)
    value[random.random(logits.shape) < RECORDLESS] = np.nan
    dark = _stretches(len(codes), BP_PER_DARK_STRETCH, DARK_LENGTH, random)
    value[dark[cpg_positions(codes)]] = np.nan
    return value


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation of two vectors."""
    return float(np.corrcoef(x, y)[0, 1])


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half."""
    order, counts = np.unique(score, return_inverse=True, return_counts=True)[1:]
    rank = (np.cumsum(counts) - (counts - 1) / 2)[order]
    hits = int(positive.sum())
    return float((rank[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(score) - hits)))


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
            codes = make_chromosome(length, random)
            _write_fasta(fasta, chrom, codes)
            logits, cpg = rule_logits(codes), cpg_positions(codes)
            expected[chrom], measured[chrom] = expected_methylation(logits), measure(codes, logits, random)
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


def _write_fasta(fasta: Any, chrom: str, codes: np.ndarray) -> None:
    lines = np.frombuffer(decode(codes).encode(), np.uint8).reshape(-1, 100)  # lengths are multiples of 10 kb
    ends = np.full((len(lines), 1), ord("\n"), np.uint8)
    fasta.write(f">{chrom}\n".encode() + np.concatenate([lines, ends], axis=1).tobytes())


def _readme(seed: int, megabases: float) -> str:
    rules = "\n".join(
        f"| {track.name} | {track.base:+.1f} | "
        + ", ".join(f"{motif} {effect:+.1f}" for motif, effect in track.effects.items())
        + " |"
        for track in TRACKS
    )
    return f"""# Synthetic sample (seed {seed}, {megabases} Mb)

Made by `python -m data_prep sample`. Nothing here is measured. The genome is random: GC {BACKGROUND_GC} with most CpGs
decayed to TG or CA, and one CpG island in {BP_PER_ISLAND // 1000} kb (GC {ISLAND_GC}). Each motif below has one
regulatory element of {ELEMENT_LENGTH[0]} to {ELEMENT_LENGTH[1]} bp in {BP_PER_ELEMENT} bp, in which it is written every
{BP_PER_MATCH[0]} to {BP_PER_MATCH[1]} bp on a random strand. It also occurs by chance; every match on either strand
counts.

The logit of the methylation of a CpG is the sum of

1. the base level of the track;
2. {ISLAND_EFFECT} · sigmoid((n - {DENSITY_MIDDLE}) / {DENSITY_SCALE}), where n is the number of CpGs within
   {DENSITY_REACH} bp, itself included;
3. for each motif of the track: its effect times min(m / {SATURATION:.0f}, 1), where m counts the matches around: each
   as 1 if its middle lies within {MOTIF_REACH[0]} bp, falling linearly to 0 at {MOTIF_REACH[1]} bp;
4. hidden noise, normal with standard deviation {HIDDEN_NOISE}, drawn for each CpG and track.

| track | base level | motifs (IUPAC) and effects |
|---|---|---|
{rules}

Reads are Poisson with a gamma-distributed mean of {MEAN_DEPTH:.0f}, methylated reads binomial. {UNCOVERED:.0%} of the
CpGs are recorded as -1 (not covered), {RECORDLESS:.0%} have no record, and neither have any CpGs in one stretch of
{DARK_LENGTH[0]} to {DARK_LENGTH[1]} bp every {BP_PER_DARK_STRETCH // 1000} kb.

A model can learn 1 to 3; it cannot learn 4 and the sampling of reads. `ceiling.json` holds what the exact rules reach
on the measurements of the held-out chromosomes: no model can be expected to do better.
"""


def _existing(raw: Path, arguments: dict[str, Any]) -> bool:
    """Whether `raw` holds these very files. Raises JaxepiError if it holds others."""
    if not raw.exists():
        return False
    try:
        found = json.loads((raw / "ceiling.json").read_text())["arguments"]
    except (OSError, ValueError, KeyError, TypeError):
        raise JaxepiError(
            f"{raw}: ceiling.json is missing or damaged; delete the folder or choose another --out"
        ) from None
    for name, value in arguments.items():
        if found.get(name) != value:
            raise JaxepiError(
                f"{raw}: the files there were made with {name} {found.get(name)}, not {value}; delete the folder or "
                "choose another --out"
            )
    return True


def prepare(out: Path, seed: int = 0, megabases: float = 12.0) -> dict[str, Any]:
    """Makes `out`/raw unless it is there, all or nothing; returns what ceiling.json holds."""
    raw = out / "raw"
    if not _existing(raw, {"seed": seed, "megabases": megabases, "format": FORMAT}):
        with BuildFolder(raw) as place:
            made = place.folder / "raw"
            made.mkdir()
            write_raw(made, seed, megabases)
            place.publish(made, replace=False)
    return json.loads((raw / "ceiling.json").read_text())


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the raw files and the dataset; a rerun does nothing. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="data_prep sample", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for raw/ and dataset/")
    parser.add_argument("--seed", type=int, default=0, help="seed of genome and measurements")
    parser.add_argument("--megabases", type=float, default=12.0, help="size of the genome in Mb")
    parser.add_argument("--raw-only", action="store_true", help="stop before the dataset is prepared")
    options = parser.parse_args(argv)
    print(
        f"sample: synthetic genome of {options.megabases} Mb and {len(TRACKS)} tracks in {options.out / 'raw'}",
        flush=True,
    )
    prepare(options.out, options.seed, options.megabases)
    if options.raw_only:
        return 0
    from data_prep import melody_cli

    files = ["--fasta", options.out / "raw" / "genome.fa", "--tracks", options.out / "raw" / "tracks.csv"]
    return melody_cli.main([os.fspath(word) for word in [*files, "--out", options.out / "dataset"]]) or 0
