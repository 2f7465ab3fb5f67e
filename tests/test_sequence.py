"""Base codes, one-hot and words: NumPy and jax give the same."""

import itertools
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import sequence

LETTERS = "acGTNRCGCG"


@pytest.fixture(params=[np.asarray, jnp.asarray], ids=["numpy", "jax"])
def codes(request):
    """Two sequences (2, 10)."""
    return request.param(np.stack([sequence.encode(LETTERS), sequence.encode(LETTERS[::-1])]))


def test_letters_and_codes():
    assert sequence.encode(LETTERS).tolist() == [0, 1, 2, 3, 4, 4, 1, 2, 1, 2]
    assert sequence.encode(LETTERS.encode()).dtype == np.uint8
    assert sequence.decode(sequence.encode(LETTERS)) == "ACGTNNCGCG"


def test_rna_and_every_letter_of_iupac():
    assert sequence.decode(sequence.encode("ACGUacgu")) == "ACGTACGT"
    with pytest.warns(UserWarning, match="20 of 22 letters of a sequence are ambiguity codes"):
        assert sequence.decode(sequence.encode("RYSWKMBDHVNryswkmbdhvn")) == "N" * 22
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sequence.encode("N" * 50 + "nnR" + "A" * 50).size == 103  # one of 103 letters is told to nobody
        assert sequence.encode_counted(b"NnRrA")[1] == 2


@pytest.mark.parametrize("letter", list("01-*. \n>EFILPQXZeé?\0"))
@pytest.mark.parametrize("place", [0, 3, 70_000])
def test_letters_that_stand_for_no_base_are_named_with_their_place(letter, place):
    text = "ACGTN" * 20_000
    text = text[:place] + letter + text[place:] + letter
    for given in (text, text.encode("latin-1")):
        with pytest.raises(sequence.ForeignLetter, match=f"^letter {place + 1} of the sequence is ") as caught:
            sequence.encode(given)
        assert caught.value.letter == letter and repr(letter) in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_one_hot(codes):
    hot = np.asarray(sequence.one_hot(codes))
    assert hot.shape == (2, 10, 4) and hot.dtype == np.float32
    assert hot[0, :5].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0.25] * 4]
    assert not np.asarray(sequence.one_hot(codes, n_value=0.0))[0, 4].any()


def test_reverse_complement(codes):
    turned = sequence.reverse_complement(codes)
    assert sequence.decode(np.asarray(turned)[0]) == "CGCGNNACGT" and turned.dtype == codes.dtype
    hot = sequence.reverse_complement_one_hot(sequence.one_hot(codes))
    np.testing.assert_array_equal(hot, sequence.one_hot(turned))


@pytest.mark.parametrize(("by", "letters"), [(0, "ACGTNNCGCG"), (3, "NNNACGTNNC"), (-2, "GTNNCGCGNN"), (12, "N" * 10)])
def test_shift(codes, by, letters):
    assert sequence.decode(np.asarray(sequence.shift(codes, by))[0]) == letters


def test_cpg_letters(codes):
    assert np.flatnonzero(np.asarray(sequence.is_cpg(codes))[0]).tolist() == [1, 2, 6, 7, 8, 9]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_words_are_counted(codes, length):
    counts = np.asarray(sequence.kmer_counts(codes, length))
    assert counts.dtype == np.int32
    for row, text in zip(counts, map(sequence.decode, np.asarray(codes)), strict=True):
        places = [text[i : i + length] for i in range(len(text) - length + 1)]
        assert row.tolist() == [places.count("".join(word)) for word in itertools.product("ACGT", repeat=length)]


def test_words_of_other_shapes(codes):
    assert sequence.kmer_counts(codes[0], 2).sum() == 6  # of nine places three hold an N
    assert sequence.kmer_counts(codes[:, None, :1], 2).tolist() == [[[0] * 16]] * 2
    counted = jax.jit(lambda x: sequence.kmer_counts(x, 2))(jnp.asarray(codes))
    np.testing.assert_array_equal(counted, sequence.kmer_counts(codes, 2))


def test_channels_of_another_alphabet():
    hot = np.eye(4)[:, sequence.channels_of("ATGC")]
    assert sequence.channels_of("ATGC") == [0, 3, 2, 1] and sequence.channels_of("ACGT") == [0, 1, 2, 3]
    np.testing.assert_array_equal(hot[:, sequence.channels_of("ATGC")], np.eye(4))
    assert np.array(["T", "C", "A", "G"])[sequence.channels_of("TCAG")].tolist() == list("ACGT")
