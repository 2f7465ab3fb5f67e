"""A made-up genome with CpG islands and motifs, and the methylation that follows from it: what the samples are made of.

The logit of the methylation of a CpG is the base level of the track, minus what CpG density takes away, plus what the
motifs around add. As the rules are known, so is the best prediction.
"""

import argparse
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from data_prep.build.folder import BuildFolder, remove_stale
from jaxepi.errors import JaxepiError
from jaxepi.sequence import A, C, G, N, T, decode, reverse_complement

WINDOW = 10_000  # bp; chromosomes are multiples of it
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

_IUPAC = {"A": (A,), "C": (C,), "G": (G,), "T": (T,), "S": (C, G), "W": (A, T), "R": (A, G), "Y": (C, T)}


@dataclass(frozen=True)
class Track:
    """One track: logit of the methylation outside islands, and what a nearby motif (IUPAC letters) adds to it."""

    name: str
    base: float
    effects: Mapping[str, float]


def motifs_of(tracks: Sequence[Track]) -> tuple[str, ...]:
    """All motifs that act on any of the tracks, each once."""
    return tuple(dict.fromkeys(motif for track in tracks for motif in track.effects))


def make_chromosome(length: int, motifs: Sequence[str], random: np.random.Generator) -> np.ndarray:
    """Base codes (length,) uint8: islands in a CpG-poor background, implanted motifs, a few runs of N."""
    island = stretches(length, BP_PER_ISLAND, ISLAND_LENGTH, random)
    gc = np.where(island, ISLAND_GC, BACKGROUND_GC)
    strong, second = random.random(length) < gc, random.random(length) < 0.5
    codes = np.where(strong, np.where(second, G, C), np.where(second, T, A)).astype(np.uint8)
    cpg = cpg_positions(codes)
    decayed = cpg[~island[cpg] & (random.random(len(cpg)) < CPG_LOSS)]
    to_tg = random.random(len(decayed)) < 0.5
    codes[decayed[to_tg]] = T
    codes[decayed[~to_tg] + 1] = A
    for motif in motifs:
        _implant(codes, motif, random)
    codes[: random.integers(1_000, 3_000)] = N
    for _ in range(length // 400_000):
        start = random.integers(0, length)
        codes[start : start + random.integers(50, 500)] = N
    return codes


def stretches(length: int, spacing: int, lengths: tuple[int, int], random: np.random.Generator) -> np.ndarray:
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


def motif_centres(codes: np.ndarray, motif: str, strands: str = "+-") -> np.ndarray:
    """Centres (position of the middle base) of all matches of an IUPAC motif on both strands or one, ascending."""
    allowed = np.zeros((len(motif), 5), bool)
    for place, letter in enumerate(motif):
        allowed[place, list(_IUPAC[letter])] = True
    other_strand = allowed[::-1][:, [T, G, C, A, N]]
    match = np.zeros(len(codes) - len(motif) + 1, bool)
    for pattern in (pattern for strand, pattern in (("+", allowed), ("-", other_strand)) if strand in strands):
        match |= np.logical_and.reduce([row[codes[i : i + len(match)]] for i, row in enumerate(pattern)])
    return np.flatnonzero(match) + len(motif) // 2


def density(cpg: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
    """CpGs (ascending) within reach of each of some positions (P,); of the CpGs themselves if there are none."""
    positions = cpg if positions is None else positions
    return np.searchsorted(cpg, positions + DENSITY_REACH, "right") - np.searchsorted(cpg, positions - DENSITY_REACH)


def islandness(cpg: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
    """How much positions (see `density`) lie in a CpG island: 0 to 1."""
    return 1 / (1 + np.exp(-(density(cpg, positions) - DENSITY_MIDDLE) / DENSITY_SCALE))


def rule_logits(codes: np.ndarray, tracks: Sequence[Track]) -> np.ndarray:
    """What the rules say: logit of the methylation of every CpG in every track, (CpGs, tracks)."""
    cpg = cpg_positions(codes)
    island = ISLAND_EFFECT * islandness(cpg)
    weights = {motif: motif_weight(cpg, motif_centres(codes, motif)) for motif in motifs_of(tracks)}
    return np.stack(
        [
            track.base + island + sum(effect * weights[motif] for motif, effect in track.effects.items())
            for track in tracks
        ],
        axis=1,
    )


def motif_weight(positions: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Share of a motif's effect at positions (P,), 0 to 1, from the matches around them."""
    full, none = MOTIF_REACH
    first, last = np.searchsorted(centres, positions - none), np.searchsorted(centres, positions + none, "right")
    total = np.zeros(len(positions))
    for place in range(int((last - first).max(initial=0))):
        has = first + place < last
        distance = np.abs(centres[(first + place)[has]] - positions[has])
        total[has] += np.clip((none - distance) / (none - full), 0.0, 1.0)
    return np.minimum(total / SATURATION, 1.0)


def expected_methylation(logits: np.ndarray, noise: float) -> np.ndarray:
    """Mean methylation over hidden normal noise of this standard deviation: the best prediction from the sequence."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    noisy = logits[..., None] + noise * nodes
    return (1 / (1 + np.exp(-noisy))) @ (weights / weights.sum())


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation of two vectors."""
    return float(np.corrcoef(x, y)[0, 1])


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half."""
    order, counts = np.unique(score, return_inverse=True, return_counts=True)[1:]
    rank = (np.cumsum(counts) - (counts - 1) / 2)[order]
    hits = int(positive.sum())
    return float((rank[positive].sum() - hits * (hits + 1) / 2) / (hits * (len(score) - hits)))


def write_fasta(fasta: IO[bytes], chrom: str, codes: np.ndarray) -> None:
    """Appends a chromosome, base codes of a multiple of `WINDOW`, to an open FASTA file."""
    lines = np.frombuffer(decode(codes).encode(), np.uint8).reshape(-1, 100)  # lengths are multiples of WINDOW
    ends = np.full((len(lines), 1), ord("\n"), np.uint8)
    fasta.write(f">{chrom}\n".encode() + np.concatenate([lines, ends], axis=1).tobytes())


def describe(tracks: Sequence[Track], noise: str) -> str:
    """The rules in words and a table, for the README of a sample; `noise` is the last term of the sum."""
    rows = "\n".join(
        f"| {track.name} | {track.base:+.1f} | "
        + ", ".join(f"{motif} {effect:+.1f}" for motif, effect in track.effects.items())
        + " |"
        for track in tracks
    )
    return f"""The genome is random: GC {BACKGROUND_GC} with most CpGs
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
4. {noise}.

| track | base level | motifs (IUPAC) and effects |
|---|---|---|
{rows}
"""


def make_raw(out: Path, arguments: Mapping[str, Any], write: Callable[[Path], object]) -> dict[str, Any]:
    """Makes `out`/raw by `write(folder)` unless it is there, all or nothing; returns what its ceiling.json holds.

    Args:
        out: folder of the sample.
        arguments: everything that decides about the files; `write` puts them into ceiling.json.
        write: writes all files, ceiling.json among them, into the folder it is given.

    Raises:
        JaxepiError: `out`/raw holds something else, or files made with other arguments (named).
    """
    raw = out / "raw"
    if _existing(raw, arguments):
        remove_stale(raw)
    else:
        with BuildFolder(raw) as place:
            made = place.folder / "raw"
            made.mkdir()
            write(made)
            place.publish(made, replace=False)
    return json.loads((raw / "ceiling.json").read_text())


def _existing(raw: Path, arguments: Mapping[str, Any]) -> bool:
    """Whether `raw` holds these very files. Raises JaxepiError if it holds others."""
    if not raw.exists():
        return False
    try:
        found = json.loads((raw / "ceiling.json").read_text())["arguments"]
        differing = [(name, found.get(name), value) for name, value in arguments.items() if found.get(name) != value]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise JaxepiError(
            f"{raw}: ceiling.json is missing or damaged; delete the folder or choose another --out"
        ) from None
    for name, was, value in differing:
        raise JaxepiError(
            f"{raw}: the files there were made with {name} {was}, not {value}; delete the folder or choose another "
            "--out"
        )
    return True


@dataclass(frozen=True)
class Size:
    """The option that says how large a sample is."""

    name: str  # without the two dashes
    default: float
    least: float
    about: str


def run_sample(
    name: str,
    argv: Sequence[str] | None,
    size: Size,
    *,
    about: str,
    headline: str,
    prepare: Callable[[Path, int, Any], object],
    command: Callable[[Sequence[str]], int],
    arguments: Callable[[Path], Sequence[str]],
    program: str,
) -> int:
    """`python -m data_prep <name>`: makes the raw files and the dataset; a rerun does nothing.

    Args:
        name: of this command.
        argv: options; None for those of this process.
        size: the option beside --out, --seed and --raw-only.
        about: one line for --help.
        headline: what is made, with {} for the size.
        prepare: (folder of the sample, seed, size) makes its raw files unless they are there.
        command: makes the dataset from the raw files: options -> exit status.
        arguments: folder of the raw files -> these options.
        program: the words before the name, for --help.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog=f"{program} {name}", description=about)
    parser.add_argument("--out", type=Path, required=True, help="folder for raw/ and dataset/")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn (default: %(default)s)")
    told = f"{size.about} (default: %(default)s)"
    parser.add_argument(f"--{size.name}", dest="size", type=type(size.default), default=size.default, help=told)
    parser.add_argument("--raw-only", action="store_true", help="stop before the dataset is prepared")
    options = parser.parse_args(argv)
    if options.seed < 0:
        raise JaxepiError(f"--seed is {options.seed}: a whole number from 0 was expected")
    if not size.least <= options.size < math.inf:
        raise JaxepiError(f"--{size.name} is {options.size}: at least {size.least} was expected")
    print(f"{name}: {headline.format(options.size)} in {options.out / 'raw'}", flush=True)
    prepare(options.out, options.seed, options.size)
    if options.raw_only:
        return 0
    return command([*arguments(options.out / "raw"), "--out", os.fspath(options.out / "dataset")])
