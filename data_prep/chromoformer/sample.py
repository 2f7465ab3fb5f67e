"""`python -m data_prep chromoformer-sample`: a made-up genome whose genes depend on their promoters and their contacts.

Annotation, expression, contacts and read depth are written as ordinary files and then go through the path that users'
own files take (`python -m data_prep chromoformer`). What decides about a gene beside its promoter lies beyond the
window around the promoter, so a model without contacts cannot see it. As the rules are known, so is the best that a
model with and one without contacts can reach (ceiling.json).
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

from data_prep.build.options import PROGRAM
from data_prep.build.synthetic import Size, auc, make_raw, pearson, run_sample
from data_prep.chromoformer import command
from data_prep.chromoformer.folds import PAPER
from jaxepi.errors import JaxepiError

FORMAT = 2  # raised when the same arguments would give other files
CHROMOSOMES = ("chr1", "chr5", "chr7", "chr10", "chr2", "chr3", "chr9", "chr13")  # two of each fold
TERRITORY = 100_000  # bp of the genome that belong to one gene, its start site near the middle
STEP = 100  # bp for which a depth holds
FRAGMENT_EDGES = (22_000, 27_500, 31_000, 37_000, 42_500, 46_000)  # bp from the middle, on both sides
PROMOTER_FRAGMENT = 5_000  # bp to each side of the middle
CONTACTS = (2, 6)  # neighbours of a gene
PEAK = 1_000  # bp

MARKS = ("H3K4me1", "H3K4me3", "H3K27me3", "H3K27ac")
BACKGROUND = 0.5  # mean depth
POISED, ACTIVE, INITIATING, REPRESSED = 6.0, 15.0, 8.0, 3.0  # mean depth of peaks of the four marks
SHAPE = 6.0  # of the gamma-distributed height of distant peaks
BASE, PROMOTER_EFFECT, CONTACT_EFFECT, NOISE = 4.0, 1.0, 3.2, 0.5  # log2(RPKM + 1)

EXPECTATION = (
    "The sample is synthetic and its rules are known (raw/README.md): what decides about a gene beside its promoter "
    "lies in its contacts, beyond the window around the promoter. The value 'best possible' is that of the exact "
    "rules, contacts included; the rest is noise. A model that sees only promoters (config.task.max_pcres=0) cannot "
    "come near it. The numbers say nothing about real genes."
)


@dataclass(frozen=True)
class Planted:
    """The genes of one chromosome, G of them, with what decides about them."""

    tss: np.ndarray  # (G,) int64
    minus: np.ndarray  # (G,) bool
    promoter: np.ndarray  # (G,) state of the promoter, standard normal
    active: np.ndarray  # (G, F) bool: fragments with an active mark
    in_contact: np.ndarray  # (G, F) bool
    score: np.ndarray  # (G, F); at most 1.5 where there is no contact
    expression: np.ndarray  # (G,) log2(RPKM + 1)

    @property
    def expected(self) -> np.ndarray:
        """Expression without noise (G,): the best prediction from promoter and contacts."""
        share = (self.active & self.in_contact).sum(axis=1) / self.in_contact.sum(axis=1)
        return BASE + PROMOTER_EFFECT * self.promoter + CONTACT_EFFECT * (share - 0.5)


def fragments(gene: int) -> list[tuple[int, int]]:
    """Fragments (start, end) of a gene's territory, those beyond the window around the promoter."""
    middle = gene * TERRITORY + TERRITORY // 2
    pairs = list(zip(FRAGMENT_EDGES[:-1], FRAGMENT_EDGES[1:], strict=True))
    left = [(middle - far, middle - near) for near, far in reversed(pairs)]
    return left + [(middle + near, middle + far) for near, far in pairs]


def plant(genes: int, random: np.random.Generator) -> Planted:
    """Draws the genes of a chromosome."""
    shape = (genes, len(fragments(0)))
    rank = random.random(shape).argsort(axis=1).argsort(axis=1)
    in_contact = rank < random.integers(CONTACTS[0], CONTACTS[1] + 1, (genes, 1))
    # The share of active contacts differs much between genes; fragments out of contact tell nothing about it.
    share = np.where(in_contact, random.beta(0.5, 0.5, (genes, 1)), 0.5)
    planted = Planted(
        tss=np.arange(genes) * TERRITORY + TERRITORY // 2 + random.integers(-1000, 1001, genes),
        minus=random.random(genes) < 0.5,
        promoter=random.standard_normal(genes),
        active=random.random(shape) < share,
        in_contact=in_contact,
        score=np.where(in_contact, 1.6 + random.gamma(1.0, 1.0, shape), random.uniform(0.2, 1.5, shape)).round(4),
        expression=np.zeros(genes),
    )
    noisy = planted.expected + NOISE * random.standard_normal(genes)
    planted.expression[:] = np.maximum(noisy, 0.0)
    return planted


def depths(planted: Planted, random: np.random.Generator) -> np.ndarray:
    """Read depth (marks, territory bins of the chromosome): Poisson around background and peaks."""
    genes = len(planted.tss)
    mean = np.full((len(MARKS), genes * TERRITORY // STEP), BACKGROUND)
    rows = {mark: mean[i] for i, mark in enumerate(MARKS)}
    for gene, (tss, state) in enumerate(zip(planted.tss, planted.promoter, strict=True)):
        _add_peak(rows["H3K4me3"], tss, INITIATING * np.exp(0.6 * state))
        _add_peak(rows["H3K27me3"], tss, REPRESSED * np.exp(-0.4 * state))
        _add_peak(rows["H3K27ac"], tss, 4.0)
        for number, (start, end) in enumerate(fragments(gene)):
            place = int(random.integers(start + PEAK, end - PEAK))
            _add_peak(rows["H3K4me1"], place, POISED * random.gamma(SHAPE, 1 / SHAPE))
            if planted.active[gene, number]:
                _add_peak(rows["H3K27ac"], place, ACTIVE * random.gamma(SHAPE, 1 / SHAPE))
    return random.poisson(mean).astype(np.float32)


def _add_peak(row: np.ndarray, middle: int, height: float) -> None:
    row[(middle - PEAK) // STEP : (middle + PEAK) // STEP] += height


def ceiling(planted: Sequence[Planted], median: float) -> dict[str, float]:
    """ROC-AUC for an expression of the median or more, and Pearson r, of the exact rules for these genes."""
    expression = np.concatenate([own.expression for own in planted])
    best = {
        "with_contacts": np.concatenate([own.expected for own in planted]),
        "promoter_only": np.concatenate([own.promoter for own in planted]),
    }
    made: dict[str, float] = {"genes": len(expression)}
    for name, score in best.items():
        made |= {f"auc_{name}": auc(score, expression >= median), f"pearson_{name}": pearson(score, expression)}
    return made


def expectations(planted: Sequence[Planted], median: float) -> dict[str, dict[str, float]]:
    """What the exact rules reach with contacts, under the names of the evaluation: by config.task.target."""
    expression = np.concatenate([own.expression for own in planted])
    expected = np.concatenate([own.expected for own in planted])
    high = expression >= median
    probability = ndtr((expected - median) / NOISE)
    label = {
        "auc": auc(probability, high),
        "pearson": pearson(probability, high),
        "accuracy": float(((probability > 0.5) == high).mean()),
    }
    return {
        target: {f"{name}_gene_per_track_mean": value for name, value in values.items()}
        for target, values in (("label", label), ("expression", {"pearson": pearson(expected, expression)}))
    }


def write_raw(folder: Path, seed: int, genes: int) -> dict[str, Any]:
    """Writes annotation.gtf, expression.tsv, contacts.tsv, marks.csv, a BigWig a mark, README.md and ceiling.json."""
    import pyBigWig

    counts = {chrom: len(part) for chrom, part in zip(CHROMOSOMES, np.array_split(range(genes), 8), strict=True)}
    streams = dict(zip(CHROMOSOMES, np.random.default_rng(seed).spawn(len(CHROMOSOMES)), strict=True))
    planted: dict[str, Planted] = {}
    bigwigs = [pyBigWig.open(str(folder / f"{mark}.bigwig"), "w") for mark in MARKS]
    for bigwig in bigwigs:
        bigwig.addHeader([(chrom, counts[chrom] * TERRITORY) for chrom in sorted(counts)])
    for chrom in sorted(counts):
        planted[chrom] = plant(counts[chrom], streams[chrom])
        for bigwig, row in zip(bigwigs, depths(planted[chrom], streams[chrom]), strict=True):
            bigwig.addEntries(chrom, 0, values=row, span=STEP, step=STEP)
    for bigwig in bigwigs:
        bigwig.close()
    (folder / "marks.csv").write_text("name,file\n" + "".join(f"{mark},{mark}.bigwig\n" for mark in MARKS))
    _write_genes(folder, planted)
    median = float(np.median(np.concatenate([own.expression for own in planted.values()])))
    folds: dict[str, Any] = {}
    splits: dict[str, dict[str, Any]] = {"label": {}, "expression": {}}
    for fold, chroms in PAPER.items():
        held_out = [own for chrom, own in planted.items() if chrom in chroms]
        folds[f"fold{fold}"] = ceiling(held_out, median)
        for target, values in expectations(held_out, median).items():
            splits[target][f"fold{fold}"] = values
    given = {"seed": seed, "genes": genes, "format": FORMAT}
    result = {"arguments": given, "text": EXPECTATION, "folds": folds, "splits": splits}
    (folder / "ceiling.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "README.md").write_text(_readme(seed, genes))
    return result


def _write_genes(folder: Path, planted: dict[str, Planted]) -> None:
    annotation, expression, contacts = [], ["gene_id\tmade_up"], ["fragment\tneighbor\tscore"]
    for chrom, own in planted.items():
        for gene in range(len(own.tss)):
            name, tss, minus = f"{chrom.upper()}G{gene:04d}", int(own.tss[gene]), bool(own.minus[gene])
            expression.append(f"{name}\t{2 ** own.expression[gene] - 1:.4f}")
            # The longest coding transcript has the start site that counts.
            for number, (shift, length, kind) in enumerate(
                [(2_000, 8_000, "protein_coding"), (0, 15_000, "protein_coding"), (0, 19_000, "retained_intron")]
            ):
                start = tss - shift - length + 1 if minus else tss + shift
                annotation.append(
                    f"{chrom}\tmade_up\ttranscript\t{start + 1}\t{start + length}\t.\t{'-' if minus else '+'}\t.\t"
                    f'gene_id "{name}.1"; transcript_id "{name}T{number}"; transcript_type "{kind}";'
                )
            middle = gene * TERRITORY + TERRITORY // 2
            bait = f"{chrom}:{middle - PROMOTER_FRAGMENT}-{middle + PROMOTER_FRAGMENT}"
            for (start, end), score in zip(fragments(gene), own.score[gene], strict=True):
                contacts.append(f"{bait}\t{chrom}:{start}-{end}\t{score}")
    for file, lines in (("annotation.gtf", annotation), ("expression.tsv", expression), ("contacts.tsv", contacts)):
        (folder / file).write_text("\n".join(lines) + "\n")


def _readme(seed: int, genes: int) -> str:
    return f"""# Made-up genes with contacts (seed {seed}, {genes} genes)

Made by `python -m data_prep chromoformer-sample`. Nothing here is measured. Each gene has {TERRITORY // 1000} kb of the
genome, its start site near the middle and {len(fragments(0))} fragments more than {FRAGMENT_EDGES[0] // 1000} kb away.
It is in contact (score above 1.5) with {CONTACTS[0]} to {CONTACTS[1]} of them.

log2(RPKM + 1) = {BASE} + {PROMOTER_EFFECT} · p + {CONTACT_EFFECT} · (a - 0.5) + noise, not below 0

* p, the promoter's state, is standard normal; H3K4me3 at the start site grows with it and H3K27me3 falls;
* a is the share of active fragments among those in contact. Active ones carry a peak of H3K27ac. Half of the fragments
  out of contact are active too, so contacts must be told from the rest;
* the noise is normal with standard deviation {NOISE}.

Depth is Poisson in steps of {STEP} bp. `ceiling.json` holds, for the genes of each fold, what the exact rules reach
with and without knowledge of the contacts: no model of either kind can be expected to do better.
"""


def prepare(out: Path, seed: int = 0, genes: int = 1200) -> dict[str, Any]:
    """Makes `out`/raw unless it is there, all or nothing; returns what ceiling.json holds."""
    if genes < 80:
        raise JaxepiError(f"--genes is {genes}: at least 80 were expected, ten a chromosome")
    given = {"seed": seed, "genes": genes, "format": FORMAT}
    return make_raw(out, given, lambda folder: write_raw(folder, seed, genes))


def arguments(raw: Path) -> list[str]:
    """Options of `data_prep chromoformer` for the files of a sample."""
    files = {"annotation": "annotation.gtf", "expression": "expression.tsv", "contacts": "contacts.tsv"}
    words = [word for option, file in files.items() for word in (f"--{option}", os.fspath(raw / file))]
    return [*words, "--depth-table", os.fspath(raw / "marks.csv")]


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Makes the raw files and the dataset; a rerun does nothing. Returns the exit status."""
    return run_sample(
        "chromoformer-sample",
        argv,
        Size("genes", 1200, 80, "number of genes"),
        about=__doc__.splitlines()[0],
        headline="{} genes",
        prepare=prepare,
        command=command.main,
        arguments=arguments,
        program=program,
    )
