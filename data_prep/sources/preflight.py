"""Checks before any work: do genome, tracks and splits belong together? Each finding is one sentence."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import PREFIX_OPTIONS, misnamed, naming_error, other_name
from jaxepi.genome.intervals import Interval

# Length of chromosome 1 tells the build.
_BUILDS = {
    249250621: "hg19",
    248956422: "hg38",
    248387328: "T2T-CHM13",
    197195432: "mm9",
    195471971: "mm10",
    195154279: "mm39",
}


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
        check_naming(track, lengths, fasta, genome)
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


def check_naming(path: Path, chroms: Iterable[str], where: object, known: Iterable[str]) -> None:
    """Refuses a file that calls a chromosome `1` where others call it `chr1`: its rows would never be found.

    Args:
        path: the file.
        chroms: its chromosomes.
        where: the file, or files, that know others.
        known: the chromosomes of these.

    Raises:
        JaxepiError: if none of its chromosomes is known, and one is known under the other name.
    """
    chroms, known = sorted(chroms), set(known)
    wrong = None if known.intersection(chroms) else misnamed(chroms, known)
    if wrong is not None:
        raise JaxepiError(naming_error(path, wrong[0], where, wrong[1], PREFIX_OPTIONS))


def check_splits(
    fasta: Path, genome: Mapping[str, int], spans: Mapping[str, Sequence[Interval]], named: Mapping[str, Sequence[str]]
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
        other = other_name(lacking[0], genome)
        if other is not None:
            raise JaxepiError(naming_error(f"--{option}", lacking[0], fasta, other, PREFIX_OPTIONS))
        raise JaxepiError(
            f"--{option} names {lacking[0]}, but {fasta} has {_some(sorted(genome))}: name chromosomes of this file "
            f"with --{option}, or leave the split out with --{option} none"
        )
    for split, own in spans.items():
        if not own:
            raise JaxepiError(
                f"split {split!r} is empty: no chromosome of {fasta} is left for it, so change the --*-chroms options"
            )


def uncovered_chromosomes(spans: Mapping[str, Sequence[Interval]], tracks: Mapping[str, Mapping[str, int]]) -> set[str]:
    """Chromosomes of the splits that no track has: their windows would hold no value at all."""
    covered = {chrom for lengths in tracks.values() for chrom in lengths}
    return {span.chrom for own in spans.values() for span in own} - covered
