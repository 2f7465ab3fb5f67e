"""Prediction of bins: what the files hold is what the model says of the right bases, however the job went."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyBigWig
import pytest
from toys.binned import BIN, CROP, WINDOW, CountsDataset, counts_predictor

from jaxepi.analysis import predict_bins, predict_split
from jaxepi.analysis.predict_bins import predict_bin_files
from jaxepi.analysis.predict_split import predict_split_files
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.storage import row_store
from jaxepi.task import Views

BED = "chr2 40 60\nchr1 100 1000\nchr1 700 720\nchr1 990 1000\n"
SPAN = WINDOW - 2 * CROP
STARTS = [("chr2", -50), *(("chr1", start) for start in (70, 210, 350, 490, 630, 770, 910, 610, 895))]


@pytest.fixture(scope="module")
def predictor():
    return counts_predictor()


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    folder, random = tmp_path_factory.mktemp("binned"), np.random.default_rng(3)
    letters = {name: "".join(random.choice(list("ACGT"), length)) for name, length in (("chr2", 150), ("chr1", 1005))}
    (folder / "genome.fa").write_text("".join(f">{name}\n{text}\n" for name, text in letters.items()))
    (folder / "regions.bed").write_text(BED)
    return folder


def job(genome, out, **more):
    return {"fasta": genome / "genome.fa", "regions": genome / "regions.bed", "out_dir": out, "batch_size": 4,
            "progress": False, **more}  # fmt: skip


def expected(predictor, genome, starts=STARTS) -> np.ndarray:
    """Each window through the predictor, by itself."""
    fasta = Genome(genome / "genome.fa")
    codes = [fasta.codes(chrom, start, start + WINDOW, pad=True) for chrom, start in starts]
    return predictor.predict(np.stack(codes), batch_size=4)


@pytest.fixture(scope="module")
def whole(predictor, genome):
    """A job that nothing came between."""
    out = genome / "whole"
    return out, predict_bin_files(predictor, **job(genome, out, dtype="float32"))


def test_sites_hold_what_the_model_says_of_their_windows(predictor, genome, whole):
    out, told = whole
    wanted = expected(predictor, genome)
    with h5py.File(out / "predict.h5") as file:
        assert file["preds"].dtype == np.float32 and file.attrs["bin"] == BIN
        np.testing.assert_allclose(file["preds"], wanted, atol=1e-5)
        assert list(zip(file["chrom"][:].astype(str), file["start"][:] - CROP, strict=True)) == STARTS
        assert (file["end"][:] - file["start"][:] == SPAN).all()
        assert file["region"][:].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 2, 3]
        assert file["tracks"][:].astype(str).tolist() == predictor.tracks
    assert (told["regions"], told["windows"], told["tracks"]) == (4, 10, 3)
    assert told["notes"] == [
        "windows that leave their chromosome and are filled with N: 3",
        "sites of which some bins lie outside their chromosome: 3",
    ]
    assert json.loads((out / "predict.json").read_text()) == told


def test_bigwigs_hold_the_same_bins_once(predictor, genome, whole):
    values = expected(predictor, genome)
    for k in range(3):
        with pyBigWig.open(str(whole[0] / "bigwig" / f"track-{k}.bw")) as file:
            assert file.chroms() == {"chr1": 1005, "chr2": 150}
            np.testing.assert_allclose(file.values("chr2", 0, 120), np.repeat(values[0, 2:, k], BIN), atol=1e-5)
            tiled = np.repeat(values[1:7, :, k].ravel(), BIN)[:400]  # as far as no other site begins before
            np.testing.assert_allclose(file.values("chr1", 100, 500), tiled, atol=1e-5)
            bases = file.values("chr1", 0, 1005)
            assert np.isnan(bases[:100]).all() and not np.isnan(bases[100:1005]).any()


def test_a_site_of_chosen_length_and_tracks_and_its_sum(predictor, genome, tmp_path):
    more = {"site_length": 40, "tracks": ["track-2", "track-0"], "dtype": "float32"}
    predict_bin_files(predictor, **job(genome, tmp_path / "site", **more))
    predict_bin_files(predictor, **job(genome, tmp_path / "sum", **more, total=True))
    starts = [("chr2", -50), ("chr1", 450), ("chr1", 610), ("chr1", 895)]
    wanted = expected(predictor, genome, starts)[:, 5:9][:, :, [2, 0]]
    with h5py.File(tmp_path / "site/predict.h5") as site, h5py.File(tmp_path / "sum/predict.h5") as summed:
        np.testing.assert_allclose(site["preds"], wanted, atol=1e-5)
        np.testing.assert_allclose(summed["preds"], wanted.sum(axis=1), atol=1e-4)
        assert site["start"][:].tolist() == summed["start"][:].tolist() == [start + 80 for _, start in starts]
    assert sorted(path.name for path in (tmp_path / "sum/bigwig").iterdir()) == ["track-0.bw", "track-2.bw"]
    with pyBigWig.open(str(tmp_path / "sum/bigwig/track-2.bw")) as file:
        assert file.intervals("chr1")[0] == (530, 570, pytest.approx(wanted[1, :, 0].sum(), rel=1e-5))


def test_half_precision_is_the_default_but_of_sums_and_what_it_cannot_hold_is_told(predictor, genome, tmp_path):
    told = predict_bin_files(predictor, **job(genome, tmp_path / "half", formats=["hdf5"]))
    assert told["arguments"]["dtype"] == "float16" and not (tmp_path / "half/bigwig").exists()
    with h5py.File(tmp_path / "half/predict.h5") as file:
        np.testing.assert_allclose(file["preds"], expected(predictor, genome), rtol=1e-3)
    loud = counts_predictor()
    loud.begin = lambda codes, views: np.full((len(codes), 14, 3), 7e4, np.float32)
    told = predict_bin_files(loud, **job(genome, tmp_path / "loud", formats=["hdf5"]))
    assert told["notes"][-1] == "values beyond the range of float16, written as 65504: 420"
    assert predict_bin_files(loud, **job(genome, tmp_path / "sum", total=True))["arguments"]["dtype"] == "float32"
    loud.begin = lambda codes, views: np.full((len(codes), 14, 3), np.nan, np.float32)
    with pytest.raises(JaxepiError, match="gives NaN or infinity at chr2:-50"):
        predict_bin_files(loud, **job(genome, tmp_path / "nan"))


def test_strands_and_shifts_are_averaged(predictor, genome, tmp_path):
    """By windows that are moved and turned beforehand."""
    views = Views(reverse_complement=True, shifts=(-1, 2))
    predict_bin_files(predictor, **job(genome, tmp_path / "out", dtype="float32", views=views, formats=["hdf5"]))
    fasta, total = Genome(genome / "genome.fa"), 0.0
    for shift in views.shifts:
        letters = [fasta.codes(chrom, start, start + WINDOW, pad=True) for chrom, start in STARTS]
        codes = np.full((len(STARTS), WINDOW), 4, np.uint8)
        for moved, code in zip(codes, letters, strict=True):
            moved[max(shift, 0) : WINDOW + min(shift, 0)] = code[max(-shift, 0) : WINDOW - max(shift, 0)]
        turned = np.where(codes < 4, 3 - codes, 4)[:, ::-1].astype(np.uint8)
        total += predictor.predict(codes, batch_size=4) + predictor.predict(turned, batch_size=4)[:, ::-1]
    with h5py.File(tmp_path / "out/predict.h5") as file:
        np.testing.assert_allclose(file["preds"], total / 4, atol=1e-4)
    with pytest.raises(JaxepiError, match="holds a prediction with rc True, not False"):
        predict_bin_files(predictor, **job(genome, tmp_path / "out", dtype="float32", formats=["hdf5"]))


def test_bigwigs_alone_leave_no_other_numbers(predictor, genome, whole, tmp_path):
    predict_bin_files(predictor, **job(genome, tmp_path / "out", dtype="float32", formats=["bigwig"]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bigwig", "predict.json"]
    same = [(folder / "bigwig/track-1.bw").read_bytes() for folder in (tmp_path / "out", whole[0])]
    assert same[0] == same[1]


def test_records_of_a_fasta_are_predicted_on_their_middle(predictor, genome, tmp_path):
    told = predict_bin_files(predictor, **job(genome, tmp_path / "out", regions=None, dtype="float32"))
    with h5py.File(tmp_path / "out/predict.h5") as file:
        wanted = expected(predictor, genome, [("chr2", -25), ("chr1", 402)])
        np.testing.assert_allclose(file["preds"], wanted, atol=1e-5)
    assert "regions longer than their site of 140 bp, whose ends are left out: 2" in told["notes"]


def test_many_tracks_get_bigwigs_only_if_they_are_asked_for(predictor, genome, tmp_path, monkeypatch):
    monkeypatch.setattr(predict_bins, "MANY_TRACKS", 2)
    told = predict_bin_files(predictor, **job(genome, tmp_path / "all"))
    assert told["arguments"]["outputs"] == ["hdf5"] and told["notes"][-1].startswith("no BigWigs of 3 tracks")
    told = predict_bin_files(predictor, **job(genome, tmp_path / "chosen", tracks=predictor.tracks))
    assert told["arguments"]["outputs"] == ["hdf5", "bigwig"]


class Killed(BaseException):
    """What no code catches."""


@pytest.mark.parametrize("synced", [True, False])
def test_an_ended_job_goes_on_and_its_bytes_are_those_of_a_whole_one(predictor, genome, whole, tmp_path, synced):
    arguments, append = job(genome, tmp_path / "out", dtype="float32"), row_store.RowStore.append

    def append_or_die(store, rows, **counts):
        if store.rows == 4:
            store.files["predict.h5"].file.write(b"half a row")
            raise Killed
        append(store, rows, **counts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_store, "SYNC_SECONDS", 0 if synced else 60)
        patch.setattr(row_store.RowStore, "append", append_or_die)
        with pytest.raises(Killed):
            predict_bin_files(predictor, **arguments)
    assert not (tmp_path / "out").exists() and (tmp_path / "out.partial/progress.json").exists() == synced
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict_bins, "write_bin_bigwigs", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            predict_bin_files(predictor, **arguments)
    assert predict_bin_files(predictor, **arguments) == whole[1]
    assert not (tmp_path / "out.partial").exists()
    assert_same_bytes(tmp_path / "out", whole[0], 5)
    made = (tmp_path / "out/predict.h5").stat().st_mtime_ns
    assert predict_bin_files(predictor, **arguments) == whole[1]  # is not repeated
    assert (tmp_path / "out/predict.h5").stat().st_mtime_ns == made
    with pytest.raises(JaxepiError, match="holds a prediction with site_length 140, not 20"):
        predict_bin_files(predictor, **arguments, site_length=20)


def assert_same_bytes(a: Path, b: Path, count: int) -> None:
    names = {path.relative_to(a) for path in a.rglob("*") if path.is_file()}
    assert names == {path.relative_to(b) for path in b.rglob("*") if path.is_file()} and len(names) == count
    assert all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


JOB = """
import os, signal, sys
from pathlib import Path
from jaxepi.analysis.predict_bins import predict_bin_files
from jaxepi.storage import row_store
from jaxepi.task import Views
from toys.binned import counts_predictor
genome, out, die = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "die"
row_store.SYNC_SECONDS = 0
append = row_store.RowStore.append
def append_or_die(store, rows, **counts):
    append(store, rows, **counts)
    if die and store.rows == 8:
        store.files["predict.h5"].write(8, rows["predict.h5"][:1] * 0)
        os.kill(os.getpid(), signal.SIGKILL)
row_store.RowStore.append = append_or_die
fasta, regions = genome / "genome.fa", genome / "regions.bed"
predict_bin_files(counts_predictor(), fasta=fasta, regions=regions, out_dir=out, dtype="float32", batch_size=4)
"""


@pytest.mark.slow
def test_kill_and_rerun_gives_the_same_bytes(genome, whole, tmp_path):
    def run(how: str) -> int:
        environment = os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))}
        command = [sys.executable, "-c", JOB, str(genome), str(tmp_path / "out"), how]
        return subprocess.run(command, env=environment, capture_output=True).returncode

    assert run("die") == -signal.SIGKILL and not (tmp_path / "out").exists()
    assert run("live") == 0
    for name in ("predict.h5", "bigwig/track-0.bw"):
        assert (tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"site_length": 25}, "site length is 25 bp, but this model predicts 14 bins of 10 bp"),
        ({"tracks": ["trak-1"]}, r"Track 'trak-1' fits no track \(did you mean 'track-1'\?\)"),
        ({"formats": ["bigwigs"]}, r"A format is 'bigwigs' \(did you mean 'bigwig'\?\), but must be one of"),
        ({"formats": []}, "formats is empty, but one or more of hdf5, bigwig, table"),
        ({"dtype": "float61"}, "dtype is 'float61' .did you mean 'float16'.., but must be one of"),
        ({"batch_size": 0}, "batch_size is 0 and must be at least 1"),
        ({"views": Views(shifts=(0, -200))}, "shifts has -200 bp, but the window of counts has only 200 bp"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(predictor, genome, tmp_path, change, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        predict_bin_files(predictor, **job(genome, tmp_path / "out") | change)
    (tmp_path / "r.bed").write_text("2 5 10\n")
    with pytest.raises(JaxepiError, match=r"r\.bed line 1 names '2' where"):
        predict_bin_files(predictor, **job(genome, tmp_path / "out", regions=tmp_path / "r.bed"))
    assert [path.name for path in tmp_path.iterdir()] == ["r.bed"]


def test_a_region_in_python_lies_where_the_files_say(predictor, genome, whole):
    found = predictor.predict_region("chr1:100-1000", genome / "genome.fa", batch_size=4)
    assert found.starts.tolist() == [start for _, start in STARTS[1:8]]
    assert found.positions.ravel().tolist() == list(range(100, 1080, BIN))
    with h5py.File(whole[0] / "predict.h5") as file:
        np.testing.assert_allclose(found.values, file["preds"][1:8], atol=1e-5)
        assert found.positions[:, 0].tolist() == file["start"][1:8].tolist()


def test_a_split_beside_its_targets_also_after_a_kill(predictor, tmp_path, monkeypatch):
    dataset = CountsDataset(predictor, {"test": 10})
    arguments = {"dataset": dataset, "split": "test", "batch_size": 4, "progress": False}
    append = row_store.RowStore.append

    def append_or_die(store, rows, **counts):
        if store.rows == 8:
            raise Killed
        append(store, rows, **counts)

    monkeypatch.setattr(row_store, "SYNC_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(row_store.RowStore, "append", append_or_die)
        with pytest.raises(Killed):
            predict_split_files(predictor, out_dir=tmp_path / "out", **arguments)
    for name in ("out", "whole"):
        told = predict_split_files(predictor, out_dir=tmp_path / name, **arguments)
    assert told["windows"] == 10 and predict_split.SUMMARY in os.listdir(tmp_path / "out")
    assert_same_bytes(tmp_path / "out", tmp_path / "whole", 3)
    records = dataset.split("test")
    with h5py.File(tmp_path / "out/preds.h5") as preds, h5py.File(tmp_path / "out/targets.h5") as targets:
        assert preds["preds"].dtype == targets["targets"].dtype == np.float16
        wanted = predictor.predict(np.stack([record["sequence"] for record in records]), batch_size=4)
        np.testing.assert_allclose(preds["preds"], wanted, rtol=1e-3)
        np.testing.assert_allclose(targets["targets"], [record["target"] for record in records], rtol=1e-3)
        assert preds["tracks"][:].astype(str).tolist() == predictor.tracks
