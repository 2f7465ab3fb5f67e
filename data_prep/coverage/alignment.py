"""`python -m data_prep coverage-align`: one split of two genomes, in which aligned regions are never torn apart.

Contigs of both genomes that share a long aligned stretch (a top-level fill of a UCSC net file) belong together, and so
do those that are joined through others; such a group goes to one split as a whole. So a gene that a model was trained
on in one genome is not what it is tested on in the other.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.dataset import describe_inputs
from data_prep.build.folder import BuildFolder, remove_stale
from data_prep.build.options import PROGRAM, Help, add_chrom_prefix, check_least, parse_options, refuse_beside
from data_prep.coverage.contigs import LOST_CONTIG, break_up, rejoin, subtract, whole_chromosomes
from data_prep.coverage.splits import SPLITS, Contigs, aims_of_shares, assign, shares_of
from data_prep.sources.genome import Genome
from data_prep.sources.regions import check_inside
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import Interval, Intervals, parse_position
from jaxepi.genome.text_files import read_bed, read_lines

ABSTAIN = 0.5  # a group longer than this share of what a split still lacks does not go there
_ARGUMENTS = "arguments.json"


@dataclass(frozen=True)
class Fill:
    """An aligned stretch: where it lies in the genome of the net file, and in the other one."""

    own: Interval
    other: Interval


def read_fills(path: Path, least: int, prefix: str = "as-is") -> Iterator[Fill]:
    """Top-level fills of a UCSC net file of which both sides have at least `least` bp.

    Raises:
        JaxepiError: a line that is no line of a net, or a fill before the first chromosome.
    """
    chrom = None
    for number, line in read_lines(path, "a net file"):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        try:
            if words[0] == "net":
                chrom = harmonise(words[1], prefix)
            elif words[0] not in ("fill", "gap"):
                raise ValueError(f"it begins with {words[0]!r}, not with net, fill or gap")
            elif words[0] == "fill" and len(line) - len(line.lstrip(" ")) == 1:
                if chrom is None:
                    raise ValueError("a fill comes before the first line `net chromosome length`")
                start, size, other_start, other_size = (parse_position(words[i]) for i in (1, 2, 5, 6))
                if min(size, other_size) >= least:
                    other = harmonise(words[3], prefix)
                    yield Fill(
                        Interval(chrom, start, start + size), Interval(other, other_start, other_start + other_size)
                    )
        except (ValueError, IndexError) as error:
            reason = "it has too few columns" if isinstance(error, IndexError) else error
            raise JaxepiError(f"{path} line {number} is no line of a net file: {reason}") from None


def groups_of(contigs: Sequence[Sequence[Interval]], fills: Sequence[Fill], least: int) -> np.ndarray:
    """The group of each contig: those of the first genome, then those of the second.

    Args:
        contigs: of both genomes; those of one do not overlap.
        fills: own side in the first genome.
        least: a contig belongs to a fill if they share more than this many bp.

    Returns:
        Numbers of connected components, (contigs,) int32.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places: dict[tuple[int, str], list[tuple[int, Interval]]] = {}
    for node, (genome, contig) in enumerate((genome, contig) for genome, own in enumerate(contigs) for contig in own):
        places.setdefault((genome, contig.chrom), []).append((node, contig))
    total = sum(map(len, contigs))
    links = [
        (total + number, node)
        for number, fill in enumerate(fills)
        for genome, side in enumerate((fill.own, fill.other))
        for node, contig in places.get((genome, side.chrom), ())
        if min(contig.end, side.end) - max(contig.start, side.start) > least
    ]
    rows, columns = np.array(links, np.int64).reshape(-1, 2).T
    size = total + len(fills)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    return connected_components(graph, directed=False)[1][:total]


def common_split(
    contigs: Sequence[Sequence[Interval]], groups: np.ndarray, shares: tuple[float, float] | int, seed: int
) -> tuple[Contigs, Contigs]:
    """Shares out whole groups, longest first; see `data_prep.coverage.splits.assign`.

    Args:
        contigs: of both genomes.
        groups: from `groups_of`.
        shares: of test and validation split, or the number of folds.
        seed: of NumPy's legacy generator.

    Returns:
        Contigs of each split, of both genomes, those that touch joined.
    """
    every = [(genome, contig) for genome, own in enumerate(contigs) for contig in own]
    members: dict[int, list[tuple[int, Interval]]] = {}
    for group, item in zip(groups.tolist(), every, strict=True):
        members.setdefault(group, []).append(item)
    ordered = sorted(((sum(contig.length for _, contig in own), sorted(own)) for own in members.values()), reverse=True)
    lengths = [length for length, _ in ordered]
    random = np.random.RandomState(seed)
    if isinstance(shares, int):
        names = tuple(f"fold{i}" for i in range(shares))
        chosen = assign(lengths, [float(np.ceil(sum(lengths) / shares))] * shares, random, None)
    else:
        names = SPLITS
        chosen = assign(lengths, aims_of_shares(sum(lengths), *shares), random, ABSTAIN, first=1)
    made: tuple[Contigs, Contigs] = tuple({name: [] for name in names} for _ in contigs)
    for (_, own), split in zip(ordered, chosen, strict=True):
        for genome, contig in own:
            made[genome][names[split]].append(contig)
    return tuple({name: rejoin(own) for name, own in side.items()} for side in made)


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} coverage-align",
        description="Splits two genomes so that aligned regions stay together: writes a BED file of contigs for each, "
        "for --splits of `data_prep coverage`.",
        formatter_class=Help,
    )
    p.add_argument(
        "--fastas", nargs=2, required=True, metavar="FASTA", help="the genome of the net file, and the other"
    )
    p.add_argument("--net", required=True, metavar="FILE", help="UCSC alignment net, plain or gzipped")
    p.add_argument("--gaps", nargs=2, metavar="BED", help="assembly gaps of both genomes")
    p.add_argument("--names", nargs=2, default=["genome0", "genome1"], metavar="NAME", help="of the BED files")
    p.add_argument("--break", dest="break_length", type=int, default=786_432, metavar="BP", help="halve longer contigs")
    p.add_argument("--shortest", type=int, default=131_072, metavar="BP", help="leave out contigs shorter than this")
    p.add_argument("--lost-contig", choices=LOST_CONTIG, default="keep", help="parity loses a contig of each genome")
    p.add_argument("--fill", "--nf", type=int, default=100_000, metavar="BP", help="use fills of at least this length")
    p.add_argument(
        "--overlap", "--no", type=int, default=1_024, metavar="BP", help="contig and fill share more than this"
    )
    p.add_argument("-t", "--test", default="0.1", metavar="SHARE", help="share of the test split")
    p.add_argument("-v", "--valid", default="0.1", metavar="SHARE", help="share of the validation split")
    p.add_argument("-f", "--folds", type=int, metavar="N", help="folds instead of train, valid and test")
    p.add_argument("--seed", type=int, default=44, help="a whole number")
    add_chrom_prefix(p)
    p.add_argument("--out", required=True, metavar="DIR", help="folder for <name>.bed; made whole or not at all")
    return p


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; a rerun with the same arguments does nothing."""
    args, typed = parse_options(parser(program), argv)
    check_least(args, {"break_length": 1, "shortest": 1, "fill": 0, "overlap": 0, "folds": 2, "seed": 0})
    if args.folds:
        refuse_beside(typed, "--folds", ["test", "valid"])
    if args.names[0] == args.names[1]:
        raise JaxepiError(f"--names are both {args.names[0]}: two names of files were expected")
    shares = args.folds or shares_of(args.test, args.valid)
    if shares is None:
        raise JaxepiError(f"--test is {args.test}: a share from 0 to 1 was expected, chromosomes of two genomes differ")
    genomes = [Genome(path, args.chrom_prefix) for path in args.fastas]
    out, arguments = Path(args.out), _arguments(args, genomes)
    if _made_before(out, arguments):
        return 0
    contigs = [
        _contigs(args, genome, None if args.gaps is None else Path(args.gaps[number]))
        for number, genome in enumerate(genomes)
    ]
    fills = list(read_fills(Path(args.net), args.fill, args.chrom_prefix))
    groups = groups_of(contigs, fills, args.overlap)
    _check_used(args, fills, genomes)
    made = common_split(contigs, groups, shares, args.seed)
    texts = {f"{name}.bed": _text(own) for name, own in zip(args.names, made, strict=True)}
    _write(out, texts | {_ARGUMENTS: json.dumps(arguments, indent=1) + "\n"})
    print(f"{len(groups)} contigs in {len(set(groups.tolist()))} groups, by {len(fills)} fills of {args.net}")
    for name, own in zip(args.names, made, strict=True):
        sizes = ", ".join(f"{split} {sum(c.length for c in contigs):,} bp" for split, contigs in own.items())
        print(f"{out / f'{name}.bed'}: {sizes}")
    return 0


def _arguments(args: argparse.Namespace, genomes: Sequence[Genome]) -> dict[str, Any]:
    files = {f"fasta {i}": genome.path for i, genome in enumerate(genomes)} | {"net": Path(args.net).absolute()}
    files |= {f"gaps {i}": Path(path).absolute() for i, path in enumerate(args.gaps or ())}
    missing = next((path for path in files.values() if not path.is_file()), None)
    if missing is not None:
        raise JaxepiError(f"{missing} does not exist: a file was expected")
    plain = ("names", "break_length", "shortest", "lost_contig", "fill", "overlap", "test", "valid", "folds", "seed")
    digests = {entry["role"]: entry["digest"] for entry in describe_inputs(files)}
    return {name: getattr(args, name) for name in (*plain, "chrom_prefix")} | {"inputs": digests}


def _made_before(out: Path, arguments: Mapping[str, Any]) -> bool:
    if not out.exists():
        return False
    try:
        there = json.loads((out / _ARGUMENTS).read_text())
    except (OSError, ValueError):
        raise JaxepiError(f"{out} exists and was not made by this command: choose another --out") from None
    if there != json.loads(json.dumps(arguments)):
        other = next((name for name, value in arguments.items() if there.get(name) != value), "another argument")
        raise JaxepiError(f"{out} was made with other arguments or files ({other}): choose another --out")
    remove_stale(out)
    print(f"{out} is there already, made with the same arguments from the same files: nothing to do")
    return True


def _contigs(args: argparse.Namespace, genome: Genome, gaps: Path | None) -> list[Interval]:
    contigs = whole_chromosomes(genome.lengths)
    if gaps is not None:
        regions = Intervals.of(row.interval for row in read_bed(gaps, args.chrom_prefix))
        check_inside(gaps, regions, genome.lengths)
        contigs = subtract(contigs, regions)
    contigs = [contig for contig in contigs if contig.length >= args.shortest]
    if not contigs:
        raise JaxepiError(f"{genome.path} has no contig of --shortest {args.shortest} bp: use a smaller number")
    return break_up(contigs, args.break_length, args.lost_contig)


def _check_used(args: argparse.Namespace, fills: Sequence[Fill], genomes: Sequence[Genome]) -> None:
    """The net must be one of these genomes, this way round."""
    if not fills:
        raise JaxepiError(f"{args.net} has no top-level fill of --fill {args.fill} bp: use a smaller number")
    for side, genome in (("own", genomes[0]), ("other", genomes[1])):
        named = {getattr(fill, side).chrom for fill in fills}
        if not named & set(genome.lengths):
            some = ", ".join(sorted(named)[:3])
            raise JaxepiError(
                f"{args.net} aligns {some}, which {genome.path} lacks: --fastas must be the genome of the net file and "
                "the one that is aligned to it, in this order (--chrom-prefix brings names to one form)"
            )


def _text(contigs: Contigs) -> str:
    return "".join(f"{c.chrom}\t{c.start}\t{c.end}\t{split}\n" for split, own in contigs.items() for c in own)


def _write(out: Path, texts: Mapping[str, str]) -> None:
    with BuildFolder(out) as place:
        made = place.folder / "made"
        try:
            made.mkdir()
            for name, text in texts.items():
                (made / name).write_text(text)
            place.publish(made, replace=False)
        except OSError as error:
            raise JaxepiError(
                f"writing {out} failed ({error.strerror or error}) and nothing was left behind: check the free space "
                "and the permissions, or choose another --out"
            ) from error
