"""Transcription start sites of genes, the preferred one first, from a GTF annotation or from a table."""

from pathlib import Path

from data_prep.sources.text_tables import read_rows
from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import Tss, read_features, without_version
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import parse_position

ALL_BIOTYPES = "all"
VERSION_MODES = ("strip", "keep")
_TYPES = ("transcript_type", "transcript_biotype", "gene_type", "gene_biotype")
_UNTYPED = "without one"


def gene_name(gene_id: str, versions: str) -> str:
    """A gene id without (`strip`) or with (`keep`) its version: ENSG00000000003.15 is ENSG00000000003."""
    return without_version(gene_id) if versions == "strip" else gene_id


def read_gtf(
    path: Path, prefix: str = "as-is", biotype: str = "protein_coding", versions: str = "strip"
) -> dict[str, list[Tss]]:
    """Start sites per gene, those of transcripts with the longest genomic span first (equal ones in file order).

    Args:
        path: GTF, gzipped or not; its rows `transcript` are used.
        prefix: see `jaxepi.genome.chroms.harmonise`.
        biotype: of the transcripts that count (of the gene where transcripts have none); `all` takes all. Transcripts
            without one count with `all` only.
        versions: see `gene_name`.

    Raises:
        JaxepiError: if a row is not GTF, or no transcript is left.
    """
    found: dict[str, list[tuple[int, Tss]]] = {}
    others: set[str] = set()
    for row in read_features(path, ("transcript",), prefix):
        own_type = next((row.attributes[name] for name in _TYPES if name in row.attributes), None)
        if biotype not in (ALL_BIOTYPES, own_type):
            others.add(own_type or _UNTYPED)
            continue
        gene = gene_name(row.attributes["gene_id"], versions)
        found.setdefault(gene, []).append((row.start - row.end, row.tss))
    if not found and others == {_UNTYPED}:
        raise JaxepiError(
            f"{path} has transcripts without a biotype ({', '.join(_TYPES)}), so --biotype {biotype} chooses none: use "
            "--biotype all"
        )
    if not found:
        have = f"only transcripts of the biotypes {', '.join(sorted(others)[:5])}" if others else "no row `transcript`"
        raise JaxepiError(f"{path} has {have}: GTF with transcripts of --biotype {biotype} was expected")
    ranked = {gene: sorted(own, key=lambda entry: entry[0]) for gene, own in found.items()}
    return {gene: list(dict.fromkeys(tss for _, tss in own)) for gene, own in ranked.items()}


def read_tss_table(path: Path, prefix: str = "as-is", versions: str = "strip") -> dict[str, list[Tss]]:
    """Start sites per gene in the order of the rows, from a table with the columns gene_id, chrom, start, strand."""
    found: dict[str, list[Tss]] = {}
    for number, row in read_rows(path, ("gene_id", "chrom", "start", "strand")):
        try:
            position = parse_position(row["start"])
            if not row["gene_id"] or not row["chrom"] or row["strand"] not in ("+", "-"):
                raise ValueError
        except ValueError as error:
            raise JaxepiError(
                f"{path} line {number} (gene {row['gene_id']}) has start {row['start'][:40]!r}, strand "
                f"{row['strand']!r} and chromosome {row['chrom']!r}: a 0-based position, + or - and a name expected"
            ) from error
        tss = Tss(harmonise(row["chrom"], prefix), position, row["strand"] == "-")
        found.setdefault(gene_name(row["gene_id"], versions), []).append(tss)
    if not found:
        raise JaxepiError(f"{path} lists no start site: rows of genes were expected")
    return found
