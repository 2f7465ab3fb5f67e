"""The common split of two genomes: aligned contigs stay together."""

import numpy as np
import pytest

from data_prep.coverage.alignment import common_split, groups_of, read_fills
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval

NET = """# a comment
net chr1 100000
 fill 0 20000 chrA + 5000 21000 id 1 score 9
  gap 100 10 chrA + 5100 12
   fill 100 30000 chrB + 0 30000 id 2
 fill 50000 3000 chrB - 0 40000 id 3
net chr2 60000
 fill 0 30000 chrB - 10000 30000 id 4
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "a.net").write_text(NET)
    return tmp_path / "a.net"


def test_top_level_fills_that_are_long_on_both_sides(net):
    fills = list(read_fills(net, 10_000))
    assert [(*fill.own, *fill.other) for fill in fills] == [
        ("chr1", 0, 20_000, "chrA", 5_000, 26_000),
        ("chr2", 0, 30_000, "chrB", 10_000, 40_000),
    ]
    assert len(list(read_fills(net, 1_000))) == 3
    net.write_text(" fill 0 10 chrA + 0 10\n")
    with pytest.raises(JaxepiError, match="line 1 is no line of a net file: a fill comes before"):
        list(read_fills(net, 1))
    net.write_text("net chr1 5\n fill 0 10 chrA\n")
    with pytest.raises(JaxepiError, match="line 2 is no line of a net file: it has too few columns"):
        list(read_fills(net, 1))


def test_groups_are_what_fills_join(net):
    first = [Interval("chr1", 0, 10_000), Interval("chr1", 10_000, 30_000), Interval("chr2", 0, 30_000)]
    second = [Interval("chrA", 0, 6_000), Interval("chrA", 6_000, 50_000), Interval("chrB", 0, 30_000)]
    groups = groups_of([first, second], list(read_fills(net, 10_000)), 1_024)
    assert groups[0] == groups[1] == groups[4] and groups[2] == groups[5]
    assert len(set(groups.tolist())) == 3, "chrA:0-6000 shares only 1,000 bp with its fill"


def test_no_group_is_torn_apart_and_nothing_is_lost():
    rng = np.random.default_rng(1)
    contigs = [
        [Interval(f"{side}{c}", i * 1_000, i * 1_000 + 900) for c in range(4) for i in range(60)] for side in "ab"
    ]
    groups = rng.integers(0, 150, 480)
    made = common_split(contigs, groups, (0.1, 0.1), 44)
    for side, own in zip(made, contigs, strict=True):
        assert sorted(contig for split in side.values() for contig in split) == sorted(own)
    split_of = {contig: split for side in made for split, own in side.items() for contig in own}
    for group in set(groups.tolist()):
        members = [contig for contig, of in zip(contigs[0] + contigs[1], groups, strict=True) if of == group]
        assert len({split_of[contig] for contig in members}) == 1
    assert 24 < sum(split == "test" for split in split_of.values()) < 90
    assert set(common_split(contigs, groups, 3, 1)[1]) == {"fold0", "fold1", "fold2"}


def test_the_command_writes_a_bed_file_for_each_genome(net, tools, tmp_path, prepare):
    rng = np.random.default_rng(0)
    for name, lengths in (("one", {"chr1": 100_000, "chr2": 60_000}), ("two", {"chrA": 50_000, "chrB": 40_000})):
        tools.write_fasta(tmp_path / f"{name}.fa", {c: tools.random_codes(rng, n) for c, n in lengths.items()})
    fastas = [str(tmp_path / "one.fa"), str(tmp_path / "two.fa")]
    words = ["coverage-align", "--net", str(net), "--out", str(tmp_path / "out"), "--break", "10000", "--fill", "10000"]
    words += ["--shortest", "1000", "--names", "human", "mouse", "-t", "0.2", "-v", "0.2"]
    status, out, err = prepare([*words, "--fastas", *fastas])
    assert status == 0 and "groups, by 2 fills" in out, err
    rows = [line.split("\t") for line in (tmp_path / "out" / "human.bed").read_text().splitlines()]
    assert sum(int(end) - int(start) for _, start, end, _ in rows) == 160_000
    split_of = {(chrom, int(start)): split for chrom, start, _, split in rows}
    assert len({split for (chrom, start), split in split_of.items() if chrom == "chr1" and start < 20_000}) == 1
    assert "nothing to do" in prepare([*words, "--fastas", *fastas])[1]
    status, _, err = prepare([*words[:-1], "0.3", "--fastas", *fastas])
    assert status == 2 and "made with other arguments or files (valid)" in err
    words[words.index("--out") + 1] = str(tmp_path / "x")
    status, _, err = prepare([*words, "--fastas", *fastas[::-1]])
    assert status == 2 and "a.net aligns chr1, chr2, which" in err and not (tmp_path / "x").exists()
