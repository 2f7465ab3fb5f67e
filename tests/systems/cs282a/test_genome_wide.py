"""Evaluation along chromosomes: rasters, LADs, ROC curves with and without the original's ways, and the files."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from sklearn.metrics import roc_curve as sklearn_curve

from jaxepi.errors import JaxepiError
from jaxepi.metrics import exact
from jaxepi.predictor import Predictor
from jaxepi.registry import task_of
from jaxepi.report import pictures
from jaxepi.systems.cs282a import SYSTEM
from jaxepi.systems.cs282a import genome_wide as wide
from jaxepi.systems.cs282a.genome_report import Choices, Head, write_genome_report
from jaxepi.systems.cs282a.toy import toy
from jaxepi.systems.cs282a.tracks import TRACKS

LENGTHS = {"chr1": 2_100, "chr2": 900}
BIN = 100


@pytest.fixture
def windows():
    """Windows of four bins; the second overlaps the first, the last one leaves its chromosome."""
    chrom = np.array(["chr1", "chr1", "chr1", "chr2", "chr2"])
    start = np.array([100, 350, 1_600, 200, 700])
    return wide.Windows(chrom, start, 400, np.array(["train", "train", "test", "valid", "test"]))


def test_windows_fill_the_raster_and_later_ones_win(windows):
    values = np.arange(1, 6)[:, None, None] * np.array([1.0, 10.0])
    bins = values + np.arange(4)[None, :, None] / 10
    layer = wide.raster(windows, bins.astype(np.float32), LENGTHS, BIN)
    nan = np.nan
    first = [nan, 1.0, 1.1, 2.0, 2.1, 2.2, 2.3, *[nan] * 9, 3.0, 3.1, 3.2, 3.3, nan]
    np.testing.assert_allclose(layer["chr1"][:, 0], first, rtol=1e-6)
    np.testing.assert_allclose(layer["chr2"][:, 0], [nan, nan, 4.0, 4.1, 4.2, 4.3, nan, nan, nan], rtol=1e-6)
    assert layer["chr1"].shape == (21, 2) and layer["chr1"][1, 1] == 10
    whole = wide.raster(windows, values, LENGTHS, BIN)
    np.testing.assert_array_equal(whole["chr1"][1:7, 0], [1, 1, 2, 2, 2, 2])
    splits = wide.split_raster(windows, LENGTHS, BIN)
    np.testing.assert_array_equal(splits["chr1"], [0, *[1] * 6, *[0] * 9, *[3] * 4, 0])
    shares = wide.shares(splits)
    assert shares["chr2"] == {"none": 5 / 9, "train": 0, "valid": 4 / 9, "test": 0}
    assert sum(shares["chr1"].values()) == pytest.approx(1)


def test_lads_are_read_and_the_highest_type_counts(windows, tmp_path):
    rows = "chr1\t0\t101\tT1LAD0\nchr1\t700\t749\tT2LAD0\nchr1\t700\t720\tT1LAD1\nchr2\t600\t700\tT1LAD2\n"
    path = tmp_path / "lads.bed.gz"
    path.write_bytes(gzip.compress(rows.encode()))
    lads = wide.read_lads(path)
    assert [len(lads[kind]) for kind in (1, 2)] == [3, 1]
    np.testing.assert_array_equal(wide.lad_codes(windows, lads), [1, 2, 0, 0, 0])
    path.write_text("chr1\t0\t101\tLAD0\n")
    with pytest.raises(JaxepiError, match="line 1 is named 'LAD0', but T1LAD or T2LAD with a number was expected"):
        wide.read_lads(path)


def test_released_lads_have_the_numbers_of_their_source():
    folder = Path(__file__).parents[4] / "shared" / "data" / "cs282a"
    if not folder.is_dir():
        pytest.skip("the LADs are not beside the checkout")
    counts = {"GSM5669183_CardiacMyocytes": (1317, 2087), "GSM5669232_Liver": (2833, 3309)}
    for name, expected in counts.items():
        lads = wide.read_lads(folder / f"{name}_LADs.sorted.bed.gz")
        assert (len(lads[1]), len(lads[2])) == expected


def test_a_roc_curve_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    score, label = np.round(random.normal(size=500), 1), random.random(500) < 0.4
    false, true, _ = sklearn_curve(label, score)
    ours = exact.roc_curve(score, label)
    for rate in (0.05, 0.3, 0.77):
        assert np.interp(rate, *ours) == pytest.approx(np.interp(rate, false, true), abs=1e-12)
    assert np.trapezoid(ours[1], ours[0]) == pytest.approx(exact.auc(score, label), abs=1e-12)
    assert len(ours[0]) < len(np.unique(score)) + 2 and (ours[0][0], ours[1][-1]) == (0, 1)
    assert np.isnan(exact.roc_curve(score, np.zeros(500, bool))).all()


def layers(random, tracks=18):
    """Signals, LADs of track 9 and splits on two chromosomes, with unknown bins."""
    signal = {chrom: random.normal(size=(size, tracks)) for chrom, size in (("chr1", 60), ("chr2", 40))}
    lads = {
        chrom: (values[:, 9:10] + random.normal(size=(len(values), 1)) > 0.3) * 2.0 for chrom, values in signal.items()
    }
    signal["chr1"][5:12] = np.nan
    splits = {chrom: random.choice([1, 3], len(values)) for chrom, values in signal.items()}
    return signal, lads, splits


def test_lads_are_told_by_their_own_track_or_by_the_first_as_the_original_does():
    signal, lads, splits = layers(np.random.default_rng(1))
    inside = {chrom: codes == 3 for chrom, codes in splits.items()}
    label = np.concatenate([lads[chrom][inside[chrom], 0] for chrom in lads]) > 0
    columns = {k: np.concatenate([signal[chrom][inside[chrom], k] for chrom in signal]) for k in (0, 9)}
    known = np.isfinite(columns[9])
    own = wide.lad_roc(signal, lads, splits, "test", 9)
    assert own.auc == pytest.approx(exact.auc(columns[9][known], label[known]))
    assert (own.positive, own.negative) == (label[known].sum(), (~label[known]).sum()) and len(label) > known.sum()
    original = wide.lad_roc(signal, lads, splits, "test", 9, score_track="first", missing="zero")
    assert original.auc == pytest.approx(exact.auc(np.nan_to_num(columns[0]), label))
    assert own.auc > 0.65 > original.auc
    with pytest.raises(ValueError, match="missing='keep', expected 'drop' or 'zero'"):
        wide.lad_roc(signal, lads, splits, "test", 9, missing="keep")


def test_differences_between_cell_types():
    measured, _, splits = layers(np.random.default_rng(2))
    both = np.concatenate(list(measured.values()))
    z = (both - np.nanmean(both, axis=0)) / np.nanstd(both, axis=0)
    found = wide.differential_lmnb1(measured, measured)
    np.testing.assert_allclose(np.concatenate(list(found.values())), z[:, 9] - z[:, 0], rtol=1e-9)
    guess = {chrom: values + 0.5 for chrom, values in measured.items()}
    shifted = wide.differential_lmnb1(guess, measured)  # by the measured mean and deviation, not its own
    expected = z[:, 9] - z[:, 0] + 0.5 / np.nanstd(both[:, 9]) - 0.5 / np.nanstd(both[:, 0])
    np.testing.assert_allclose(np.concatenate(list(shifted.values())), expected, rtol=1e-6)
    methylation = wide.differential_methylation(measured)
    np.testing.assert_array_equal(methylation["chr2"], measured["chr2"][:, 14] - measured["chr2"][:, 16])
    assert wide.difference_roc(shifted, found, splits, "test").auc > 0.999
    noisy = {chrom: values * 0 + np.arange(len(values)) for chrom, values in found.items()}
    strict, original = (wide.difference_roc(noisy, found, splits, "train", missing=how) for how in ("drop", "zero"))
    assert original.negative > strict.negative and original.positive == strict.positive


def test_correlations_of_every_split_and_track(windows):
    random = np.random.default_rng(3)
    labels, values = random.normal(size=(5, 4, 3)), random.normal(size=(5, 4, 3))
    labels[0, 1, 2] = np.nan
    lines = wide.correlations(windows, labels, values, ["a", "b", "c"])
    assert [(line["split"], line["track"]) for line in lines[:5]] == [
        ("train", "a"), ("train", "b"), ("train", "c"), ("train", "flat"), ("test", "a")
    ]  # fmt: skip
    measured, given = labels[:2, :, 2].ravel(), values[:2, :, 2].ravel()
    known = np.isfinite(measured)
    assert lines[2]["n"] == 7 and lines[3]["n"] == 23
    assert lines[2]["pearson"] == pytest.approx(np.corrcoef(measured[known], given[known])[0, 1])
    windows_alone = wide.correlations(windows, labels, values[:, :1], ["a", "b", "c"])
    mean = np.nanmean(labels[:2, :, 2], axis=1)
    assert windows_alone[2]["pearson"] == pytest.approx(np.corrcoef(mean, values[:2, 0, 2])[0, 1])
    assert wide.as_rows(lines).splitlines()[0] == "split\ttrack\tn\tpearson\tspearman\tn_spearman"


class Records:
    """A dataset in memory."""

    def __init__(self, made):
        self.manifest, self.splits, self._made = made.manifest, {"train": 5, "test": 3}, made.records

    def split(self, name):
        return self._made[:5] if name == "train" else self._made[5:]


def test_windows_are_collected_from_a_dataset():
    made = toy(head="linear")
    task = task_of(SYSTEM, made.model, {}, made.manifest)
    predictor = Predictor(task.build_model(nnx.Rngs(0)), SYSTEM, task, source="toy")
    windows, labels, values = wide.collect(predictor, Records(made), batch_size=4)
    assert len(windows) == 8 and windows.span == 768 and windows.split.tolist() == ["train"] * 5 + ["test"] * 3
    assert windows.start[1] == 768 + 256 and windows.chrom[0] == "chr1"
    np.testing.assert_array_equal(labels, np.stack([record["target"] for record in made.records]))
    x = np.stack([record["embedding"] for record in made.records])
    np.testing.assert_allclose(values, predictor.predict(x), rtol=1e-6)


def test_a_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "DPI", 20)
    random = np.random.default_rng(4)
    count, size = 24, 4
    windows = wide.Windows(
        np.array(["chr14"] * count), 512 * np.arange(count), 512, np.array(["test", "valid", "train"] * 8)
    )
    bins = random.normal(size=(count, size, 18)).astype(np.float32)
    whole = wide.mean_of_bins(bins)
    heads = [Head("linear", bins, bins + 0.1), Head("maxpool", whole, whole - 0.1)]
    (tmp_path / "lads.bed").write_text("chr14\t0\t2000\tT1LAD0\n")
    choices = Choices(lads={9: tmp_path / "lads.bed"}, drawn=(9,))
    out = write_genome_report(tmp_path / "report", windows, heads, TRACKS, {"chr14": 14_000}, choices)
    figures = {path.name for path in (out / "figures").glob("*.png")}
    assert [name for name in figures if name.startswith("tracks_")] == ["tracks_chr14_GSM5669232_Liver.png"]
    assert {"scatter_linear_test.png", "scatter_maxpool_train.png", "roc_LADs_of_GSM5669232_Liver.png"} <= figures
    rows = [line.split("\t") for line in (out / "roc.tsv").read_text().splitlines()]
    areas = {(row[0].split("_")[0], row[1], row[2]): row[3] for row in rows[1:]}
    assert areas["LMNB1", "maxpool", "test"] == "1" and ("LADs", "measured", "test") in areas and len(rows) == 22
    lines = (out / "correlations.tsv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 3 * 19 and lines[1].split("\t")[:2] == ["linear", "test"]
    with pytest.raises(JaxepiError, match="is there already"):
        write_genome_report(out, windows, heads, TRACKS, {"chr14": 7_000})
    with pytest.raises(JaxepiError, match="head linear has arrays of shape .* but 24 windows and 17 tracks"):
        write_genome_report(tmp_path / "other", windows, heads, TRACKS[:17], {"chr14": 7_000})
    with pytest.raises(JaxepiError, match="chr14 shall be drawn, but no length of it is given"):
        write_genome_report(tmp_path / "other", windows, heads, TRACKS, {"chr1": 7_000})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lads.bed", "report"]
