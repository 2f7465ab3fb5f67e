"""Tables of genes, contacts and chromosomes: what is written is read, and anything else is told in one sentence."""

import math

from hypothesis import given
from hypothesis import strategies as st
from toys.texts import chroms, damaged, file_of, files, intervals, read_or_tell

from data_prep.chromoformer.contact_matrices import read_matrices
from data_prep.chromoformer.contacts import read_contacts, read_tss_fragments
from data_prep.chromoformer.gene_table import Gene, read_metadata, write_metadata
from data_prep.sources.text_tables import read_sizes
from jaxepi.genome.annotation import Tss
from jaxepi.genome.intervals import Interval

regions = intervals(longest=40_000).map(lambda interval: Interval(*interval))
scores = st.floats(1.6, 1e6).filter(lambda score: not score.is_integer())
gene_ids = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_., \"'-]{0,8}[A-Za-z0-9\"])?", fullmatch=True)
expressions = st.floats(0, 1e30) | st.just(math.nan)


@st.composite
def genes(draw):
    contacts = sorted(draw(st.lists(st.tuples(regions, scores), max_size=3)), key=lambda contact: -contact[1])
    place = (draw(gene_ids), draw(chroms), draw(st.integers(0, 2**31)), draw(st.booleans()), draw(st.integers(1, 4)))
    neighbors, own_scores = (tuple(contact[part] for contact in contacts) for part in (0, 1))
    return Gene(*place, draw(expressions), draw(st.sampled_from([-1, 0, 1])), neighbors, own_scores)


@given(st.lists(genes(), min_size=1, max_size=4, unique_by=lambda gene: gene.gene_id))
def test_a_table_of_genes_is_read_as_it_was_written(table):
    with file_of(b"", "genes.csv") as path:
        write_metadata(path, table, "E003")
        assert repr(read_metadata(path, "E003")) == repr(table)


def rows_of(form: str, contacts: list[tuple[Interval, Interval, float]]) -> list[str]:
    if form == "pairs":
        return ["fragment,neighbor,score", *(f"{a},{b},{score!r}" for a, b, score in contacts)]
    lines = ["\t".join(map(str, [*a, *b, score])) for a, b, score in contacts]
    return lines if form == "bedpe" else ["chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tscore", *lines]


@given(st.data(), st.sampled_from(["pairs", "bedpe", "named"]))
def test_contacts_are_those_of_the_file(data, form):
    contacts = data.draw(
        st.lists(st.tuples(regions, regions, scores).filter(lambda c: c[0] != c[1]), min_size=1, max_size=5)
    )
    with file_of(data.draw(files(rows_of(form, contacts)))) as path:
        found = read_contacts(path)
    expected: dict[Interval, dict[Interval, float]] = {}
    for a, b, score in contacts:
        for one, other in ((a, b), (b, a)):
            own = expected.setdefault(one, {})
            own[other] = max(score, own.get(other, 0.0))
    assert {fragment: dict(found.of(fragment)) for fragment in expected} == expected
    assert len(found) == sum(map(len, expected.values()))


CONTACTS = [("chr1", 0, 9, "chr2", 5, 20), ("chr1", 30, 40, "chr1", 50, 60)]
PAIRS = rows_of("pairs", [(Interval(*c[:3]), Interval(*c[3:]), 2.5) for c in CONTACTS])
METADATA = ["gene_id,label,expression,eid,chrom,start,strand,split,neighbors,scores",
            "A,1,2.5,E1,chr1,5,+,1,chr1:5-9;chr2:0-3,2.5;1.5", "B,,,E1,chr2,7,-,2,,"]  # fmt: skip


@given(damaged(PAIRS, ",") | damaged(rows_of("bedpe", [(Interval(*c[:3]), Interval(*c[3:]), 2.5) for c in CONTACTS])))
def test_any_table_of_contacts_is_read_or_told(content):
    for score_column in (None, "7", "²"):
        read_or_tell(lambda path, column=score_column: read_contacts(path, score_column=column), content)
    read_or_tell(read_tss_fragments, content)


@given(damaged(METADATA, ","))
def test_any_table_of_genes_is_read_or_told(content):
    for gene in read_or_tell(lambda path: read_metadata(path, None, 40_000), content) or []:
        assert gene.gene_id and gene.chrom and 0 <= gene.tss <= 1 << 40 and gene.fold in (1, 2, 3, 4)
        assert len(gene.neighbors) == len(gene.scores) and all(math.isfinite(score) for score in gene.scores)


@given(damaged(["chr1\t100", "chr2\t80"]))
def test_any_list_of_chromosomes_is_read_or_told(content):
    assert all(length >= 0 for length in (read_or_tell(read_sizes, content) or {}).values())


@given(damaged(["0 2.5 1", "2.5 0 3", "1 3 0"], " "))
def test_any_matrix_is_read_or_told(content):
    sites = [[Tss("chr1", 5, False)]]
    read_or_tell(lambda path: read_matrices({"chr1": path}, 10, sites, 1.5), content)
