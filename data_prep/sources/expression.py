"""Expression of genes from a table with one column a cell type, and labels by its median."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.sources.annotation import gene_name
from data_prep.sources.text_tables import read_rows, split_line
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.text_files import read_lines

_HEADERS = ("ensg", "gene_id", "gene", "id")


def read_expression(path: Path, column: str | None = None, versions: str = "strip") -> dict[str, float]:
    """RPKM (or TPM) per gene.

    Args:
        path: table whose first column holds gene ids; tab- or comma-separated, gzipped or not.
        column: which column to read; may be left out if there is only one.
        versions: see `data_prep.sources.annotation.gene_name`.

    Raises:
        JaxepiError: if the column is missing or not given, a value is no number from 0, or a gene comes twice.
    """
    values: dict[str, float] = {}
    first = ""
    for number, row in read_rows(path):
        if not first:
            first, *columns = [name for name in row if name]
            column = _column(path, columns, column)
        gene, text = gene_name(row[first], versions), row[column or ""]
        if not gene:
            raise JaxepiError(f"{path} line {number} names no gene: an id in the column {first!r} was expected")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise JaxepiError(
                f"{path} line {number} gives gene {gene} the expression {text!r}: a number from 0 was expected"
            )
        if gene in values:
            raise JaxepiError(f"{path} lists gene {gene} twice (again in line {number}): list each gene once")
        values[gene] = value
    if not values:
        raise JaxepiError(f"{path} lists no gene: a header and rows of gene id and expression were expected")
    return values


def _column(path: Path, columns: list[str], wanted: str | None) -> str:
    if wanted is None and len(columns) == 1:
        return columns[0]
    if wanted is None:
        raise JaxepiError(
            f"{path} has {len(columns)} columns of values ({', '.join(columns[:6])}): choose one with "
            "--expression-column"
        )
    if wanted not in columns:
        raise JaxepiError(
            f"{path} has no column {wanted!r}{did_you_mean(wanted, columns)}: --expression-column names one of "
            f"{', '.join(columns[:8])}"
        )
    return wanted


def read_gene_list(path: Path, versions: str = "strip") -> set[str]:
    """Gene ids in the first column of a file, with or without a header row (ensg, gene_id, gene, id)."""
    names = [split_line(line, path, number)[0] for number, line in read_lines(path) if line.strip()]
    if names and names[0].lower() in _HEADERS:
        names = names[1:]
    if not all(names):
        raise JaxepiError(f"{path} has an empty cell where a gene id was expected: mend or remove the line")
    if not names:
        raise JaxepiError(f"{path} lists no gene: one gene id a line was expected")
    return {gene_name(name, versions) for name in names}


def label_by_median(expression: Mapping[str, float]) -> dict[str, int]:
    """1 for genes whose expression is at least the median of all, 0 below."""
    median = float(np.median(list(expression.values())))
    return {gene: int(value >= median) for gene, value in expression.items()}
