"""FASTA files of any layout give the letters that they hold, or are told in one sentence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.texts import damaged, file_of, names, read_or_tell

from jaxepi.genome.fasta import Genome
from jaxepi.genome.text_files import BOM
from jaxepi.sequence import decode, encode

letters = st.text("ACGTNacgtnUu", max_size=40)
genomes = st.dictionaries(names, letters, min_size=1, max_size=4)
FASTA = [">chr1 first", "ACGTACGT", "ACGNNCGT", "AC", ">chr2", "GGTTAACC", "acgtry"]


@st.composite
def layouts(draw, genome):
    """The bytes of a FASTA file: any length of lines, either line end, comments, blank lines, a BOM, an open end."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    parts = ["; a comment" + end] * draw(st.booleans())
    for name, sequence in genome.items():
        width = draw(st.integers(1, 50))
        parts.append(">" + name + draw(st.sampled_from(["", " x", "\tx>y"])) + end)
        parts += [sequence[at : at + width] + end for at in range(0, len(sequence), width)]
        parts += [end] * draw(st.integers(0, 2))
    text = "".join(parts)
    text = text.rstrip("\r\n") if draw(st.booleans()) and next(reversed(genome.values())) else text
    return (BOM if draw(st.booleans()) else b"") + text.encode()


def check(genome: Genome, expected: dict[str, str]) -> None:
    assert genome.lengths == {name: len(sequence) for name, sequence in expected.items()}
    for name, sequence in expected.items():
        codes, size = encode(sequence), len(sequence)
        for start, end in {(0, size), (size // 3, size), (0, size // 2), (size // 4, size - size // 4)}:
            np.testing.assert_array_equal(genome.codes(name, start, end), codes[start:end])
        assert decode(genome.codes(name, -2, size + 1, pad=True)) == "NN" + decode(codes) + "N"


@given(genomes.flatmap(lambda genome: st.tuples(st.just(genome), layouts(genome))))
@pytest.mark.filterwarnings("ignore:.*ambiguity codes")
def test_letters_are_those_of_the_file(case):
    expected, content = case
    with file_of(content, "g.fa") as path:
        check(Genome(path), expected)
        check(Genome(path), expected)  # by the index that the first one made


@given(genomes.flatmap(lambda genome: st.tuples(st.just(genome), layouts(genome))))
@pytest.mark.filterwarnings("ignore:.*ambiguity codes")
def test_letters_of_a_block_gzipped_file(case):
    pysam = pytest.importorskip("pysam")
    expected, content = case
    with file_of(content, "g.fa") as path:
        pysam.tabix_compress(str(path), f"{path}.gz")
        check(Genome(f"{path}.gz"), expected)


@st.composite
def accidents(draw):
    """Lines of several ends and lengths, or a damaged file."""
    if draw(st.booleans()):
        return draw(damaged(FASTA, "T"))
    return "".join(line + draw(st.sampled_from(["\n", "\r\n", "\n\n", " \n", "\r"])) for line in FASTA).encode()


def told_by(content: bytes) -> dict[str, str]:
    """The letters of each record, read without an index."""
    found: dict[str, str] = {}
    for line in content.removeprefix(BOM).decode().split("\n"):
        if line.startswith(">"):
            found[name := line[1:].split()[0]] = ""
        elif line.strip() and found:
            found[name] += line.rstrip("\r")
    return found


@given(accidents())
@pytest.mark.filterwarnings("ignore:.*ambiguity codes")
def test_any_fasta_file_is_read_rightly_or_told(content):
    def read(path):
        genome = Genome(path)
        return {name: decode(genome.codes(name)) for name in genome.names}

    found = read_or_tell(read, content, "g.fa")
    if found is not None:
        assert found == {name: decode(encode(sequence)) for name, sequence in told_by(content).items()}
