"""Checks before any work: do genome, tracks and splits belong together? Each finding is one sentence."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.sources.chroms import harmonise
from data_prep.sources.regions import Span
from jaxepi.errors import JaxepiError

# Length of chromosome 1 tells the build.
_BUILDS = {
    249250621: "hg19",
    248956422: "hg38",
    248387328: "T2T-CHM13",
    197195432: "mm9",
    195471971: "mm10",
    195154279: "mm39",
}
EXTRA_MODES = ("error", "ignore")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _build_of(lengths: Mapping[str, int]) -> str:
    build = _BUILDS.get(lengths.get("chr1", lengths.get("1", 0)))
    return f" (it looks like {build})" if build else ""


def check_track(fasta: Path, genome: Mapping[str, int], track: Path, lengths: Mapping[str, int], extra: str) -> None:
    """Chromosome names and lengths of one track against the genome.

    Args:
        fasta: for the sentence.
        genome: chromosome lengths, harmonised names.
        track: for the sentence.
        lengths: those of the track, harmonised names.
        extra: `error` or `ignore` chromosomes that the genome lacks.

    Raises:
        JaxepiError: other naming, another build, or a chromosome that the genome lacks.
    """
    shared = [c for c in lengths if c in genome]
    if not shared:
        _check_naming(fasta, genome, track, lengths)
        raise JaxepiError(
            f"{track} ({_some(list(lengths))}) and {fasta} ({_some(list(genome))}) share no chromosome: "
            "use files of the same genome"
        )
    for chrom in shared:
        if lengths[chrom] != genome[chrom]:
            raise JaxepiError(
                f"{chrom} has {lengths[chrom]} bases in {track}{_build_of(lengths)} and {genome[chrom]} in "
                f"{fasta}{_build_of(genome)}: use files of the same genome build"
            )
    missing = [c for c in lengths if c not in genome]
    if missing and extra == "error":
        raise JaxepiError(
            f"{track} has {_some(missing)}, which {fasta} lacks: use the same genome, or leave them out with "
            "--extra-chroms ignore"
        )


def _check_naming(fasta: Path, genome: Mapping[str, int], track: Path, lengths: Mapping[str, int]) -> None:
    if {harmonise(c, "strip") for c in genome} & {harmonise(c, "strip") for c in lengths}:
        raise JaxepiError(
            f"{fasta} calls its chromosomes {_some(list(genome))} and {track} calls them {_some(list(lengths))}: "
            "add --chrom-prefix add (all become chrN) or --chrom-prefix strip (all become N)"
        )


def check_splits(
    fasta: Path, genome: Mapping[str, int], spans: Mapping[str, Sequence[Span]], named: Mapping[str, Sequence[str]]
) -> None:
    """Every split has somewhere to lie.

    Args:
        fasta: for the sentence.
        genome: chromosome lengths.
        spans: per split.
        named: the chromosomes that the command line names, per option (`valid-chroms`, `test-chroms`).

    Raises:
        JaxepiError: for an empty split, or a named chromosome that the genome lacks.
    """
    for option, chroms in named.items():
        lacking = [c for c in chroms if c not in genome]
        if not lacking:
            continue
        other = harmonise(lacking[0], "strip") if lacking[0].startswith("chr") else f"chr{lacking[0]}"
        if other in genome:
            hint = f"--chrom-prefix {'add' if lacking[0].startswith('chr') else 'strip'}, or --{option} {other}"
        else:
            hint = f"name chromosomes of this file with --{option}, or leave the split out with --{option} none"
        raise JaxepiError(f"--{option} names {lacking[0]}, but {fasta} has {_some(sorted(genome))}: {hint}")
    for split, own in spans.items():
        if not own:
            raise JaxepiError(
                f"split {split!r} is empty: no chromosome of {fasta} is left for it, so change the --*-chroms options"
            )


def uncovered_chromosomes(spans: Mapping[str, Sequence[Span]], tracks: Mapping[str, Mapping[str, int]]) -> set[str]:
    """Chromosomes of the splits that no track has: their windows would hold no value at all."""
    covered = {chrom for lengths in tracks.values() for chrom in lengths}
    return {span.chrom for own in spans.values() for span in own} - covered
