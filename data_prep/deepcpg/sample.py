"""`python -m data_prep deepcpg-sample`: a made-up genome and methylation states of single cells of two populations.

Genome, one table a cell and a BED file of CpG islands are written as ordinary files and then go through the path that
users' own files take (`python -m data_prep deepcpg`). What the sequence does not tell is alike at neighbouring sites of
a cell, so the neighbours help. As the rules are known, so is the best that any model can reach (ceiling.json).
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.options import PROGRAM
from data_prep.build.synthetic import (
    DENSITY_MIDDLE,
    WINDOW,
    Size,
    Track,
    auc,
    cpg_positions,
    density,
    describe,
    expected_methylation,
    make_chromosome,
    make_raw,
    motifs_of,
    rule_logits,
    run_sample,
    write_fasta,
)
from data_prep.deepcpg import command
from jaxepi.errors import JaxepiError

FORMAT = 1  # raised when the same arguments would give other files
# Shares of the genome; the paper trains on odd chromosomes up to 11, tests on even ones and validates on the others.
CHROMOSOMES = {"chr1": 32, "chr3": 30, "chr2": 20, "chr13": 18}
HELD_OUT = {"valid": ("chr13",), "test": ("chr2",)}

POPULATIONS = (Track("naive", 2.0, {"TGASTCA": -4.0}), Track("primed", 2.0, {"RTAAACAW": -4.0}))
CELLS = 3  # of each population
OBSERVED = 0.3  # share of the CpGs that a cell was observed at
HIDDEN_NOISE = 1.2  # standard deviation in logits of what the sequence does not tell, per cell
HIDDEN_REACH = 1_000  # bp over which its correlation falls to 1 / e

_TEXT = (
    "The sample is synthetic and its rules are known (raw/README.md). The value 'best possible' is that of the exact "
    "probability with which every state was drawn, the part that only neighbouring sites tell included: no model can "
    "exceed it but by chance, and none can know that part wholly. From the sequence alone the exact rules reach an AUC "
    "of {dna:.3f} on the test chromosome. The numbers say nothing about real cells."
)


def cell_names() -> list[str]:
    """Names of the cells, a population after the other."""
    return [f"{population.name}{number}" for population in POPULATIONS for number in range(1, CELLS + 1)]


def hidden(cpg: np.ndarray, cells: int, random: np.random.Generator) -> np.ndarray:
    """What the sequence does not tell, in logits (CpGs, cells): normal, alike in neighbouring CpGs of a cell."""
    made = random.standard_normal((len(cpg), cells))
    kept = np.exp(-np.diff(cpg) / HIDDEN_REACH)
    for i, share in enumerate(kept, 1):
        made[i] = share * made[i - 1] + np.sqrt(1 - share**2) * made[i]
    return HIDDEN_NOISE * made


def islands(cpg: np.ndarray) -> list[tuple[int, int]]:
    """Stretches (start, end) of CpGs that lie dense."""
    dense = np.concatenate([[False], density(cpg) >= DENSITY_MIDDLE, [False]]).astype(np.int8)
    first, last = np.flatnonzero(np.diff(dense) == 1), np.flatnonzero(np.diff(dense) == -1) - 1
    return [(int(cpg[a]), int(cpg[b]) + 2) for a, b in zip(first, last, strict=True)]


def ceiling(best: np.ndarray, state: np.ndarray) -> dict[str, Any]:
    """AUC of a prediction (CpGs, cells) for states (CpGs, cells), -1 where not observed: per cell and their mean."""
    per_track = {
        f"cpg/{name}": {"auc_cpg": auc(own[seen >= 0], seen[seen >= 0] > 0)}
        for name, own, seen in zip(cell_names(), best.T, state.T, strict=True)
    }
    mean = float(np.mean([numbers["auc_cpg"] for numbers in per_track.values()]))
    return {"auc_cpg_per_track_mean": mean, "per_track": per_track}


def write_raw(folder: Path, seed: int, megabases: float) -> dict[str, Any]:
    """Writes genome.fa, cells/*.tsv, islands.bed, README.md and ceiling.json; returns the latter."""
    total = sum(CHROMOSOMES.values())
    lengths = {name: int(megabases * 1e6 * share / total // WINDOW * WINDOW) for name, share in CHROMOSOMES.items()}
    streams = np.random.default_rng(seed).spawn(len(lengths))
    names = cell_names()
    rows: dict[str, list[str]] = {name: [] for name in names}
    best, from_dna, states = {}, {}, {}
    (folder / "cells").mkdir()
    with (folder / "genome.fa").open("wb") as fasta, (folder / "islands.bed").open("w") as bed:
        for (chrom, length), random in zip(lengths.items(), streams, strict=True):
            codes = make_chromosome(length, motifs_of(POPULATIONS), random)
            write_fasta(fasta, chrom, codes)
            cpg, logits = cpg_positions(codes), rule_logits(codes, POPULATIONS).repeat(CELLS, axis=1)
            bed.writelines(f"{chrom}\t{start}\t{end}\n" for start, end in islands(cpg))
            best[chrom] = 1 / (1 + np.exp(-(logits + hidden(cpg, len(names), random))))
            from_dna[chrom] = expected_methylation(logits, HIDDEN_NOISE)
            drawn = (random.random(best[chrom].shape) < best[chrom]).astype(np.int8)
            states[chrom] = np.where(random.random(drawn.shape) < OBSERVED, drawn, -1)
            for name, own in zip(names, states[chrom].T, strict=True):
                rows[name] += [f"{chrom}\t{cpg[i] + 1}\t{own[i]}\n" for i in np.flatnonzero(own >= 0)]
    for name, lines in rows.items():
        (folder / "cells" / f"{name}.tsv").write_text("".join(lines))
    splits = {split: ceiling(*_joined(chroms, best, states)) for split, chroms in HELD_OUT.items()}
    dna = ceiling(*_joined(HELD_OUT["test"], from_dna, states))["auc_cpg_per_track_mean"]
    given = {"seed": seed, "megabases": megabases, "format": FORMAT}
    result = {"arguments": given, "text": _TEXT.format(dna=dna), "splits": splits, "auc_from_sequence": dna}
    (folder / "README.md").write_text(_readme(seed, megabases))
    (folder / "ceiling.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _joined(chroms: Sequence[str], *parts: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate([part[chrom] for chrom in chroms]) for part in parts]


def _readme(seed: int, megabases: float) -> str:
    noise = (
        f"a hidden part of each cell, normal with standard deviation {HIDDEN_NOISE}; its correlation between two\n"
        f"   sites falls with their distance d as exp(-d / {HIDDEN_REACH} bp)"
    )
    return f"""# Synthetic single cells (seed {seed}, {megabases} Mb)

Made by `python -m data_prep deepcpg-sample`. Nothing here is measured. There are {CELLS} cells of each of
{len(POPULATIONS)} populations, which are the tracks below. {describe(POPULATIONS, noise)}
The state of a site in a cell is 1 with the probability that belongs to the logit; a cell is observed at a random
{OBSERVED:.0%} of the sites. `cells/` has a table for each cell (chromosome, 1-based position, state), `islands.bed` the
stretches where CpGs lie dense, `ceiling.json` the AUC of the exact probabilities on the held-out chromosomes.
"""


def prepare(out: Path, seed: int = 0, megabases: float = 3.0) -> dict[str, Any]:
    """Makes `out`/raw unless it is there, all or nothing; returns what ceiling.json holds.

    Raises:
      JaxepiError: too small a genome, or `out`/raw holds other files.
    """
    if megabases < 0.2:
        raise JaxepiError(f"--megabases is {megabases}: at least 0.2 were expected, enough sites on every chromosome")
    given = {"seed": seed, "megabases": megabases, "format": FORMAT}
    return make_raw(out, given, lambda folder: write_raw(folder, seed, megabases))


def arguments(raw: Path) -> list[str]:
    """Options of `data_prep deepcpg` for the files of a sample."""
    cells = [os.fspath(raw / "cells" / f"{name}.tsv") for name in cell_names()]
    files = ["--fasta", os.fspath(raw / "genome.fa"), "--annotations", os.fspath(raw / "islands.bed")]
    return ["--profiles", *cells, *files, "--cpg-wlen", "20"]


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Makes the raw files and the dataset; a rerun does nothing. Returns the exit status."""
    return run_sample(
        "deepcpg-sample",
        argv,
        Size("megabases", 3.0, 0.2, "size of the genome in Mb"),
        about=__doc__.splitlines()[0],
        headline=f"{len(cell_names())} cells",
        prepare=prepare,
        command=command.main,
        arguments=arguments,
        program=program,
    )
