"""Motifs from activations: parity with the original's functions, planted motifs, files."""

from pathlib import Path

import numpy as np
import pytest

from jaxepi.analysis.filter_motifs import (
    MotifCollector,
    column_information,
    convolution,
    count_frequencies,
    middle,
    summarise,
    trim,
    write_motifs,
)
from jaxepi.errors import JaxepiError
from jaxepi.report.logos import letter_heights, write_logo

ATGC_TO_ACGT = np.array([0, 3, 2, 1], np.uint8)


@pytest.fixture(scope="module")
def functions(golden):
    return golden("deepcpg", "functions.npz")


def collected(functions, width, share, most, batches):
    activation, codes = functions["in:motif:act"], ATGC_TO_ACGT[functions["in:motif:seqs"]]
    collector = MotifCollector(1, width, share, most)
    low = 0
    for size in batches:
        collector.add(codes[low : low + size], activation[low : low + size, :, None])
        low += size
    return collector


@pytest.mark.parametrize("batches", [(12,), (1, 2, 3, 4, 2), (11, 1)])
@pytest.mark.parametrize(("width", "share", "most"), [(11, 0.5, 25000), (11, 0.5, 20), (8, 0.2, 25000)])
def test_parity_with_the_original(functions, width, share, most, batches):
    (motif,) = collected(functions, width, share, most, batches).motifs()
    name = f"{share}:{most}:{width}"
    np.testing.assert_array_equal(motif.sites, ATGC_TO_ACGT[functions[f"out:motif:kmers:{name}"]])
    want = functions[f"out:motif:pwm:{name}"][:, [0, 3, 2, 1]]
    np.testing.assert_allclose(motif.frequencies, want, rtol=1e-6)
    assert motif.information == pytest.approx(float(functions[f"out:motif:ic:{name}"]), rel=1e-5)
    activation = functions["in:motif:act"]
    assert motif.mean == pytest.approx(activation.mean()) and motif.deviation == pytest.approx(activation.std())


def test_summaries_of_the_original(golden):
    arrays = golden("deepcpg", "eval_pipeline/expected.npz")
    activation = arrays["out:filter_act:act"]
    for how in ("mean", "wmean", "max"):
        np.testing.assert_allclose(summarise(activation, how, 15), arrays[f"out:filter_act:{how}_wlen15"], rtol=1e-5)
    effects = arrays["out:snp:mean"]
    np.testing.assert_allclose(summarise(effects, "wmean", 21), arrays["out:snp:wmean21:mean"], rtol=1e-5, atol=1e-9)


def test_middle():
    values = np.arange(9)[None, :, None]
    assert middle(values, 3).ravel().tolist() == [3, 4, 5] and middle(values, 4).ravel().tolist() == [2, 3, 4, 5, 6]
    assert middle(values, None).shape == (1, 9, 1) and middle(values, 99).shape == (1, 9, 1)
    with pytest.raises(JaxepiError, match=r"Unknown summary 'maximum' \(did you mean 'max'\?\)"):
        summarise(values, "maximum")


def test_threshold_is_the_percentile_of_all(tmp_path):
    rng = np.random.default_rng(0)
    activation = np.maximum(rng.normal(size=(40, 30, 3)), 0).astype(np.float32)
    codes = rng.integers(0, 4, (40, 34)).astype(np.uint8)
    for most in (1, 17, 300, 5000):
        collector = MotifCollector(3, 5, 0.1, most)
        for low in range(0, 40, 9):
            collector.add(codes[low : low + 9], activation[low : low + 9])
        for k in range(3):
            own = activation[:, :, k].astype(float)
            want = own.mean() + 0.1 * (own.max() - own.mean())
            if most < own.size:
                want = max(want, np.percentile(own, 100 * (1 - most / own.size)))
            assert collector.threshold(k) == pytest.approx(want, rel=1e-9)


def planted(rng, word="TGACGTCA"):
    """Sequences with a word in them, and a filter that likes it."""
    kernel = np.zeros((8, 4, 3), np.float32)
    kernel[np.arange(8), ["ACGT".index(letter) for letter in word], 1] = 1
    kernel[:, :, 2] = rng.normal(size=(8, 4)) * 0.01
    codes = rng.integers(0, 4, (50, 60)).astype(np.uint8)
    for row, at in enumerate(rng.integers(8, 40, 50)):
        codes[row, at : at + 8] = ["ACGT".index(letter) for letter in word]
    codes[:, 0] = 4
    return kernel, np.array([-1.0, -5.5, 0.0], np.float32), codes


def test_convolution_against_a_loop():
    rng = np.random.default_rng(1)
    kernel, bias, codes = planted(rng)
    hot = np.where(codes[..., None] == np.arange(4), 1.0, 0.0)
    want = np.zeros((50, 53, 3))
    for at in range(53):
        want[:, at] = np.maximum(np.einsum("bwc,wcf->bf", hot[:, at : at + 8], kernel) + bias, 0)
    np.testing.assert_allclose(convolution(kernel, bias)(codes), want, atol=1e-5)


def test_a_planted_motif_is_found_and_written(tmp_path):
    rng = np.random.default_rng(2)
    kernel, bias, codes = planted(rng)
    collector = MotifCollector(3, 8, 0.5)
    activate = convolution(kernel, bias)
    for low in range(0, 50, 20):
        collector.add(codes[low : low + 20], activate(codes[low : low + 20]))
    motifs = write_motifs(tmp_path / "m", collector, kernel, logos="svg")
    assert [motif.filter for motif in motifs] == [1, 2]  # filter 0 is dead
    assert "".join("ACGT"[i] for i in motifs[0].frequencies.argmax(axis=1)) == "TGACGTCA"
    assert motifs[0].information > 14
    rows = (tmp_path / "m" / "stats.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["filter", "motif", "act_mean", "act_std", "ic", "nb_site"]
    assert rows[1].startswith("1\tTGACGTCA\t")
    text = (tmp_path / "m" / "meme.txt").read_text()
    assert "MOTIF filter1\n" in text and f"w= 8 nsites= {len(motifs[0].sites)}\n" in text
    fasta = (tmp_path / "m" / "sites" / "filter1.fa").read_text().split()
    assert fasta[0] == ">0" and len(fasta) == 2 * len(motifs[0].sites)
    assert (tmp_path / "m" / "logos" / "filter1.svg").read_text().lstrip().startswith("<?xml")
    assert [m.filter for m in collector.motifs([1])] == [1]
    again = write_motifs(tmp_path / "t", collector, trim_bits=9.0, logos=None)
    assert len(again) == 2 and "MOTIF" not in (tmp_path / "t" / "meme.txt").read_text()
    assert not (tmp_path / "t" / "logos").exists()


def test_frequencies_and_trimming():
    sites = np.array([[0, 1, 4], [0, 2, 4]], np.uint8)
    np.testing.assert_allclose(count_frequencies(sites), [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0.25] * 4])
    np.testing.assert_allclose(count_frequencies(sites, 1.0)[0], [0.5, 1 / 6, 1 / 6, 1 / 6], rtol=1e-6)
    frequencies = np.array([[0.25] * 4, [1, 0, 0, 0], [0.25] * 4, [0, 0, 0, 1], [0.25] * 4])
    np.testing.assert_allclose(column_information(frequencies), [0, 2, 0, 2, 0], atol=1e-5)
    assert trim(frequencies, 1.0).tolist() == frequencies[1:4].tolist()
    assert trim(frequencies, 1.0, drop_last=True).tolist() == frequencies[1:3].tolist()
    assert trim(frequencies, 3.0).shape == (0, 4)


@pytest.mark.parametrize(
    ("codes", "activation", "message"),
    [
        ((2, 9), (2, 5, 4), "do not fit codes"),
        ((3, 9), (2, 5, 2), "do not fit codes"),
        ((2, 4), (2, 5, 2), "do not fit codes"),
        ((2, 9), (2, 5, 2), "Activations are negative"),
    ],
)
def test_bad_activations(codes, activation, message):
    with pytest.raises(JaxepiError, match=message):
        MotifCollector(2, 3).add(np.zeros(codes, np.uint8), np.full(activation, -0.5))


def test_logos(tmp_path):
    heights = letter_heights(np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]]))
    np.testing.assert_allclose(heights, [[2, 0, 0, 0], [0] * 4, [0.5, 0.5, 0, 0]], atol=1e-12)
    for ending in ("png", "pdf", "svg"):
        write_logo(tmp_path / f"x.{ending}", np.full((6, 4), 0.25), "x")
        made = (tmp_path / f"x.{ending}").read_bytes()
        write_logo(tmp_path / f"x.{ending}", np.full((6, 4), 0.25), "x")
        assert len(made) > 500 and (tmp_path / f"x.{ending}").read_bytes() == made, ending
    with pytest.raises(JaxepiError, match="logos are written as svg, png, pdf, not as 'jpg'"):
        write_logo(tmp_path / "x.jpg", np.full((6, 4), 0.25), "x")
    assert not list(Path(tmp_path).glob(".*"))
