"""Genes of a GTF annotation: its rows, and where the transcription of a gene starts. Positions are 0-based."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import parse_position
from jaxepi.genome.text_files import read_lines

NAMES = ("gene_name", "gene")  # attributes that hold what people call a gene
_ATTRIBUTE = re.compile(r'(\w+) "?([^";]*)"?')
_VERSION = re.compile(r"\.\d+(?=$|_)")
_NEAR = 3  # names that a sentence suggests


class Tss(NamedTuple):
    """A transcription start site, 0-based."""

    chrom: str
    position: int
    minus: bool

    def __str__(self) -> str:
        return f"{self.chrom}:{self.position}-{self.position + 1}"


class Feature(NamedTuple):
    """A row of a GTF: the number of its line, its interval (0-based half-open), strand and attributes."""

    line: int
    kind: str
    chrom: str
    start: int
    end: int
    minus: bool
    attributes: Mapping[str, str]

    @property
    def tss(self) -> Tss:
        """Where transcription starts: the first base, on the minus strand the last one."""
        return Tss(self.chrom, self.end - 1 if self.minus else self.start, self.minus)


class Gene(NamedTuple):
    """A gene with its start sites, that of the transcript with the longest genomic span first."""

    gene_id: str
    name: str  # the id where the annotation has no other
    sites: tuple[Tss, ...]

    def __str__(self) -> str:
        return f"{self.gene_id} at {self.sites[0]} ({'-' if self.sites[0].minus else '+'})"


def without_version(gene_id: str) -> str:
    """A gene id without its version: ENSG00000000003.15 is ENSG00000000003."""
    return _VERSION.sub("", gene_id, count=1)


def read_features(
    path: Path, kinds: Collection[str], prefix: str = "as-is", mentioning: Sequence[str] = ()
) -> Iterator[Feature]:
    """The rows of some kinds, such as `transcript`.

    Args:
        path: GTF, gzipped or not.
        kinds: third cell of a row.
        prefix: see `jaxepi.genome.chroms.harmonise`.
        mentioning: only lines that hold one of these texts are looked at; (): all.

    Raises:
        JaxepiError: if a row is not GTF.
    """
    for number, line in read_lines(path, "a GTF file"):
        if not line or line.startswith("#") or (mentioning and not any(text in line for text in mentioning)):
            continue
        cells = line.split("\t")
        if len(cells) < 9:
            raise JaxepiError(
                f"{path} line {number} has {len(cells)} cells: GTF with nine, tab-separated, was expected"
            )
        if cells[2] in kinds:
            yield _feature(cells, f"{path} line {number}", number, prefix)


def _feature(cells: Sequence[str], where: str, number: int, prefix: str) -> Feature:
    attributes = dict(_ATTRIBUTE.findall(cells[8]))
    if not attributes.get("gene_id"):  # whatever its biotype: the line is cut, or no GTF
        raise JaxepiError(f"{where} lacks gene_id, start or end of its {cells[2]}: GTF was expected")
    if cells[6] not in ("+", "-"):
        raise JaxepiError(f"{where} has the strand {cells[6]!r}: + or - was expected")
    try:
        start, end = parse_position(cells[3]) - 1, parse_position(cells[4])
        if not cells[0] or not 0 <= start < end:
            raise ValueError
    except ValueError as error:
        raise JaxepiError(
            f"{where} lacks gene_id, start or end, or chromosome of its {cells[2]}: GTF was expected"
        ) from error
    return Feature(number, cells[2], harmonise(cells[0], prefix), start, end, cells[6] == "-", attributes)


def find_genes(path: Path, names: Sequence[str], chroms: Collection[str]) -> list[Gene]:
    """The genes of some names or ids, in the order asked for.

    A gene has a start site for each of its rows `transcript`; where it has none, its rows `exon` tell what its
    transcripts span. Of several genes of one name, those on other chromosomes than `chroms` are passed over.

    Args:
        path: GTF, gzipped or not.
        names: `gene_name` (or `gene`), or `gene_id` with or without its version.
        chroms: names of the chromosomes of the genome.

    Raises:
        JaxepiError: if a row is not GTF, a name is none of its genes, told with the nearest, or that of several.
    """
    found = _mentioned(path, names)
    missing = next((name for name in names if not found[name]), None)
    if missing is not None:
        raise JaxepiError(_unknown(path, missing))
    genes = []
    for name in names:
        own = [gene for gene in found[name] if gene.sites[0].chrom in chroms] or found[name]
        if len(own) > 1:
            told = ", ".join(map(str, own[:5])) + (" ..." if len(own) > 5 else "")
            raise JaxepiError(
                f"{path} has {len(own)} genes called {name!r}: {told}; name one by a gene_id that no other has, or "
                "give its place as a region."
            )
        genes += own
    return genes


def _mentioned(path: Path, names: Sequence[str]) -> dict[str, list[Gene]]:
    """Name -> the genes that have it; an id that is the whole name goes before names."""
    spans: dict[tuple[str, str, bool], dict[tuple[str, object], Feature]] = {}
    called: dict[tuple[str, str, bool], str] = {}
    for row in read_features(path, ("transcript", "exon"), mentioning=names):
        gene_id = row.attributes["gene_id"]
        own_names = _names(row.attributes)
        if not set(own_names).intersection(names):
            continue
        key = gene_id, row.chrom, row.minus
        called.setdefault(key, own_names[-1])
        part = row.line if row.kind == "transcript" else row.attributes.get("transcript_id", "")
        before = spans.setdefault(key, {}).get((row.kind, part), row)
        spans[key][row.kind, part] = row._replace(start=min(row.start, before.start), end=max(row.end, before.end))
    genes = {key: _gene(key[0], called[key], own) for key, own in spans.items()}
    found = {}
    for name in names:
        by_id = [gene for key, gene in genes.items() if name in (key[0], without_version(key[0]))]
        found[name] = by_id or [gene for gene in genes.values() if gene.name == name]
    return found


def _gene(gene_id: str, name: str, spans: Mapping[tuple[str, object], Feature]) -> Gene:
    rows = [row for (kind, _), row in spans.items() if kind == "transcript"] or list(spans.values())
    rows.sort(key=lambda row: row.start - row.end)
    return Gene(gene_id, name, tuple(dict.fromkeys(row.tss for row in rows)))


def _names(attributes: Mapping[str, str]) -> list[str]:
    """What a row's gene goes by: its id, the id without a version, and last what people call it."""
    gene_id = attributes["gene_id"]
    called = next((attributes[name] for name in NAMES if attributes.get(name)), gene_id)
    return [gene_id, without_version(gene_id), called]


def _unknown(path: Path, name: str) -> str:
    """The sentence for a name that no gene has, with the nearest ones."""
    rows = read_features(path, ("transcript", "exon"))
    known = {known.lower(): known for row in rows for known in _names(row.attributes)}
    if not known:
        return f"{path} has no row `transcript` or `exon`: a GTF with the transcripts of genes was expected."
    near = [repr(known[text]) for text in difflib.get_close_matches(name.lower(), known, n=_NEAR, cutoff=0.6)]
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"{path} has no gene {name!r}{meant}: a gene_name or a gene_id of it was expected."
