"""BED files and region strings: what is written is read, and anything else is told in one sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.texts import chroms, damaged, file_of, files, intervals, read_or_tell

from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, parse_interval
from jaxepi.genome.text_files import read_bed, read_lines
from jaxepi.regions import as_interval

cells = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=6).map(str.strip)
beds = st.lists(st.tuples(intervals(), st.lists(cells, max_size=3)), min_size=1, max_size=6)
BED = ["chr1\t10\t20\tname\t5\t+", "chr2\t0\t7", "chrX\t5\t6\tx"]


@given(st.data())
def test_a_bed_file_is_read_as_it_was_written(data):
    rows = data.draw(beds)
    lines = ["track name=x", "# comment", "", "chrom\tstart\tend"][data.draw(st.integers(0, 4)) :]
    lines += ["\t".join([chrom, str(start), str(end), *further]) for (chrom, start, end), further in rows]
    with file_of(data.draw(files(lines))) as path:
        found = [(tuple(row.interval), row.further) for row in read_bed(path)]
    assert found == rows


@given(st.data())
def test_blanks_and_commas_part_columns_too(data):
    rows = data.draw(st.lists(intervals(), min_size=1, max_size=4))
    parted = [data.draw(st.sampled_from([" ", "  ", ",", ", "])).join(map(str, row)) for row in rows]
    with file_of(data.draw(files(parted))) as path:
        assert [tuple(row.interval) for row in read_bed(path)] == rows


@given(damaged(BED))
def test_any_bed_file_is_read_or_told(content):
    for row in read_or_tell(lambda path: list(read_bed(path)), content) or []:
        assert 0 <= row.interval.start < row.interval.end and row.interval.chrom


@given(st.lists(cells, max_size=5).flatmap(lambda lines: st.tuples(st.just(lines), files(lines))))
def test_lines(case):
    lines, content = case
    with file_of(content) as path:
        found = [line for _, line in read_lines(path)]
    assert found == lines or [*found, *[""] * (len(lines) - len(found))] == lines or found == ["", *lines]


@given(intervals())
def test_a_region_is_its_text(interval):
    region = Interval(*interval)
    assert parse_interval(str(region)) == as_interval(str(region)) == region
    assert parse_interval(f" {region.chrom}:{region.start:,}-{region.end:,} ") == region


near_regions = st.tuples(chroms, st.text(max_size=9), st.text(max_size=9)).map("{0[0]}:{0[1]}-{0[2]}".format)


@given(near_regions | st.text() | st.binary() | st.none() | st.integers() | intervals())
def test_any_text_is_a_region_or_told(text):
    try:
        region = as_interval(text)
    except JaxepiError as problem:
        assert len(str(problem).splitlines()) == 1
    else:
        assert 0 <= region.start < region.end and str(parse_interval(str(region))) == str(region)


def test_digits_without_end_are_told():
    with pytest.raises(JaxepiError, match="is no region"):
        as_interval(f"chr1:0-{'9' * 5000}")
