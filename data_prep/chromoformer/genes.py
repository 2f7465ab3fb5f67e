"""The options of `data_prep chromoformer` that say which genes, and reading them into a table of genes."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_prep.chromoformer.contact_matrices import matrix_files, read_matrices
from data_prep.chromoformer.contacts import DIRECTIONS, WHOLE_SCORES, Contacts, read_contacts, read_tss_fragments
from data_prep.chromoformer.folds import folds_of_genes
from data_prep.chromoformer.gene_assembly import Sources, assemble
from data_prep.chromoformer.gene_table import Gene, read_metadata
from data_prep.sources.annotation import VERSION_MODES, Tss, read_gtf, read_tss_table
from data_prep.sources.expression import read_expression, read_gene_list
from jaxepi.errors import JaxepiError

_FROM_PARTS = ("annotation", "tss", "genes", "expression", "contacts", "hic", "tss_fragments")


@dataclass(frozen=True)
class Genes:
    """Genes with what the manifest says about their making."""

    genes: list[Gene]
    table: Path  # for messages
    eid: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Adds the options to a parser."""
    g = p.add_argument_group("genes: a table (--metadata), or annotation, expression and contacts")
    g.add_argument(
        "--metadata", metavar="CSV", help="table of the original: gene, start site, split, neighbors, scores"
    )
    g.add_argument("--eid", metavar="NAME", help="epigenome: which rows of --metadata, or what to call --expression")
    g.add_argument("--annotation", metavar="GTF", help="gene annotation; transcripts give the start sites")
    g.add_argument("--tss", metavar="TABLE", help="instead: gene_id, chrom, start, strand, preferred start site first")
    g.add_argument("--genes", metavar="FILE", help="gene ids to keep, one a line (default: all)")
    g.add_argument("--expression", metavar="TABLE", help="gene id and RPKM; without it labels are unknown")
    g.add_argument("--expression-column", metavar="NAME", help="column of --expression, if it has several")
    g.add_argument("--biotype", default="protein_coding", metavar="NAME", help="of --annotation, or all")
    g.add_argument(
        "--gene-versions",
        choices=VERSION_MODES,
        default="strip",
        help="whether ENSG….15 is ENSG…",
    )
    g.add_argument(
        "--folds",
        nargs="+",
        metavar="GROUPS",
        help="paper (human chromosomes), balanced (by number of genes), or 1=chr1,chr5 2=… (default: paper; with "
        "--metadata, its column split)",
    )
    _add_contacts(p.add_argument_group("contacts"))


def _add_contacts(g: Any) -> None:
    g.add_argument("--contacts", metavar="TABLE", help="promoter-capture or Hi-C contacts with scores; see the docs")
    g.add_argument("--score-column", metavar="NAME", help="of --contacts; name, or number without header")
    g.add_argument(
        "--contacts-direction",
        choices=DIRECTIONS,
        default="both",
        help="as-listed: only the second fragment of a row is a neighbour of the first",
    )
    g.add_argument("--hic", metavar="DIR", help="instead: normalised matrices, one file a chromosome")
    g.add_argument("--hic-bin", type=int, default=40_000, metavar="BP", help="bin of --hic")
    g.add_argument(
        "--tss-fragments",
        metavar="TABLE",
        help="columns tss and fragment (default: the fragments that contain the start site)",
    )
    g.add_argument("--min-score", type=float, default=1.5, help="contacts must score more than this")
    g.add_argument(
        "--whole-scores",
        choices=WHOLE_SCORES,
        default="error",
        help="what to do with contacts whose scores are all whole numbers, as counts are that nobody normalised",
    )
    g.add_argument(
        "--max-neighbors",
        type=int,
        metavar="N",
        help="contacts a gene, the best ones (default: 8; with --metadata, as many as it lists)",
    )
    g.add_argument(
        "--max-pcre-length",
        type=int,
        default=40_000,
        metavar="BP",
        help="longest neighbour; longer ones are no neighbours, in --metadata an error",
    )


def read_genes(args: argparse.Namespace, lengths: Mapping[str, int]) -> Genes:
    """Reads what the options name.

    Args:
        args: parsed options.
        lengths: chromosome lengths of the depth files, empty if unknown.

    Raises:
        JaxepiError: for options that do not go together, and for whatever is wrong in a file.
    """
    parts = [name for name in _FROM_PARTS if getattr(args, name)]
    if args.metadata and parts:
        option = parts[0].replace("_", "-")
        raise JaxepiError(f"--metadata holds all about the genes and --{option} would not be used: leave one out")
    return _from_metadata(args) if args.metadata else _from_parts(args, lengths)


def _from_metadata(args: argparse.Namespace) -> Genes:
    path = Path(args.metadata).absolute()
    genes = read_metadata(path, args.eid, args.max_pcre_length)
    if args.max_neighbors is not None:
        genes = [_truncated(gene, args.max_neighbors) for gene in genes]
    if args.folds:
        fold_of = folds_of_genes(args.folds, {gene.gene_id: gene.chrom for gene in genes}, str(path))
        genes = [replace(gene, fold=fold_of[gene.gene_id]) for gene in genes if gene.gene_id in fold_of]
    arguments = {name: getattr(args, name) for name in ("eid", "max_neighbors", "max_pcre_length")}
    arguments["folds"] = sorted(args.folds) if args.folds else None
    return Genes(genes, path, args.eid or "", {"metadata": path}, arguments)


def _truncated(gene: Gene, count: int) -> Gene:
    return replace(gene, neighbors=gene.neighbors[:count], scores=gene.scores[:count])


def _from_parts(args: argparse.Namespace, lengths: Mapping[str, int]) -> Genes:
    if bool(args.annotation) == bool(args.tss):
        raise JaxepiError("genes need one source of start sites: give --metadata, or --annotation, or --tss")
    if args.contacts and args.hic:
        raise JaxepiError("contacts come from one place: give --contacts or --hic")
    if args.tss_fragments and not args.contacts:
        raise JaxepiError("--tss-fragments says which fragment of --contacts a start site has: give --contacts too")
    files = {name: Path(getattr(args, name)).absolute() for name in _FROM_PARTS if getattr(args, name)}
    matrices = matrix_files(files.pop("hic"), args.chrom_prefix) if args.hic else {}
    sites = _sites(args, files)
    expression = None
    if args.expression:
        expression = read_expression(files["expression"], args.expression_column, args.gene_versions)
    chosen = frozenset(read_gene_list(files["genes"], args.gene_versions)) if args.genes else None
    fragments = read_tss_fragments(files["tss_fragments"], args.chrom_prefix) if args.tss_fragments else None
    table = files.get("annotation", files.get("tss", Path()))
    names = [str(table), args.expression or "", args.genes or ""]
    sources = Sources(sites, names[0], expression, names[1], chosen, names[2], fragments)

    def contacts_of(targets: list[Sequence[Tss]]) -> Contacts:
        if args.hic:
            return read_matrices(
                matrices, args.hic_bin, targets, args.min_score, lengths, args.whole_scores == "accept"
            )
        return read_contacts(
            files["contacts"],
            args.chrom_prefix,
            args.contacts_direction,
            args.min_score,
            args.max_pcre_length,
            args.score_column,
            args.whole_scores == "accept",
        )

    count = 8 if args.max_neighbors is None else args.max_neighbors
    if args.hic and (args.hic_bin < 1 or args.hic_bin > args.max_pcre_length):
        raise JaxepiError(f"--hic-bin is {args.hic_bin}: 1 to --max-pcre-length {args.max_pcre_length} were expected")
    genes = assemble(sources, args.folds or ["paper"], contacts_of if args.contacts or args.hic else None, count)
    files |= {f"hic {chrom}": path for chrom, path in matrices.items()}
    return Genes(genes, table, args.eid or args.expression_column or "", files, _arguments(args, count))


def _sites(args: argparse.Namespace, files: Mapping[str, Path]) -> dict[str, list[Tss]]:
    if args.tss:
        return read_tss_table(files["tss"], args.chrom_prefix, args.gene_versions)
    return read_gtf(files["annotation"], args.chrom_prefix, args.biotype, args.gene_versions)


def _arguments(args: argparse.Namespace, count: int) -> dict[str, Any]:
    """What decides the content, None for options that were not used."""
    with_contacts = bool(args.contacts or args.hic)
    return {
        "biotype": args.biotype if args.annotation else None,
        "gene_versions": args.gene_versions,
        "expression_column": args.expression_column,
        "folds": sorted(args.folds or ["paper"]),
        "contacts_direction": args.contacts_direction if args.contacts else None,
        "score_column": args.score_column if args.contacts else None,
        "hic_bin": args.hic_bin if args.hic else None,
        "min_score": args.min_score if with_contacts else None,
        "max_neighbors": count if with_contacts else None,
        "max_pcre_length": args.max_pcre_length if args.contacts else None,
    }
