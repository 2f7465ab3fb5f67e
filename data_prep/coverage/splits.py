"""Which contig is in which split: by shares of the genome, by chromosome, in folds, or as a BED file says."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.chroms import PREFIX_OPTIONS, naming_error, other_name
from jaxepi.genome.intervals import Interval

SPLITS = ("train", "valid", "test")
ABSTAIN = 0.2  # a contig longer than this share of what a split still lacks does not go there
Contigs = dict[str, list[Interval]]


def shares_of(test: str, valid: str, known: Collection[str] = ()) -> tuple[float, float] | None:
    """The shares of test and validation split, or None if both options are lists of chromosomes.

    Args:
        test: share of the genome, or names with commas between.
        valid: the same.
        known: chromosomes, which may be called as numbers are.

    Raises:
        JaxepiError: one is a number and the other is not, a number beyond 0 to 1, or nothing left to train on.
    """
    if all(name in known for text in (test, valid) for name in text.split(",")):
        return None
    numbers = [_number(text) for text in (test, valid)]
    if numbers == [None, None]:
        return None
    if None in numbers:
        raise JaxepiError(
            f"--test is {test} and --valid is {valid}: two shares of the genome from 0 to 1, or two lists of "
            "chromosomes, were expected"
        )
    if not all(0 <= number <= 1 for number in numbers) or sum(numbers) >= 1:
        raise JaxepiError(f"--test {test} and --valid {valid}: shares of 0 to 1 that leave something to train on were "
                          "expected")  # fmt: skip
    return numbers[0], numbers[1]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def assign(
    lengths: Sequence[int], aims: Sequence[float], random: np.random.RandomState, abstain: float | None, first: int = 0
) -> list[int]:
    """Shares items out to splits by chance, each split drawn in proportion to what it still lacks.

    Args:
        lengths: bp of the items, in the order in which they are drawn for.
        aims: bp of each split.
        random: NumPy's legacy generator: one draw an item.
        abstain: an item longer than this share of what a split lacks does not go there (but may go to the first one);
            None = there is no such rule.
        first: what the first split lacks at least, so that there is always one.

    Returns:
        The number of the split of each item.
    """
    held, chosen = [0.0] * len(aims), []
    for length in lengths:
        lacks = [max(0.0, aim - have) for aim, have in zip(aims, held, strict=True)]
        lacks[0] = max(first, lacks[0])
        if abstain is not None:
            lacks[1:] = [0.0 if length > abstain * lack else lack for lack in lacks[1:]]
        total = sum(lacks)
        split = int(random.choice(range(len(aims)), 1, p=[lack / total for lack in lacks])[0])
        held[split] += length
        chosen.append(split)
    return chosen


def aims_of_shares(total: int, test: float, valid: float) -> tuple[float, float, float]:
    """bp of train, valid and test."""
    return total - valid * total - test * total, valid * total, test * total


def by_share(contigs: Sequence[Interval], test: float, valid: float, random: np.random.RandomState) -> Contigs:
    """Contigs to train, valid and test by chance, longest first."""
    ordered = sorted(contigs, key=lambda contig: (contig.length, contig), reverse=True)
    lengths = [contig.length for contig in ordered]
    chosen = assign(lengths, aims_of_shares(sum(lengths), test, valid), random, ABSTAIN, first=1)
    return {name: [c for c, split in zip(ordered, chosen, strict=True) if split == i] for i, name in enumerate(SPLITS)}


def by_fold(contigs: Sequence[Interval], folds: int, random: np.random.RandomState) -> Contigs:
    """Contigs to fold0, fold1, … of about equal size by chance, longest first."""
    ordered = sorted(contigs, key=lambda contig: (contig.length, contig), reverse=True)
    lengths = [contig.length for contig in ordered]
    aim = float(np.ceil(sum(lengths) / folds))
    chosen = assign(lengths, [aim] * folds, random, None)
    return {f"fold{i}": [c for c, fold in zip(ordered, chosen, strict=True) if fold == i] for i in range(folds)}


def by_chromosome(contigs: Sequence[Interval], test: str, valid: str, lengths: Mapping[str, int]) -> Contigs:
    """Whole chromosomes: those named for test, then those named for validation, the rest trains.

    Raises:
        JaxepiError: a name that is no chromosome of the FASTA, or is in both lists.
    """
    named = {"test": test.split(","), "valid": valid.split(",")}
    for option, chroms in named.items():
        wrong = next((chrom for chrom in chroms if chrom not in lengths), None)
        other = None if wrong is None else other_name(wrong, lengths)
        if other is not None:
            raise JaxepiError(naming_error(f"--{option}", wrong, "the FASTA", other, PREFIX_OPTIONS))
        if wrong is not None:
            raise JaxepiError(
                f"--{option} names {wrong!r}{did_you_mean(wrong, lengths)}, which is no chromosome of the FASTA: give "
                "its names with commas between, or a share of the genome from 0 to 1"
            )
    both = sorted(set(named["test"]) & set(named["valid"]))
    if both:
        raise JaxepiError(f"{both[0]} is in --valid and in --test: a chromosome belongs to one split")
    split_of = {chrom: split for split, chroms in named.items() for chrom in chroms}
    return {name: [c for c in contigs if split_of.get(c.chrom, "train") == name] for name in SPLITS}
