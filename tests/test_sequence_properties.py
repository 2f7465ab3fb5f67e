"""Laws of base codes and one-hot arrays."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from jaxepi import sequence
from jaxepi.sequence import ForeignLetter

codes = arrays(np.uint8, array_shapes(max_dims=2, max_side=12), elements=st.integers(0, 4))
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@given(codes)
def test_the_reverse_complement_is_its_own_inverse_and_that_of_the_letters(x):
    turned = sequence.reverse_complement(x)
    np.testing.assert_array_equal(sequence.reverse_complement(turned), x)
    for row, own in zip(x.reshape(-1, x.shape[-1]), turned.reshape(-1, x.shape[-1]), strict=True):
        assert sequence.decode(own) == sequence.decode(row)[::-1].translate(COMPLEMENT)


@given(codes)
def test_one_hot_and_reverse_complement_may_change_places(x):
    hot = sequence.one_hot(x)
    np.testing.assert_array_equal(
        sequence.one_hot(sequence.reverse_complement(x)), sequence.reverse_complement_one_hot(hot)
    )
    np.testing.assert_array_equal(hot.sum(axis=-1), np.ones(x.shape))
    np.testing.assert_array_equal(np.where(hot.max(axis=-1) == 1, hot.argmax(axis=-1), 4), x)
    np.testing.assert_array_equal(sequence.one_hot(x, n_value=0.0).sum(axis=-1), x < 4)


@given(arrays(np.uint8, (2, 11), elements=st.integers(0, 4)), st.sampled_from([-12, 3]))
def test_numpy_and_jax_agree(x, by):
    for function in (
        sequence.one_hot, sequence.reverse_complement, sequence.is_cpg, lambda y: sequence.shift(y, by),
        lambda y: sequence.kmer_counts(y, 2),
    ):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(function(jnp.asarray(x))), function(x))


@given(codes)
def test_cpgs_and_words_are_those_of_either_strand(x):
    turned = sequence.reverse_complement(x)
    np.testing.assert_array_equal(sequence.is_cpg(turned), sequence.is_cpg(x)[..., ::-1])
    words = np.indices((4, 4)).reshape(2, -1).T.astype(np.uint8)  # AA AC ... TT
    place = sequence.reverse_complement(words) @ np.array([4, 1])
    np.testing.assert_array_equal(sequence.kmer_counts(turned, 2), sequence.kmer_counts(x, 2)[..., place])


@given(st.text("ACGTUNacgtun", max_size=60))
@pytest.mark.filterwarnings("ignore:.*ambiguity codes")
def test_letters_and_codes(text):
    decoded = sequence.decode(sequence.encode(text))
    assert decoded == text.upper().replace("U", "T") == sequence.decode(sequence.encode(text.encode()))


@given(st.text(max_size=20) | st.binary(max_size=20))
@pytest.mark.filterwarnings("ignore:.*ambiguity codes")
def test_any_letters_are_bases_or_told(text):
    try:
        assert sequence.encode(text).shape == (len(text),)
    except ForeignLetter as problem:
        assert text[problem.place : problem.place + 1] in (problem.letter, problem.letter.encode("latin1", "ignore"))
