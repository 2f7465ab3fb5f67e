"""Positions lifted through chain files: the same as pyliftover's, and one after the other."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyliftover import LiftOver

from data_prep.labels.chains import Chains
from jaxepi.errors import JaxepiError

SIZE = 300


@st.composite
def chain_files(draw):
    """A few chains with gaps on both strands, of different scores, that may overlap in the source."""
    text = []
    for number in range(draw(st.integers(1, 5))):
        blocks = draw(
            st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4)
        )
        blocks[-1] = (blocks[-1][0], 0, 0)
        span, target = (sum(block[0] + block[gap] for block in blocks) for gap in (1, 2))
        start, other = draw(st.integers(0, SIZE - span)), draw(st.integers(0, SIZE - target))
        source, strand, name = draw(st.sampled_from("ab")), draw(st.sampled_from("+-")), draw(st.sampled_from("xy"))
        head = f"chain {100 - number} {source} {SIZE} + {start} {start + span} {name} {SIZE} {strand}"
        text.append(f"{head} {other} {other + target} {number}")
        text += [" ".join(map(str, block)) for block in blocks[:-1]] + [str(blocks[-1][0]), ""]
    return "\n".join(text) + "\n"


@given(chain_files())
def test_the_first_hit_of_pyliftover(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("chains") / "a.chain"
    path.write_text(text)
    ours, theirs = Chains([path]), LiftOver(str(path))
    for chrom in "abc":
        found = ours.lift(chrom, np.arange(SIZE))
        for position in range(SIZE):
            hits = theirs.convert_coordinate(chrom, position) or []
            assert found.mapped[position] == bool(hits)
            if hits:
                name, place, strand, _ = hits[0]
                assert ours.targets[found.chrom[position]] == name
                assert (found.position[position], "-" if found.reverse[position] else "+") == (place, strand)


def test_one_after_the_other(tmp_path):
    (tmp_path / "1.chain").write_text("chain 9 a 100 + 0 50 b 100 - 10 60 1\n50\n\n")
    with gzip.open(tmp_path / "2.chain.gz", "wt") as file:
        file.write("chain 9 b 100 + 0 80 c 200 - 0 80 1\n80\n\n")
    one, both = Chains([tmp_path / "1.chain"]), Chains([tmp_path / "1.chain", tmp_path / "2.chain.gz"])
    first = one.lift("a", np.arange(60))
    assert first.position[:2].tolist() == [89, 88] and first.reverse[:50].all() and not first.mapped[50:].any()
    found = both.lift("a", np.arange(60))
    assert both.targets == ["c"]
    assert found.position[9:12].tolist() == [-1, 199 - 79, 199 - 78]  # b 80 and above have no chain
    assert found.mapped.sum() == 40 and not found.reverse.any()  # turned twice
    assert not both.lift("z", np.arange(3)).mapped.any()


def test_files_that_are_none(tmp_path):
    def refused(text, sentence, *more):
        (tmp_path / "x.chain").write_bytes(text)
        with pytest.raises(JaxepiError, match=sentence):
            Chains([*more, tmp_path / "x.chain"])

    good = b"chain 9 a 100 + 0 50 b 100 + 10 60 1\n50\n\n"
    refused(b"", "x.chain holds no chain")
    refused(b"chrom\tstart\n", "x.chain holds no chain")
    refused(good.replace(b"100 + 0 50", b"100 + 0 51"), "is damaged or no chain file .Alignment blocks do not match")
    refused(b"chain 9 a\n", "is damaged or no chain file")
    refused(good.replace(b"\n50", b""), "is damaged or no chain file")
    refused(gzip.compress(good)[:-9], "cannot be read to its end")
    with pytest.raises(JaxepiError, match="nowhere.chain does not exist: a chain file was expected"):
        Chains([tmp_path / "nowhere.chain"])
    (tmp_path / "good.chain").write_bytes(good)
    refused(good, "x.chain has no chain from b …, to which .*good.chain leads: give", tmp_path / "good.chain")
