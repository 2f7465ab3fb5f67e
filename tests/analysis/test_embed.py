"""The verb embed: rows, order, number types, shards, resume after kills at any row, HDF5, and what is refused."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toys.windowsum.model import WindowSum, WindowSumConfig

import jaxepi
from jaxepi.analysis import embed as embed_module
from jaxepi.analysis.embed import EmbedOptions, bins_of, embed_dataset, embed_regions
from jaxepi.data import open_dataset
from jaxepi.data.array_folder import Embeddings, read_arrays
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.predictor import Predictor
from jaxepi.registry import get_system
from jaxepi.runs.verify import verify
from jaxepi.storage import embedding_store
from jaxepi.storage.embedding_store import EmbeddingStore
from jaxepi.task import Grid, featured
from jaxepi.verbs.command import main

BED = "chr1 0 1000 train\nchr10 1000 1400 test\nchr1 5000 9000 train\nchr2 1500 2000 valid\nchr1 7000 8000 train\n"
STARTS = [0, 700, 6500, 1250, 7000]  # of the windows: the second, third and fourth row are centred
QUIET = {"batch_size": 2, "shard": 2, "progress": False}


@pytest.fixture(scope="module")
def released(registered, tmp_path_factory) -> Path:
    """A released file of the toy system."""
    path = tmp_path_factory.mktemp("released") / "toy.npz"
    jaxepi.export(WindowSum(WindowSumConfig(width=8), rngs=nnx.Rngs(0)), path, tracks=["gc", "cpg"])
    return path


@pytest.fixture(scope="module")
def trunk(released):
    return jaxepi.load(released, system="windowsum")


@pytest.fixture
def bed(tmp_path) -> Path:
    (tmp_path / "windows.bed").write_text(BED)
    return tmp_path / "windows.bed"


@pytest.fixture
def wanted(trunk, fasta):
    """What the rows of the BED must give, float32."""
    chroms, genome = [line.split()[0] for line in BED.splitlines()], Genome(fasta)
    codes = [genome.codes(c, s, s + 1000, pad=True) for c, s in zip(chroms, STARTS, strict=True)]
    return trunk.features(np.stack(codes), batch_size=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_of_a_bed(trunk, fasta, bed, wanted, tmp_path, capsys):
    out = tmp_path / "out"
    told = embed_regions(trunk, fasta, bed, out, EmbedOptions(**QUIET))
    made = Embeddings(out)
    assert made.dtype == "float16" and made.shape == wanted.shape == (5, 10, 8)
    np.testing.assert_array_equal(made.rows(0, 5), wanted.astype(np.float16))
    np.testing.assert_array_equal(made.rows(1, 4), wanted[1:4].astype(np.float16))
    assert made.regions.start.tolist() == STARTS and made.regions.shown(3) == "chr2:1250-2250"
    assert made.regions.split == ["train", "test", "train", "valid", "train"]
    files = sorted(path.name for path in out.iterdir())
    assert files == [*(f"embeddings-0000{i}.npy" for i in range(3)), "manifest.json", "regions.tsv"]
    manifest = read_arrays(out, "embedding_arrays")
    assert manifest["splits"]["train"]["records"] == 3 and manifest["trunk"]["weights"] == trunk.digest()
    assert (manifest["window"], manifest["bins"], manifest["channels"]) == (1000, 10, 8)
    assert (manifest["bin_width"], manifest["crop"], manifest["count"]) == (100, 0, 5)
    notes = capsys.readouterr().err
    assert "only the centre is embedded: 1" in notes and "beyond their chromosome, with N there: 1" in notes
    assert "shorter than 1000 bp, with what lies around them: 2" in notes
    assert embed_regions(trunk, fasta, bed, out, EmbedOptions(**QUIET))["fingerprint"] == told["fingerprint"]
    with pytest.raises(JaxepiError, match="with dtype float16, not float32: remove it, or choose another --out"):
        embed_regions(trunk, fasta, bed, out, EmbedOptions(dtype="float32", **QUIET))


def test_number_types_and_hdf5(trunk, fasta, bed, wanted, tmp_path):
    for dtype in ("bfloat16", "float32"):
        embed_regions(trunk, fasta, bed, tmp_path / dtype, EmbedOptions(dtype=dtype, **QUIET))
    np.testing.assert_array_equal(Embeddings(tmp_path / "float32").rows(0, 5), wanted)
    kept = Embeddings(tmp_path / "bfloat16").rows(0, 5)
    assert kept.dtype == np.uint16
    np.testing.assert_array_equal(kept.view(jnp.bfloat16), wanted.astype(jnp.bfloat16))
    embed_regions(trunk, fasta, bed, tmp_path / "h", EmbedOptions(form="hdf5", **QUIET))
    assert sorted(p.name for p in (tmp_path / "h").iterdir()) == ["embeddings.h5", "manifest.json", "regions.tsv"]
    for path in (
        tmp_path / "h",
        tmp_path / "h" / "embeddings.h5",
    ):  # also without what lies beside it, as the original's
        made = Embeddings(path)
        assert made.shape == (5, 10, 8) and made.dtype == "float16"
        np.testing.assert_array_equal(made.rows(1, 5), wanted[1:].astype(np.float16))
    with pytest.raises(JaxepiError, match="HDF5 has no bfloat16"):
        EmbedOptions(dtype="bfloat16", form="hdf5")


def test_a_dataset_with_its_splits(trunk, small, tmp_path):
    dataset = open_dataset(small)
    embed_dataset(trunk, dataset, tmp_path / "all", None, EmbedOptions(batch_size=16, progress=False))
    made = Embeddings(tmp_path / "all")
    assert made.regions.split == ["train"] * 64 + ["valid"] * 16 + ["test"] * 16
    assert made.manifest["data"]["fingerprint"] == dataset.fingerprint
    records = [dataset.split(name)[i] for name, i in (("train", 63), ("valid", 0), ("test", 15))]
    wanted = trunk.features(np.stack([record["sequence"] for record in records]))
    np.testing.assert_allclose(made.rows(0, 96)[[63, 64, 95]].astype(np.float32), wanted, atol=2e-3)
    embed_dataset(trunk, dataset, tmp_path / "part", "valid+test", EmbedOptions(batch_size=5, progress=False))
    part = Embeddings(tmp_path / "part")
    assert len(part) == 32 and part.regions.start[16] == dataset.split("test")[0]["start"]
    with pytest.raises(JaxepiError, match="there is no split 'tset' .did you mean 'test'"):
        embed_dataset(trunk, dataset, tmp_path / "x", "tset")


class Killed(Exception):
    pass


@pytest.mark.parametrize("form", ["npy", "hdf5"])
def test_a_job_stopped_anywhere_gives_the_same_files(trunk, fasta, bed, tmp_path, monkeypatch, form):
    """Stopped at every write, also half-way through one and before the progress is kept; then the same call again."""
    options = EmbedOptions(form=form, batch_size=2, shard=3, progress=False)
    embed_regions(trunk, fasta, bed, tmp_path / "whole", options)
    monkeypatch.setattr(embedding_store, "SYNC_SECONDS", 0)
    write, line, done = EmbeddingStore._write, EmbeddingStore._write_line, []
    stop = 0

    def stopped(kept):
        def run(store, piece):
            done.append(0)
            if len(done) == stop:
                if kept is write:
                    store._file.write(piece[: len(piece) // 2])
                    store._file.flush()
                raise Killed
            kept(store, piece)

        return run

    monkeypatch.setattr(EmbeddingStore, "_write", stopped(write))
    monkeypatch.setattr(EmbeddingStore, "_write_line", stopped(line))
    for stop in range(1, 40, 3):
        out, ended, tries = tmp_path / f"stop{stop}", False, 0
        while not ended:
            done.clear()
            try:
                embed_regions(trunk, fasta, bed, out, options)
                ended = True
            except Killed:
                tries, stop = tries + 1, stop + 4
        same, whole = contents(out), contents(tmp_path / "whole")
        if form == "hdf5":  # its bytes hold the time
            np.testing.assert_array_equal(Embeddings(out).rows(0, 5), Embeddings(tmp_path / "whole").rows(0, 5))
            same, whole = ({"regions.tsv": files["regions.tsv"]} for files in (same, whole))
        assert same == whole, stop
        if not tries:
            break
    assert stop > 5


def test_a_number_beyond_the_type_is_refused(trunk, fasta, bed, tmp_path, monkeypatch):
    real = embed_module._stored
    monkeypatch.setattr(embed_module, "_stored", lambda features, dtype: real(features * 1e6, dtype))
    with pytest.raises(
        JaxepiError, match="numbers of the 2 embeddings from chr1:0 on are beyond what float16 holds: use"
    ):
        embed_regions(trunk, fasta, bed, tmp_path / "out", EmbedOptions(**QUIET))
    assert [path.name for path in tmp_path.iterdir()] == ["windows.bed"]
    embed_regions(trunk, fasta, bed, tmp_path / "out", EmbedOptions(dtype="bfloat16", **QUIET))
    monkeypatch.setattr(embed_module, "_stored", lambda features, dtype: real(features * jnp.nan, dtype))
    with pytest.raises(JaxepiError, match="are NaN or infinite: the weights or the records are damaged"):
        embed_regions(trunk, fasta, bed, tmp_path / "nan", EmbedOptions(dtype="float32", **QUIET))


def test_what_does_not_fit(trunk, fasta, tmp_path, monkeypatch):
    def refused(rows, sentence):
        (tmp_path / "r.bed").write_text(rows)
        with pytest.raises(JaxepiError, match=sentence):
            embed_regions(trunk, fasta, tmp_path / "r.bed", tmp_path / "x", EmbedOptions(**QUIET))
        assert not (tmp_path / "x").exists()

    refused("chrom start end\n", "holds no region")
    refused("chr1 0 1000\nchr9 0 1000\n", "r.bed line 2 names 'chr9'")
    refused("chr2 1500 2600\n", "line 1: chr2:1500-2600 reaches beyond chr2, 2000 bp")
    refused("".join(f"chr1 0 1000 peak{i}\n" for i in range(101)), "more than 100 different words in its fourth column")
    monkeypatch.setattr(trunk.task, "sequence_alone", False, raising=False)
    refused("chr1 0 1000\n", "reads more than sequence: embed the records of a dataset")
    monkeypatch.setattr(trunk.task, "window", None)
    refused("chr1 0 1000\n", "reads no sequence, so that its features belong to no window")
    monkeypatch.setattr(embedding_store.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(JaxepiError, match="GB free and the embeddings of 5 windows need"):
        EmbeddingStore(tmp_path / "full", {}, count=5, shape=(10, 8), columns=())


def test_where_the_places_of_a_trunk_lie():
    assert bins_of(Grid("bin", 128, 8192), 131_072, 896) == (128, 8192)
    assert bins_of(Grid("pair", 2048, 32 * 2048, 2), 1_048_576, 448) == (2048, 65_536)
    assert bins_of(Grid("site"), 1001, 1) == (1001, 0)
    assert bins_of(Grid("base"), 1000, 1000) == (1, 0)
    assert bins_of(Grid("bin", 128), 1024, 3) == (None, None)


def test_a_trunk_at_bases(predictor, fasta, tmp_path):
    (tmp_path / "two.bed").write_text("chr1 0 2000\nchr1 5000 7000\n")
    told = embed_regions(predictor, fasta, tmp_path / "two.bed", tmp_path / "x", EmbedOptions(dtype="float32", **QUIET))
    assert (told["bins"], told["channels"], told["bin_width"], told["crop"]) == (2000, 4, 1, 0)
    codes = np.stack([Genome(fasta).codes("chr1", start, start + 2000) for start in (0, 5000)])
    made = Embeddings(tmp_path / "x")
    np.testing.assert_allclose(made.rows(0, 2), predictor.features(codes, batch_size=2), atol=1e-5)
    assert made.regions.split == ["all", "all"]


class ToySplit(list):
    """Records of a toy as a split of a dataset."""

    name = "train"


class ToyDataset:
    """Records of a toy as a dataset."""

    def __init__(self, system):
        toy = get_system(system).toy(0, 5)
        self.manifest, self.kind, self.fingerprint, self.path = toy.manifest, toy.manifest["kind"], "toy", Path("toy")
        self.parts, self.splits, self._toy = {"toy": self}, {"train": 5}, toy

    def split(self, name):
        return ToySplit(self._toy.records)

    def predictor(self):
        system = get_system(self.kind)
        task = system.task(self._toy.model, self._toy.task, self.manifest)
        return Predictor(task.build_model(nnx.Rngs(0)), system, task, source="toy")


def test_a_vector_a_site_of_a_model_that_reads_neighbours(tmp_path):
    toy = ToyDataset("deepcpg")
    predictor = toy.predictor()
    told = embed_dataset(predictor, toy, tmp_path / "x", None, EmbedOptions(dtype="float32", **QUIET))
    wanted = next(predictor.over(toy.split("train")[:2], predictor.task, featured, 2))[1]
    assert (told["bins"], told["bin_width"], told["crop"]) == (1, toy.manifest["window"], 0)
    np.testing.assert_allclose(Embeddings(tmp_path / "x").rows(0, 2), wanted, atol=1e-5)
    predictor.task.window = None  # as of a model without sequence
    with pytest.raises(JaxepiError, match="toy reads no sequence, so that its features belong to no window"):
        embed_dataset(predictor, toy, tmp_path / "y")


def test_the_verb(released, fasta, bed, small, tmp_path, capsys):
    words = ["embed", f"--weights={released}", f"--fasta={fasta}", f"--regions={bed}", "--shard-windows=2"]
    assert main([*words, f"--out={tmp_path / 'out'}"]) == 0
    assert f"5 embeddings of 10 x 8 float16 in {tmp_path / 'out'}" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "All 5 parts are whole."
    data = ["embed", f"--weights={released}", "--config=tests/toys/windowsum_config.py"]
    data += [f"--config.dataset.path={small}", "--split=test", f"--out={tmp_path / 'data'}"]
    assert main(data) == 0
    assert len(Embeddings(tmp_path / "data")) == 16
    for more, sentence in (
        (["--split=test"], "leave it out beside --fasta and --regions"),
        (["--dtype=float8"], "--dtype is 'float8'"),
        (["--windows-per-batch=0"], "--windows-per-batch is 0, but a number of at least 1"),
    ):
        capsys.readouterr()
        assert main([*words, *more, f"--out={tmp_path / 'no'}"]) == 2
        assert sentence in capsys.readouterr().err
    assert main(words[:3] + [f"--out={tmp_path / 'no'}"]) == 2
    assert "--regions is needed here" in capsys.readouterr().err
    assert main(["embed", f"--weights={released}", f"--out={tmp_path / 'no'}"]) == 2
    assert "--config is needed here, the experiment whose dataset" in capsys.readouterr().err


def test_damage_is_found(trunk, fasta, bed, tmp_path):
    out = tmp_path / "out"
    embed_regions(trunk, fasta, bed, out, EmbedOptions(**QUIET))
    shard = out / "embeddings-00001.npy"
    held = bytearray(shard.read_bytes())
    held[-1] ^= 1
    shard.write_bytes(held)
    states = {finding.place.name: finding.state for finding in verify(out)}
    assert states.pop(shard.name) == "damaged" and set(states.values()) == {"whole"}
    shard.write_bytes(held[:-1])
    with pytest.raises(JaxepiError, match="embeddings-00001.npy has .* bytes, not"):
        Embeddings(out)
    told = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(told | {"dtype": "float32"}))
    assert [finding.state for finding in verify(out)] == ["damaged"]


@pytest.mark.slow
def test_killed_processes_go_on(released, fasta, tmp_path):
    """kill -9 at several moments of a real process, then the same command."""
    bed = tmp_path / "many.bed"
    bed.write_text("".join(f"chr1 {start} {start + 1000} train\n" for start in range(0, 12_000, 3)))
    root = Path(__file__).parents[2]
    code = "import sys; sys.path[:0] = ['.', 'tests']; from jaxepi.registry import SYSTEMS; "
    code += "from jaxepi.verbs.command import main; import jaxepi.storage.embedding_store as s; "
    code += "s.SYNC_SECONDS = 0.05; SYSTEMS['windowsum'] = 'toys.windowsum'; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "embed", f"--weights={released}", f"--fasta={fasta}", f"--regions={bed}"]
    words += ["--shard-windows=300", "--windows-per-batch=4"]
    run = [*words, f"--out={tmp_path / 'whole'}"]
    assert subprocess.run(run, cwd=root, check=False).returncode == 0
    progress, rows = tmp_path / "killed.partial" / "progress.json", -1
    for _ in range(3):
        process = subprocess.Popen([*words, f"--out={tmp_path / 'killed'}"], cwd=root)
        while process.poll() is None and not (progress.exists() and json.loads(progress.read_text())["rows"] > rows):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        rows = json.loads(progress.read_text())["rows"]
    assert 0 < rows < 4000
    assert subprocess.run([*words, f"--out={tmp_path / 'killed'}"], cwd=root, check=False).returncode == 0
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
