import numpy as np
import pytest
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from jaxepi.errors import JaxepiError
from jaxepi.sequence import encode, one_hot
from jaxepi.windows import as_windows, centred, moved

TEXT = "ACGTNACGTT"
CODES = encode(TEXT)


@pytest.mark.parametrize(
    "given",
    [
        TEXT,
        TEXT.encode(),
        bytearray(TEXT.encode()),
        Seq(TEXT),
        SeqRecord(Seq(TEXT), id="x"),
        [Seq(TEXT)],
        np.array([TEXT]),
        np.array([TEXT.encode()]),
        np.array([TEXT], object),
        np.str_(TEXT),
        (text for text in [TEXT]),
        map(str.lower, [TEXT]),
        CODES,
        CODES.astype(np.int64)[None],
        CODES.tolist(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_forms_of_one_sequence(given):
    windows = as_windows(given, 10)
    assert windows.dtype == np.uint8
    np.testing.assert_array_equal(windows, CODES[None])


def test_slices_of_a_pyfaidx_file(tmp_path):
    pyfaidx = pytest.importorskip("pyfaidx")
    (tmp_path / "g.fa").write_text(f">a\n{TEXT}{TEXT}\n")
    slice_ = pyfaidx.Fasta(str(tmp_path / "g.fa"))["a"][0:10]
    for given in (slice_, [slice_, slice_]):
        np.testing.assert_array_equal(as_windows(given, 10)[0], CODES)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, bool, np.float16, np.float64])
def test_one_hot_of_any_type_and_a_single_window(kind):
    hot = one_hot(CODES[:4])[None].astype(kind)
    for given in (hot, hot[0]):
        windows = as_windows(np.concatenate([given, given], axis=-2), 8)
        assert windows.dtype == np.float32 and windows.shape == (1, 8, 4)
        np.testing.assert_array_equal(windows[0, :4], one_hot(CODES[:4]))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.zeros((2, 4, 10), np.float32), r"channels before its bases.*x\.transpose\(0, 2, 1\)"),
        (np.full((1, 10, 4), 2, np.int8), "holds values from 2 to 2, but 0 and 1 only"),
        (np.full((1, 10, 4), np.nan), r"one-hot array \(1, 10, 4\) holds NaN or infinity"),
        (np.zeros((1, 10, 4), complex), "is no batch of windows"),
        (3, "is no batch of windows"),
        (None, "is no batch of windows"),
        ([TEXT, 3], "Item 1 is a int among sequences"),
        ([[0, 1], [2]], "make no array"),
        ([TEXT, TEXT[1:]], r"Sequence 1 has 9 bp, but this model takes 10 bp \(predict\(..., pad=\"N\"\)"),
    ],
)
def test_what_is_no_window_is_one_sentence(given, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        as_windows(given, 10)


def test_ragged_sequences_are_centred_as_records_of_a_fasta_file_are():
    windows = centred([TEXT, TEXT[1:], TEXT[:3], "A" + TEXT + "AA", ""], 10)
    expected = [TEXT, TEXT[1:] + "N", "NNNACGNNNN", TEXT, "N" * 10]
    np.testing.assert_array_equal(windows, np.stack([encode(text) for text in expected]))
    np.testing.assert_array_equal(centred(CODES[:3], 10)[0], encode("NNNACGNNNN"))
    with pytest.raises(JaxepiError, match="One-hot arrays have one length"):
        centred(np.zeros((2, 9, 4), np.float32), 10)


def test_each_window_moves_by_a_number_of_its_own():
    values = np.arange(1, 6, dtype=np.float32)[None].repeat(3, 0)
    found = moved(values, np.array([0, 2, -1]), 2, 9.0)
    np.testing.assert_array_equal(found, [[1, 2, 3, 4, 5], [9, 9, 1, 2, 3], [2, 3, 4, 5, 9]])
