"""Imputation export: values, formats, order, killed jobs, and parity with the original's exports."""

import gzip
import json
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.storage import site_store
from jaxepi.systems.deepcpg.impute import impute_files, in_genome_order, task_predictor

CELLS = ["a", "b"]
OUTPUTS = ["cpg/b", "cpg/a", "cpg_stats/mean"]


class Data:
    """What `impute_files` needs of a dataset, in memory."""

    def __init__(self, splits, cells=CELLS, statistics=("cpg_stats/var", "cpg_stats/mean")):
        self.records = splits
        self.splits = list(splits)
        self.fingerprint = "f"
        tracks = [f"cpg/{cell}" for cell in cells] + list(statistics)
        self.manifest = {"cells": list(cells), "statistics": list(statistics), "tracks": tracks}

    def split(self, name):
        return self.records[name]


def record(chrom, start, values=(np.nan, np.nan), mean=np.nan):
    seen = np.flatnonzero(~np.isnan(values))
    return {
        "key": f"{chrom}:{start}",
        "chrom": chrom,
        "start": start,
        "cell": seen.astype(np.uint16),
        "value": np.array(values, np.float32)[seen],
        "statistics": np.array([0.125, mean], np.float32),
    }


@pytest.fixture
def data():
    rng = np.random.default_rng(0)

    def some(chrom, starts):
        values = np.where(rng.random((len(starts), 2)) < 0.5, rng.integers(0, 2, (len(starts), 2)), np.nan)
        return [record(chrom, int(s), v, m) for s, v, m in zip(starts, values, rng.random(len(starts)), strict=True)]

    train = some("1", range(3, 400, 9)) + some("3", range(5, 90, 7))
    return Data({"train": train, "test": some("10", range(1, 50, 6)) + some("3", range(200, 230, 3))})


def predict(records):
    """A function of the record, as models are."""
    rows = [[0.0] * 3 if r is None else [(r["start"] % 97) / 97, (r["start"] % 31) / 31, 0.5] for r in records]
    return np.float32(rows)


def run(data, out, **more):
    options = {"outputs": OUTPUTS, "model": "m", "batch_size": 7, "progress": False}
    return impute_files(more.pop("predict", predict), data, out_dir=out, **(options | more))


def rows_of(path):
    return [line.split("\t") for line in gzip.open(path, "rt").read().splitlines()]


def expected(data):
    """(chromosome, position, values, observed) of all records, sorted, written independently."""
    rows = []
    for one in sorted([r for own in data.records.values() for r in own], key=lambda r: (r["chrom"], r["start"])):
        values = list(predict([one])[0])
        known = [False] * 3
        for number, column in ((1, 0), (0, 1)):
            if number in one["cell"]:
                values[column] = float(one["value"][list(one["cell"]).index(number)])
                known[column] = True
        values[2], known[2] = float(one["statistics"][1]), True
        rows.append((one["chrom"], one["start"], values, known))
    return rows


def test_every_format_holds_every_site_in_order(data, tmp_path, monkeypatch):
    monkeypatch.setattr(site_store, "_BLOCK_BYTES", 64)  # many blocks
    told = run(data, tmp_path / "out")
    want = expected(data)
    assert told["sites"] == len(want) and told["observed"] == pytest.approx(np.mean([w[3] for w in want]))
    table = rows_of(tmp_path / "out" / "imputed.tsv.gz")
    assert table[0] == ["chrom", "position", "b", "a", "cpg_stats_mean"]
    assert [(c, int(p)) for c, p, *_ in table[1:]] == [w[:2] for w in want]
    np.testing.assert_allclose(np.array([r[2:] for r in table[1:]], float), [w[2] for w in want], atol=5.1e-6)
    with h5py.File(tmp_path / "out" / "imputed.h5") as file:
        assert [name.decode() for name in file["output"][:]] == OUTPUTS
        assert [name.decode() for name in file["chrom"][:]] == [w[0] for w in want]
        assert file["position"][:].tolist() == [w[1] for w in want]
        np.testing.assert_array_equal(file["value"][:], np.float32([w[2] for w in want]))
        np.testing.assert_array_equal(file["observed"][:], [w[3] for w in want])
    for column, name in enumerate(table[0][2:]):
        lines = rows_of(tmp_path / "out" / "bedgraph" / f"{name}.bedGraph.gz")
        assert lines[0] == [f'track type=bedGraph name="{name}"']
        assert lines[1:] == [[c, str(p), str(p + 2), f"{v[column]:.5f}"] for c, p, v, _ in want]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"imputed.tsv.gz", "imputed.h5", "bedgraph", "impute.json"}
    assert not (tmp_path / "out.partial").exists()


def test_predictions_everywhere_and_rounded_labels(tmp_path):
    data = Data({"train": [record("1", 4, (0.6, np.nan)), record("1", 9, (0.5, 1.0))]})
    for name, more, want in (
        ("plain", {}, [[4 / 97, 0.6], [1.0, 0.5]]),
        ("predicted", {"values": "predicted"}, [[4 / 97, 4 / 31], [9 / 97, 9 / 31]]),
        ("rounded", {"round_observed": True}, [[4 / 97, 1.0], [1.0, 0.0]]),
    ):
        run(data, tmp_path / name, formats=["hdf5"], **more)
        with h5py.File(tmp_path / name / "imputed.h5") as file:
            np.testing.assert_allclose(file["value"][:, :2], want, rtol=1e-6)
            assert file["observed"][:, :2].tolist() == [[False, True], [True, True]]
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {"imputed.h5", "impute.json"}


def test_own_bedgraphs_can_be_read_back(data, tmp_path):
    profiles = pytest.importorskip("data_prep.deepcpg.profiles")
    run(data, tmp_path / "out", formats=["bedgraph"])
    profile = profiles.read_profile(tmp_path / "out" / "bedgraph" / "a.bedGraph.gz")
    want = expected(data)
    for chrom in ("1", "10", "3"):
        assert profile.positions[chrom].tolist() == [w[1] for w in want if w[0] == chrom]
        np.testing.assert_allclose(profile.values[chrom], [w[2][1] for w in want if w[0] == chrom], atol=5.1e-6)


@pytest.mark.parametrize("after", [0, 1, 4, 9])
def test_a_killed_job_goes_on(data, tmp_path, monkeypatch, after):
    monkeypatch.setattr(site_store, "SYNC_SECONDS", 0.0)
    run(data, tmp_path / "whole")
    calls = []

    def dying(records):
        if len(calls) == after:
            raise RuntimeError("killed")
        calls.append([r["key"] for r in records if r is not None])
        return predict(records)

    with pytest.raises(RuntimeError):
        run(data, tmp_path / "out", predict=dying)
    assert not (tmp_path / "out").exists() and (tmp_path / "out.partial").exists()
    (tmp_path / "out.partial" / "values.raw").open("ab").write(b"what nobody vouches for")
    again = []

    def counting(records):
        again.append(1)
        return predict(records)

    run(data, tmp_path / "out", predict=counting)
    assert len(again) <= 11 - max(after - 1, 0)
    for path in sorted((tmp_path / "whole").rglob("*.gz")):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes()
    with h5py.File(tmp_path / "whole" / "imputed.h5") as a, h5py.File(tmp_path / "out" / "imputed.h5") as b:
        for name in a:
            np.testing.assert_array_equal(a[name][:], b[name][:])


def test_finished_and_other_jobs(data, tmp_path):
    told = run(data, tmp_path / "out", formats=["tsv"])
    assert run(data, tmp_path / "out", formats=["tsv"], predict=None)["sites"] == told["sites"]
    with pytest.raises(JaxepiError, match="holds an imputation with model m, not n: remove it"):
        run(data, tmp_path / "out", formats=["tsv"], model="n")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "x").write_text("x")
    with pytest.raises(JaxepiError, match="holds no finished imputation"):
        run(data, tmp_path / "else")


def test_one_split_and_order(data, tmp_path):
    told = run(data, tmp_path / "out", splits=["test"], formats=["tsv"])
    rows = rows_of(tmp_path / "out" / "imputed.tsv.gz")[1:]
    assert told["sites"] == len(data.records["test"]) and {r[0] for r in rows} == {"10", "3"}
    taken = {"train": 3, "test": 1}
    rest = [r["key"] for _, r in in_genome_order(data, ["train", "test"], taken)]
    assert set(rest) == {r["key"] for s in taken for r in data.records[s][taken[s] :]} and rest[0] == "1:30"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"formats": ["bedGraph"]}, r"Unknown format 'bedGraph' \(did you mean 'bedgraph'\?\)"),
        ({"values": "observed"}, "values is 'observed'.*; it must be one of"),
        ({"outputs": ["cpg_stats/mode"]}, "The dataset has no output 'cpg_stats/mode'"),
        ({"outputs": ["cpg_stats/cat_var"]}, "no output|three classes"),
        ({"outputs": ["cpg/a", "cpg/a"]}, "named twice"),
        ({"splits": ["tset"]}, r"no split 'tset' \(did you mean 'test'\?\)"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"predict": lambda records: np.zeros((len(records), 2))}, r"shape \(7, 2\) for 7 sites and 3"),
        ({"predict": lambda records: np.full((len(records), 3), np.nan)}, "NaN or infinity at 1:3 for cpg/b"),
    ],
)
def test_bad_input(data, tmp_path, more, message):
    with pytest.raises(JaxepiError, match=message):
        run(data, tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


def test_a_task_predicts(tmp_path, data):
    model = nnx.Linear(1, 3, rngs=nnx.Rngs(0))
    task = SimpleNamespace(
        tracks=["cpg/a", "cpg/b", "cpg_stats/mean"],
        collate=lambda records: {"start": np.float32([[0 if r is None else r["start"]] for r in records])},
        prepare=lambda batch, rng, train: ({"x": batch["start"] / 100}, {}),
        apply=lambda model, inputs: nnx.sigmoid(model(inputs["x"])),
        values=lambda outputs: outputs[:, None],
    )
    run(data, tmp_path / "out", predict=task_predictor(task, model, OUTPUTS), values="predicted", formats=["hdf5"])
    with h5py.File(tmp_path / "out" / "imputed.h5") as file:
        logits = file["position"][:][:, None] / 100 * model.kernel[...] + model.bias[...][None]
        np.testing.assert_allclose(file["value"][:], 1 / (1 + np.exp(-np.asarray(logits)))[:, [1, 0, 2]], rtol=1e-5)
    with pytest.raises(JaxepiError, match=r"The model has no output 'cpg/c'"):
        task_predictor(task, model, ["cpg/c"])


@pytest.fixture(scope="module")
def exported(golden_path):
    """The original's labels, predictions and exports of the golden run: (arrays, lines of a bedGraph)."""
    folder = golden_path("deepcpg", "eval_pipeline")
    return np.load(folder / "expected.npz"), rows_of(folder / "expected_export_cellA.bedGraph.gz")


def test_parity_with_the_original_export(exported, tmp_path):
    arrays, lines = exported
    names = [f"cell{c}" for c in "ABCD"]
    outputs = [f"cpg/{name}" for name in names]
    labels = np.stack([arrays[f"out:eval:outputs/{o}"] for o in outputs], axis=1).astype(float)
    labels[labels == -1] = np.nan
    predictions = np.stack([arrays[f"out:eval:preds/{o}"] for o in outputs], axis=1)
    chroms = [c.decode() for c in arrays["out:eval:chromo"]]
    records = [
        record(chrom, int(pos) - 1, values)
        for chrom, pos, values in zip(chroms, arrays["out:eval:pos"], labels, strict=True)
    ]
    by_key = dict(zip([r["key"] for r in records], predictions, strict=True))
    data = Data({"1": [r for r in records if r["chrom"] == "1"], "X": [r for r in records if r["chrom"] == "X"]}, names)
    options = {
        "predict": lambda own: np.stack([np.zeros(4) if r is None else by_key[r["key"]] for r in own]),
        "outputs": outputs,
        "original_bedgraph": True,
    }
    run(data, tmp_path / "all", formats=["bedgraph"], **options)
    assert rows_of(tmp_path / "all" / "bedgraph" / "cellA.bedGraph.gz") == lines
    run(data, tmp_path / "x", formats=["hdf5"], splits=["X"], **options)
    with h5py.File(tmp_path / "x" / "imputed.h5") as file:
        for column, name in enumerate(names):
            key = f"out:export_hdf:{name}.h5:"
            assert file["chrom"][:].tolist() == arrays[f"{key}chromo"].tolist()
            np.testing.assert_array_equal(file["position"][:] + 1, arrays[f"{key}pos"])
            np.testing.assert_array_equal(file["value"][:, column], arrays[f"{key}value"])
    assert json.loads((tmp_path / "x" / "impute.json").read_text())["sites"] == 93


def test_from_text_files_to_the_original_predictions(golden, golden_path, tmp_path):
    """Records of ours, read by the golden model through the task: what the original predicts for the same files."""
    cli, tasks = pytest.importorskip("data_prep.deepcpg.command"), pytest.importorskip("jaxepi.systems.deepcpg.task")

    from jaxepi.released import from_pretrained

    folder = golden_path("deepcpg", "data_pipeline")
    shutil.copytree(folder / "dna", tmp_path / "dna", copy_function=shutil.copyfile)
    (tmp_path / "dna").chmod(0o755)  # an index is made beside the FASTA
    words = ["--profiles", *(folder / "cpg").iterdir(), "--fasta", tmp_path / "dna", "--cpg-wlen", 10]
    words += ["--dna-wlen", 41, "--unsorted", "sort", "--bedgraph-base", 1, "--n-bases", "random"]
    words += ["--chrom-prefix", "strip"]
    words += ["--train-chroms", "1", "--valid-chroms", "none", "--test-chroms", "X", "--out", "unused", "--no-progress"]
    args = cli.parser().parse_args([str(word) for word in words])
    recipe = cli.make_recipe(args, cli.input_files(args), tmp_path)
    results = {split: [recipe.make_block(block) for block in blocks] for split, blocks in recipe.blocks().items()}
    data = Data({split: [r for one in own for _, r in one.records] for split, own in results.items()})
    data.manifest = recipe.manifest({split: one.tally for split, (one,) in results.items()})
    model = from_pretrained("deepcpg", golden_path("deepcpg", "eval_pipeline") / "model_weights.h5")
    sizes = {"network": model.config.network, "hidden": model.config.hidden}
    task = tasks.DeepCpGTask(sizes, {"missing_state": "truncate"}, data.manifest)
    options = {"outputs": task.tracks, "predict": task_predictor(task, model), "formats": ["hdf5"]}
    run(data, tmp_path / "out", values="predicted", batch_size=64, **options)
    arrays = golden("deepcpg", "eval_pipeline/expected.npz")
    with h5py.File(tmp_path / "out" / "imputed.h5") as file:
        np.testing.assert_array_equal(file["position"][:] + 1, arrays["out:eval:pos"])
        for column, name in enumerate(task.tracks):
            np.testing.assert_allclose(file["value"][:, column], arrays[f"out:eval:preds/{name}"], atol=2e-6)
