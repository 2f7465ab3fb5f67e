"""Transcription start sites of genes, the preferred one first, from a GTF annotation or from a table."""

import re
from pathlib import Path
from typing import NamedTuple

from data_prep.sources.text_tables import read_rows
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import parse_position
from jaxepi.genome.text_files import read_lines

ALL_BIOTYPES = "all"
VERSION_MODES = ("strip", "keep")
_ATTRIBUTE = re.compile(r'(\w+) "?([^";]*)"?')
_TYPES = ("transcript_type", "transcript_biotype", "gene_type", "gene_biotype")
_UNTYPED = "without one"
_VERSION = re.compile(r"\.\d+(?=$|_)")


class Tss(NamedTuple):
    """A transcription start site, 0-based."""

    chrom: str
    position: int
    minus: bool

    def __str__(self) -> str:
        return f"{self.chrom}:{self.position}-{self.position + 1}"


def gene_name(gene_id: str, versions: str) -> str:
    """A gene id without (`strip`) or with (`keep`) its version: ENSG00000000003.15 is ENSG00000000003."""
    return _VERSION.sub("", gene_id, count=1) if versions == "strip" else gene_id


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
    for number, line in read_lines(path):
        if not line or line.startswith("#"):
            continue
        cells = line.split("\t")
        if len(cells) < 9:
            raise JaxepiError(
                f"{path} line {number} has {len(cells)} cells: GTF with nine, tab-separated, was expected"
            )
        if cells[2] != "transcript":
            continue
        attributes = dict(_ATTRIBUTE.findall(cells[8]))
        if not attributes.get("gene_id"):  # whatever its biotype: the line is cut, or no GTF
            raise JaxepiError(f"{path} line {number} lacks gene_id, start or end of its transcript: GTF was expected")
        if cells[6] not in ("+", "-"):
            raise JaxepiError(f"{path} line {number} has the strand {cells[6]!r}: + or - was expected")
        own_type = next((attributes[name] for name in _TYPES if name in attributes), None)
        if biotype not in (ALL_BIOTYPES, own_type):
            others.add(own_type or _UNTYPED)
            continue
        try:
            gene, start, end = attributes["gene_id"], parse_position(cells[3]) - 1, parse_position(cells[4])
            if not gene or not cells[0] or not 0 <= start < end:
                raise ValueError
        except (KeyError, ValueError) as error:
            raise JaxepiError(
                f"{path} line {number} lacks gene_id, start or end, or chromosome of its transcript: GTF was expected"
            ) from error
        minus = cells[6] == "-"
        tss = Tss(harmonise(cells[0], prefix), end - 1 if minus else start, minus)
        found.setdefault(gene_name(gene, versions), []).append((start - end, tss))
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
