"""Every format of CpG profiles: what is written is read, and anything else is told in one sentence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.texts import chroms, damaged, file_of, files, read_or_tell

from data_prep.deepcpg.formats import FORMATS
from data_prep.deepcpg.profiles import Reading, read_positions, read_profile

# chromosome -> ascending positions, no two beside each other, with methylated and all reads
counts = st.tuples(st.integers(0, 500), st.integers(0, 500)).filter(sum)
profiles = st.dictionaries(
    chroms, st.dictionaries(st.integers(1, 10**9).map(lambda x: 2 * x), counts, min_size=1, max_size=6),
    min_size=1, max_size=3,
)  # fmt: skip


def line_of(form: str, chrom: str, at: int, methylated: int, rest: int) -> str:
    total = methylated + rest
    share, percent = repr(methylated / total), repr(100 * methylated / total)
    cells = {
        "tsv": [at + 1, share],
        "bedgraph": [at, at + 2, share],
        "bismark": [at + 1, at + 1, percent, methylated, rest],
        "methyldackel": [at, at + 2, percent, methylated, rest],
        "allc": [at + 2, "-", "CGT", methylated, total, 1],
        "bedmethyl": [at, at + 1, "x", 0, "+", at, at + 1, "0,0,0", total, percent],
    }[form]
    return "\t".join(map(str, [chrom, *cells]))


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_sites_are_those_of_the_file(form, data):
    profile = data.draw(profiles)
    lines = ['track type="bedGraph"'] if form in ("bedgraph", "methyldackel") else ["# comment"]
    lines += [line_of(form, chrom, at, *reads) for chrom, own in profile.items() for at, reads in sorted(own.items())]
    with file_of(data.draw(files(lines))) as path:
        found = read_profile(path)
    assert list(found.positions) == sorted(profile)
    for chrom, own in profile.items():
        assert found.positions[chrom].tolist() == sorted(own)
        shares = [own[at][0] / sum(own[at]) for at in sorted(own)]
        np.testing.assert_allclose(found.values[chrom], np.array(shares, np.float32), rtol=2e-7)


@given(st.data())
def test_positions_are_those_of_the_file(data):
    sites = data.draw(st.dictionaries(chroms, st.sets(st.integers(0, 10**9), min_size=1, max_size=6), min_size=1))
    lines = [f"{chrom}\t{at + 1}" for chrom, own in sites.items() for at in sorted(own)]
    with file_of(data.draw(files(lines))) as path:
        found = read_positions(path)
    assert {chrom: own.tolist() for chrom, own in found.items()} == {c: sorted(own) for c, own in sites.items()}


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_any_profile_is_read_or_told(form, data):
    sound = [line_of(form, *site) for site in (("chr1", 4, 1, 2), ("chr1", 10, 0, 1), ("chr2", 6, 3, 0))]
    content = data.draw(damaged(sound))
    for reading in (Reading(), Reading(form=form, unsorted="sort", prefix="add", values="round")):
        found = read_or_tell(lambda path, reading=reading: read_profile(path, reading), content)
        for chrom, value in (found.values if found else {}).items():
            assert ((value >= 0) & (value <= 1)).all() and (np.diff(found.positions[chrom]) > 0).all()
    read_or_tell(read_positions, content)
