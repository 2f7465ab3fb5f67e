"""Genes with their start site, fold, expression and contacts: the table from which Chromoformer records are made.

On disk it is the original's metadata.csv: gene_id, label, expression, eid, chrom, start, end, strand, split, neighbors
(regions joined by `;`, best score first) and scores.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.sources.text_tables import Row, read_rows
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, parse_interval
from jaxepi.storage.atomic import replacing

COLUMNS = ("gene_id", "expression", "eid", "label", "chrom", "start", "end", "strand", "split", "neighbors", "scores")
_NEEDED = ("gene_id", "chrom", "start", "strand", "split", "neighbors", "scores")
FOLDS = (1, 2, 3, 4)
UNKNOWN_LABEL = -1


@dataclass(frozen=True)
class Gene:
    """One gene of one cell type."""

    gene_id: str
    chrom: str
    tss: int  # 0-based
    minus: bool
    fold: int  # 1 to 4
    expression: float  # RPKM; NaN = unknown
    label: int  # 1 = expression at least the median of the cell type, 0 below, -1 unknown
    neighbors: tuple[Interval, ...] = ()  # regions in contact, best score first
    scores: tuple[float, ...] = ()  # normalised contact frequency of each


def read_metadata(path: Path, eid: str | None = None, max_pcre_length: int | None = None) -> list[Gene]:
    """Reads a table in the original's format; expression, label and eid may be missing.

    Args:
        path: CSV or TSV, gzipped or not.
        eid: keep the rows of this epigenome.
        max_pcre_length: bp that a neighbour may have.

    Raises:
        JaxepiError: naming gene and file, for whatever does not fit.
    """
    rows = list(read_rows(path, _NEEDED))
    if eid is not None:
        rows = _of_epigenome(path, rows, eid)
    genes: dict[str, Gene] = {}
    for number, row in rows:
        gene = _gene(path, row, f"gene {row['gene_id'] or '(no id)'} in {path} (line {number})")
        if gene.gene_id in genes:
            eids = sorted({own.get("eid", "") for _, own in rows})
            hint = f"choose an epigenome with --eid ({', '.join(eids[:5])})" if len(eids) > 1 else "list each gene once"
            raise JaxepiError(f"{path} lists gene {gene.gene_id} twice (again in line {number}): {hint}")
        longest = max(gene.neighbors, key=lambda region: region.length, default=None)
        if max_pcre_length is not None and longest is not None and longest.length > max_pcre_length:
            raise JaxepiError(
                f"gene {gene.gene_id} in {path} has the neighbour {longest} of {longest.length} bp, but at most "
                f"{max_pcre_length} bp are allowed: leave it out, or raise --max-pcre-length"
            )
        genes[gene.gene_id] = gene
    if not genes:
        raise JaxepiError(f"{path} lists no gene: rows of genes were expected")
    return list(genes.values())


def _of_epigenome(path: Path, rows: list[tuple[int, Row]], eid: str) -> list[tuple[int, Row]]:
    known = sorted({row.get("eid", "") for _, row in rows})
    own = [(number, row) for number, row in rows if row.get("eid") == eid]
    if not own:
        raise JaxepiError(
            f"{path} has no row of the epigenome {eid!r}: its column eid holds {', '.join(known[:8]) or 'nothing'}"
        )
    return own


def _gene(path: Path, row: Row, where: str) -> Gene:
    if not row["gene_id"] or not row["chrom"]:
        raise JaxepiError(f"{where} lacks its gene_id or chrom: fill in both")
    if row["strand"] not in ("+", "-"):
        raise JaxepiError(f"{where} has the strand {row['strand']!r}: + or - was expected")
    tss = _whole(row["start"], where, "start", 0)
    fold = _whole(row["split"], where, "split", 1)
    if fold not in FOLDS:
        raise JaxepiError(f"{where} has the split {fold}: a fold from 1 to 4 was expected")
    label = UNKNOWN_LABEL
    if row.get("label", "") != "":
        label = _whole(row["label"], where, "label", 0)
        if label > 1:
            raise JaxepiError(f"{where} has the label {label}: 0 or 1 was expected")
    neighbors, scores = _contacts(row, where)
    expression = _expression(row.get("expression", ""), where)
    return Gene(row["gene_id"], row["chrom"], tss, row["strand"] == "-", fold, expression, label, neighbors, scores)


def _whole(text: str, where: str, column: str, least: int) -> int:
    try:
        number = float(text)
        if number != int(number) or number < least:
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise JaxepiError(f"{where} has the {column} {text!r}: a whole number from {least} was expected") from error
    return int(number)


def _expression(text: str, where: str) -> float:
    if text == "":
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise JaxepiError(f"{where} has the expression {text!r}: a number from 0 (RPKM) was expected")
    return value


def _contacts(row: Row, where: str) -> tuple[tuple[Interval, ...], tuple[float, ...]]:
    names = row["neighbors"].split(";") if row["neighbors"] else []
    numbers = row["scores"].split(";") if row["scores"] else []
    if len(names) != len(numbers):
        raise JaxepiError(f"{where} has {len(names)} neighbors and {len(numbers)} scores: one score each was expected")
    try:
        regions = [parse_interval(name.strip()) for name in names]
    except ValueError as error:
        raise JaxepiError(f"{where} has a wrong neighbour: {error}") from error
    scores = [_score(number, where) for number in numbers]
    # The original's tables are sorted; readers that truncate rely on it.
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return tuple(regions[i] for i in order), tuple(scores[i] for i in order)


def _score(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise JaxepiError(f"{where} has the score {text!r}: a number was expected")
    return value


def check_folds(genes: Sequence[Gene], source: Path) -> None:
    """Raises JaxepiError if a chromosome lies in two folds: neighbouring genes would leak between them."""
    first: dict[str, Gene] = {}
    for gene in genes:
        other = first.setdefault(gene.chrom, gene)
        if other.fold != gene.fold:
            raise JaxepiError(
                f"{gene.chrom} is in two folds of {source}: gene {other.gene_id} is in split {other.fold} and gene "
                f"{gene.gene_id} in split {gene.fold}, but a chromosome belongs to one"
            )


def check_inside(genes: Sequence[Gene], lengths: Mapping[str, int], genes_file: Path, lengths_file: Path) -> None:
    """Raises JaxepiError if a start site or a neighbour lies beyond its chromosome, or the chromosome is unknown."""
    for gene in genes:
        for what, chrom, end in [
            (f"its start site {gene.tss}", gene.chrom, gene.tss + 1),
            *((f"its neighbour {region}", region.chrom, region.end) for region in gene.neighbors),
        ]:
            if chrom not in lengths:
                raise JaxepiError(
                    f"gene {gene.gene_id} of {genes_file} has {what} on {chrom}, which {lengths_file} lacks (it has "
                    f"{', '.join(list(lengths)[:3])} …): use files of the same genome, or --chrom-prefix"
                )
            if end > lengths[chrom]:
                raise JaxepiError(
                    f"gene {gene.gene_id} of {genes_file} has {what} on {chrom}, but {chrom} is {lengths[chrom]} bp "
                    f"long in {lengths_file}: use files of the same genome build"
                )


def write_metadata(path: Path, genes: Sequence[Gene], eid: str) -> None:
    """Writes the table in the original's format, whole or not at all."""
    try:
        with replacing(path) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(_cells(gene, eid) for gene in genes)
    except OSError as error:
        raise JaxepiError(f"{path} cannot be written ({error.strerror}): choose another place") from error


def _cells(gene: Gene, eid: str) -> list[object]:
    expression = "" if math.isnan(gene.expression) else gene.expression
    label = "" if gene.label == UNKNOWN_LABEL else gene.label
    strand = "-" if gene.minus else "+"
    neighbors, scores = ";".join(map(str, gene.neighbors)), ";".join(map(repr, gene.scores))
    place = [gene.chrom, gene.tss, gene.tss + 1, strand, gene.fold]
    return [gene.gene_id, expression, eid, label, *place, neighbors, scores]
