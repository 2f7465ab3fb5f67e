"""Annotations and tables: what is written is read, and anything else is told in one sentence."""

from hypothesis import given
from hypothesis import strategies as st
from toys.texts import chroms, damaged, file_of, files, intervals, names, read_or_tell

from data_prep.sources.annotation import Tss, read_gtf, read_tss_table
from data_prep.sources.expression import read_expression, read_gene_list
from data_prep.sources.regions import read_blocks, split_by_regions
from data_prep.sources.text_tables import read_rows
from data_prep.sources.tracks import resolve_tracks

transcript = st.tuples(names, intervals(), st.booleans(), st.sampled_from(["a", "b"]))
cells = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=6).map(str.strip)
numbers = st.floats(0, 1e9, width=32)


def gtf_line(gene, place, minus, kind):
    chrom, start, end = place
    told = f'gene_id "{gene}"; transcript_type "{kind}";'
    return f"{chrom}\tx\ttranscript\t{start + 1}\t{end}\t.\t{'-' if minus else '+'}\t.\t{told}"


GTF = [gtf_line("ENSG1.2", ("chr1", 10, 90), False, "a"), gtf_line("ENSG2", ("chr2", 5, 80), True, "b")]


@given(st.data())
def test_start_sites_of_a_gtf(data):
    rows = data.draw(st.lists(transcript, min_size=1, max_size=6))
    with file_of(data.draw(files(["#!x", *(gtf_line(*row) for row in rows)]))) as path:
        found = read_gtf(path, biotype="all", versions="keep")
    assert found.keys() == {gene for gene, *_ in rows}
    for gene, sites in found.items():
        own = sorted((row for row in rows if row[0] == gene), key=lambda row: row[1][1] - row[1][2])
        expected = [Tss(place[0], place[2] - 1 if minus else place[1], minus) for _, place, minus, _ in own]
        assert sites == list(dict.fromkeys(expected))


@given(st.data())
def test_a_table_of_start_sites(data):
    rows = data.draw(st.lists(st.tuples(names, chroms, st.integers(0, 2**31), st.booleans()), min_size=1, max_size=6))
    lines = ["gene_id,chrom,start,strand", *(f"{gene},{c},{at},{'-' if m else '+'}" for gene, c, at, m in rows)]
    with file_of(data.draw(files(lines))) as path:
        found = read_tss_table(path, versions="keep")
    assert [(gene, *site) for gene, sites in found.items() for site in sites] == sorted(
        rows, key=lambda row: list(found).index(row[0])
    )


@given(st.data())
def test_expression_and_lists_of_genes(data):
    genes = data.draw(st.dictionaries(names, st.tuples(numbers, numbers), min_size=1, max_size=6))
    comma = data.draw(st.sampled_from([",", "\t", " ,  "]))
    lines = [comma.join(["id", "E001", "E002"]), *(comma.join([gene, *map(repr, own)]) for gene, own in genes.items())]
    with file_of(data.draw(files(lines))) as path:
        for place, column in enumerate(["E001", "E002"]):
            assert read_expression(path, column, "keep") == {gene: own[place] for gene, own in genes.items()}
        assert read_gene_list(path, "keep") == set(genes)


@given(st.data())
def test_rows_of_a_table(data):
    columns = data.draw(st.lists(names, min_size=2, max_size=4, unique=True))
    row = st.lists(cells, min_size=len(columns), max_size=len(columns)).filter(lambda row: "".join(row) and row[0])
    rows = [row for row in data.draw(st.lists(row, max_size=5)) if not row[0].startswith("##")]
    with file_of(data.draw(files(["\t".join(row) for row in [columns, *rows]]))) as path:
        assert [tuple(row.values()) for _, row in read_rows(path)] == [tuple(row) for row in rows]


@given(st.data())
def test_blocks(data):
    rows = data.draw(st.lists(intervals(), min_size=1, max_size=5))
    lines = ["chr_hg38,start_hg38,startCpG,end_hg38", *(f"{chrom},{start},7,{end}" for chrom, start, end in rows)]
    with file_of(data.draw(files(lines)), "blocks.csv") as path:
        assert [tuple(block) for block in read_blocks(path)] == rows


TABLE = ["gene_id,chrom,start,strand,name,file,end,id", "G1,chr1,5,+,a,file.txt,9,7", "G2,chr2,7,-,b,file.txt,8,0"]
LENGTHS = {"chr1": 100, "chr2": 80}


@given(damaged(GTF))
def test_any_annotation_is_read_or_told(content):
    for sites in (read_or_tell(lambda path: read_gtf(path, biotype="all"), content) or {}).values():
        assert all(site.chrom and 0 <= site.position < 1 << 40 for site in sites)


@given(damaged(TABLE, ","))
def test_any_table_is_read_or_told(content):
    for read in (
        read_tss_table, read_gene_list, lambda path: read_expression(path, "id"), lambda path: list(read_rows(path)),
        lambda path: read_blocks(path.rename(path.with_name("file.txt.csv"))),
    ):  # fmt: skip
        read_or_tell(read, content)
    read_or_tell(lambda path: resolve_tracks(table=str(path)), content, named=False)  # it names the BigWig files


@given(damaged(["chr1\t0\t50\ttrain", "chr1\t50\t100\tvalid", "chr2\t0\t80\ttest"]))
def test_any_file_of_splits_is_read_or_told(content):
    for spans in (read_or_tell(lambda path: split_by_regions(path, LENGTHS), content) or {}).values():
        assert all(0 <= span.start < span.end <= LENGTHS[span.chrom] for span in spans)
