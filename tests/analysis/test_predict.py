import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pyBigWig
import pytest
from flax import nnx

import jaxepi
from jaxepi import sequence
from jaxepi.analysis import cpg_calls as calls
from jaxepi.analysis.predict import predict_files, select_tracks
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.sequence import one_hot
from jaxepi.systems.deepcpg.model import DeepCpG, DeepCpGConfig

BED = "chr1 3000 4000\nchr10 100 4700\nchr2 0 2000\nchr1 3900 4100\nshort 0 700\nchr1 12000 13000\n"


@pytest.fixture
def bed(tmp_path) -> Path:
    (tmp_path / "regions.bed").write_text(BED)
    return tmp_path / "regions.bed"


def rows(out: Path) -> list[tuple[str, int, str, str]]:
    lines = [line.split("\t") for line in (out / "calls.tsv").read_text().splitlines()]
    assert lines[0] == ["chrom", "position", "track", "value"]
    return [(chrom, int(position), track, value) for chrom, position, track, value in lines[1:]]


def expected(predictor, genome: Genome, windows: list[tuple[str, int, int, int]]) -> list[tuple[str, int, str, str]]:
    """Rows by the plain way: each window through the model, each CG dinucleotide of the genome looked up in letters."""
    out = []
    for chrom, start, low, high in windows:
        codes = genome.codes(chrom, start, start + predictor.window, pad=True)
        values = np.asarray(jax.nn.sigmoid(predictor.model(one_hot(codes[None])).logits))[0]
        letters = sequence.decode(genome.codes(chrom))
        for position in range(low, high):
            if letters[position : position + 2] == "CG":
                names = ("liver", "B_cells/naive")
                out += [(chrom, position, name, values[position - start, k]) for k, name in enumerate(names)]
    return out


def assert_same_rows(read, wanted) -> None:
    assert [row[:3] for row in read] == [row[:3] for row in wanted] and len(read) > 50
    np.testing.assert_allclose([float(row[3]) for row in read], [row[3] for row in wanted], atol=5.1e-5)


def test_regions_give_each_cpg_of_each_region_once(predictor, fasta, bed, tmp_path):
    summary = predict_files(predictor, fasta=fasta, regions=bed, out_dir=tmp_path / "out", batch_size=3, progress=False)
    windows = [
        *[("chr1", 2500, 3000, 4000), ("chr10", 100, 100, 2100), ("chr10", 2100, 2100, 4100)],
        *[("chr10", 2700, 4100, 4700), ("chr2", 0, 0, 2000), ("chr1", 3000, 3900, 4100), ("short", 0, 0, 700)],
        ("chr1", 11_000, 12_000, 13_000),
    ]
    wanted = expected(predictor, Genome(fasta), windows)
    assert_same_rows(rows(tmp_path / "out"), wanted)
    assert (summary["regions"], summary["windows"], summary["calls"]) == (6, 8, len(wanted) // 2)
    assert len(summary["notes"]) == 2
    for k, name in enumerate(("liver", "B_cells_naive")):
        with pyBigWig.open(str(tmp_path / "out" / "bigwig" / f"{name}.bw")) as file:
            assert file.chroms() == Genome(fasta).lengths
            read = [(chrom, *row) for chrom in file.chroms() for row in file.intervals(chrom) or ()]
        first = {}
        for chrom, position, _, value in wanted[k::2]:
            first.setdefault((chrom, position), value)
        assert [(chrom, start, end) for chrom, start, end, _ in read] == [(c, p, p + 2) for c, p in sorted(first)]
        np.testing.assert_allclose([row[3] for row in read], [first[place] for place in sorted(first)], atol=1e-6)


def test_parity_mode_repeats_the_overlap_of_the_last_tiles(predictor, fasta, tmp_path):
    (tmp_path / "r.bed").write_text("chr10 100 4700\n")
    arguments = {"fasta": fasta, "regions": tmp_path / "r.bed", "bigwig": False, "progress": False}
    predict_files(predictor, out_dir=tmp_path / "repeat", overlap="repeat", **arguments)
    windows = [("chr10", 100, 100, 2100), ("chr10", 2100, 2100, 4100), ("chr10", 2700, 2700, 4700)]
    genome = Genome(fasta)
    cut = [start + 1999 for _, start, _, _ in windows]  # a CpG that begins with a window's last base
    wanted = [row for window in windows for row in expected(predictor, genome, [window]) if row[1] != window[1] + 1999]
    assert_same_rows(rows(tmp_path / "repeat"), wanted)
    predict_files(predictor, out_dir=tmp_path / "once", **arguments)
    once = {row[:3] for row in rows(tmp_path / "once")}
    assert len(once) == len(rows(tmp_path / "once")) and {row[:3] for row in wanted} <= once
    assert {row[1] for row in once} - {row[1] for row in wanted} <= set(cut)


def test_sequences_alone_are_cropped_or_padded(predictor, fasta, tmp_path):
    predict_files(predictor, fasta=fasta, out_dir=tmp_path / "out", bigwig=False, batch_size=2, progress=False)
    windows = [
        *[("chr1", 5500, 5500, 7500), ("chr10", 1500, 1500, 3500)],
        *[("chr2", 0, 0, 2000), ("short", -650, 0, 700)],
    ]
    assert_same_rows(rows(tmp_path / "out"), expected(predictor, Genome(fasta), windows))
    assert not (tmp_path / "out" / "bigwig").exists()


def test_a_cpg_across_two_tiles_is_reported_once(predictor, tmp_path):
    letters = np.array(["A"] * 5000)
    letters[1999], letters[2000] = "C", "G"
    (tmp_path / "g.fa").write_text(">c\n" + "".join(letters) + "\n")
    (tmp_path / "r.bed").write_text("c 0 5000\n")
    for overlap, count in (("once", 1), ("repeat", 0)):
        summary = predict_files(
            predictor, fasta=tmp_path / "g.fa", regions=tmp_path / "r.bed", out_dir=tmp_path / overlap, overlap=overlap,
            progress=False,
        )  # fmt: skip
        assert summary["calls"] == count
        with pyBigWig.open(str(tmp_path / overlap / "bigwig" / "liver.bw")) as file:
            assert len(file.intervals("c") or ()) == count


def test_some_tracks_only(predictor, fasta, bed, tmp_path):
    predict_files(predictor, fasta=fasta, regions=bed, out_dir=tmp_path / "out", tracks=["naive"], progress=False)
    assert {row[2] for row in rows(tmp_path / "out")} == {"B_cells/naive"}
    assert [path.name for path in (tmp_path / "out" / "bigwig").iterdir()] == ["B_cells_naive.bw"]
    assert select_tracks(["Blood-B", "Blood-NK", "Blood-B-x"], ["Blood-B", "NK"]) == [0, 1]
    with pytest.raises(JaxepiError, match=r"Track 'Blood' fits Blood-B, Blood-NK"):
        select_tracks(["Blood-B", "Blood-NK"], ["Blood"])
    with pytest.raises(JaxepiError, match=r"Track 'livr' fits no track \(did you mean 'liver'\?\)"):
        select_tracks(["liver"], ["livr"])


def test_a_finished_job_is_not_repeated_and_another_one_is_refused(predictor, fasta, bed, tmp_path):
    arguments = {"fasta": fasta, "regions": bed, "out_dir": tmp_path / "out", "progress": False}
    first = predict_files(predictor, **arguments)
    made = (tmp_path / "out" / "calls.tsv").stat().st_mtime_ns
    assert predict_files(predictor, **arguments) == first
    assert (tmp_path / "out" / "calls.tsv").stat().st_mtime_ns == made
    with pytest.raises(JaxepiError, match="holds a prediction with overlap once, not repeat"):
        predict_files(predictor, **arguments, overlap="repeat")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(JaxepiError, match="mine exists and holds no finished prediction"):
        predict_files(predictor, **{**arguments, "out_dir": tmp_path / "mine"})


def test_bad_input_is_told_before_anything_is_written(predictor, fasta, tmp_path):
    (tmp_path / "r.bed").write_text("1 5 10\n")
    with pytest.raises(JaxepiError, match=r"r\.bed line 1 names '1' where"):
        predict_files(predictor, fasta=fasta, regions=tmp_path / "r.bed", out_dir=tmp_path / "out")
    with pytest.raises(JaxepiError, match="overlap is 'twice'"):
        predict_files(predictor, fasta=fasta, out_dir=tmp_path / "out", overlap="twice")
    assert [path.name for path in tmp_path.iterdir()] == ["r.bed"]


def test_a_full_disk_is_one_sentence_and_the_job_can_go_on(predictor, fasta, bed, tmp_path, monkeypatch):
    arguments = {"fasta": fasta, "regions": bed, "out_dir": tmp_path / "out", "batch_size": 2, "progress": False}

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(calls.os, "fsync", full)
        with pytest.raises(JaxepiError, match=r"Cannot write .*out \(No space left on device\).*run the same command"):
            predict_files(predictor, **arguments)
    assert not (tmp_path / "out").exists()
    predict_files(predictor, **arguments)
    predict_files(predictor, **{**arguments, "out_dir": tmp_path / "other"})
    assert same_bytes(tmp_path / "out", tmp_path / "other")


JOB = """
import os, signal, sys
from pathlib import Path
import jaxepi
from jaxepi.analysis import cpg_calls as calls, predict
weights, fasta, bed, out, where = sys.argv[1:]
calls.SYNC_SECONDS = 0
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "batch":
    commit = calls.CallStore.commit
    def commit_or_die(store, batches):
        commit(store, batches)
        if batches == 2:
            store._files["calls.tsv"].write(b"half a li")
            store._files["calls.tsv"].flush()
            kill()
    calls.CallStore.commit = commit_or_die
if where == "bigwig":
    calls.write_bigwigs = kill
predict.predict_files(jaxepi.load(weights, window=2000), fasta=fasta, regions=bed, out_dir=out, batch_size=2)
"""


@pytest.mark.parametrize("where", ["batch", "bigwig"])
def test_kill_and_rerun_gives_the_same_bytes(predictor, weights, fasta, bed, tmp_path, where):
    def job(where: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", JOB, str(weights), str(fasta), str(bed), str(tmp_path / "out"), where]
        environment = {
            "PYTHONPATH": ":".join(filter(None, sys.path)),
            "PATH": "",
            "JAX_PLATFORMS": "cpu",
            # as this process compiles, whose files are compared
            "JAX_DISABLE_MOST_OPTIMIZATIONS": os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"],
            "JAX_COMPILATION_CACHE_DIR": str(weights.parent / "xla"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert job(where).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists() and (tmp_path / "out.partial" / "progress.json").exists()
    again = job("nowhere")
    assert again.returncode == 0, again.stderr
    assert not (tmp_path / "out.partial").exists()
    predict_files(predictor, fasta=fasta, regions=bed, out_dir=tmp_path / "whole", batch_size=2, progress=False)
    assert same_bytes(tmp_path / "out", tmp_path / "whole")


def same_bytes(a: Path, b: Path) -> bool:
    names = {path.relative_to(a) for path in a.rglob("*") if path.is_file()}
    assert names == {path.relative_to(b) for path in b.rglob("*") if path.is_file()} and len(names) == 4
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


@pytest.fixture(scope="module")
def site_predictor(tmp_path_factory):
    """A network of single sites that reads 101 bp, from a file."""
    model = DeepCpG(DeepCpGConfig("CnnL1h128", outputs=("cpg/a", "cpg/b"), window=101, hidden=4), rngs=nnx.Rngs(0))
    path = tmp_path_factory.mktemp("sites") / "dna.npz"
    jaxepi.export(model, path)
    return jaxepi.load(path, outputs=("cpg/a", "cpg/b"), window=101)


def test_a_model_of_single_sites_sees_each_cpg_in_the_middle_of_its_window(site_predictor, fasta, bed, tmp_path):
    """Also where a window leaves its chromosome, and where a stretch of a region ends in a CpG."""
    out = tmp_path / "out"
    told = predict_files(site_predictor, fasta=fasta, regions=bed, out_dir=out, batch_size=64, progress=False)
    genome, wanted = Genome(fasta), []
    for line in BED.splitlines():
        chrom, low, high = line.split()[0], *map(int, line.split()[1:])
        letters = sequence.decode(genome.codes(chrom))
        wanted += [(chrom, at) for at in range(low, high) if letters[at : at + 2] == "CG"]
    windows = np.stack([genome.codes(chrom, at - 50, at + 51, pad=True) for chrom, at in wanted])
    values = site_predictor.predict(windows, batch_size=64)[:, 0]
    read = rows(out)
    assert [row[:3] for row in read] == [(c, at, name) for c, at in wanted for name in ("cpg/a", "cpg/b")]
    np.testing.assert_allclose([float(row[3]) for row in read], values.ravel(), atol=5.1e-5)
    assert told["windows"] == told["calls"] == len(wanted) > 200
    with pyBigWig.open(str(out / "bigwig" / "cpg_a.bw")) as track:
        assert track.values("chr2", *[(at, at + 1) for c, at in wanted if c == "chr2"][0])[0] == pytest.approx(
            values[[c for c, _ in wanted].index("chr2"), 0], abs=1e-6
        )


def test_sequences_for_a_model_of_single_sites_are_predicted_in_their_middle(site_predictor, tmp_path, capsys):
    letters = ["A" * 50 + "CG" + "T" * 49, "A" * 101, "T" * 100 + "CG" + "A" * 99]
    (tmp_path / "x.fa").write_text("".join(f">s{i}\n{text}\n" for i, text in enumerate(letters)))
    told = predict_files(site_predictor, fasta=tmp_path / "x.fa", out_dir=tmp_path / "out", bigwig=False)
    read = rows(tmp_path / "out")
    assert [row[:3] for row in read[::2]] == [("s0", 50, "cpg/a"), ("s2", 100, "cpg/a")]
    assert float(read[0][3]) == pytest.approx(site_predictor.predict(letters[0])[0, 0, 0], abs=5.1e-5)
    assert "records without a CpG in their middle, which get no prediction: 1" in told["notes"]


def test_regions_without_a_cpg_are_told(site_predictor, tmp_path):
    (tmp_path / "x.fa").write_text(">s\n" + "A" * 500 + "\n")
    (tmp_path / "x.bed").write_text("s 0 500\n")
    with pytest.raises(JaxepiError, match="There is no CpG in the 1 region"):
        predict_files(site_predictor, fasta=tmp_path / "x.fa", regions=tmp_path / "x.bed", out_dir=tmp_path / "out")
