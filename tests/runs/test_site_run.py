"""Imputation, motifs and base changes of a run: what is written is what the model says of the dataset's records."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from jaxepi.analysis.filter_motifs import convolution
from jaxepi.errors import JaxepiError
from jaxepi.registry import make_task
from jaxepi.runs import motifs as run_motifs
from jaxepi.runs import site_run
from jaxepi.runs.impute import impute_run
from jaxepi.runs.motifs import motifs_run
from jaxepi.runs.mutagenesis import effects_run
from jaxepi.runs.site_run import SiteRun, open_run
from jaxepi.sequence import encode
from jaxepi.storage import site_store
from jaxepi.systems.deepcpg.model import DeepCpG, DeepCpGConfig
from jaxepi.systems.deepcpg.networks import first_filters
from jaxepi.task import Grid

CELLS, L, W = ["a", "b"], 41, 4
MANIFEST = {
    "system": "deepcpg", "window": L, "neighbours": W, "max_distance": 25_000, "cells": CELLS, "annotations": [],
    "binary_cells": [True, True], "statistics": ["cpg_stats/cat_var"], "class_counts": {},
    "tracks": ["cpg/a", "cpg/b", "cpg_stats/cat_var"],
}  # fmt: skip


class Data:
    """What a run needs of a dataset, in memory."""

    path, fingerprint, manifest = Path("data"), "f", MANIFEST

    def __init__(self, counts):
        self.splits = list(counts)
        random = np.random.default_rng(0)
        self.records = {split: [record(random, 7 * i) for i in range(n)] for split, n in counts.items()}

    def split(self, name):
        return self.records[name]


def record(random, start):
    cell = np.flatnonzero(random.random(2) < 0.5)
    return {
        "key": f"1:{start}", "chrom": "1", "start": start, "sequence": random.integers(0, 5, L).astype(np.uint8),
        "state": random.integers(0, 2, (2, W)).astype(np.uint8), "cell": cell.astype(np.uint16),
        "distance": random.integers(1, 30_000, (2, W)).astype(np.uint16), "statistics": np.full(1, np.nan, np.float32),
        "value": random.integers(0, 2, len(cell)).astype(np.uint8), "annotation": np.zeros(0, np.uint8),
    }  # fmt: skip


def make_run(network="JointL1h512_CnnL1h128_FcAvg", counts=None, outputs=("cpg/.*",)):
    model = {"network": network, "joint_hidden": 8, "hidden": 8}
    config = ConfigDict({"system": "deepcpg", "model": model, "task": {"outputs": outputs}})
    task = make_task(config, MANIFEST)
    return SiteRun(task, task.build_model(nnx.Rngs(0)), Data(counts or {"train": 9, "test": 20}), Path("runs/x"))


def predicted(run, records):
    inputs, targets = run.task.prepare(run.task.collate(records), jax.random.key(0), False)
    return np.asarray(run.task.predictions(run.task.apply(run.model, inputs), targets)["prediction"][:, 0]), inputs


def test_imputation_of_one_split_leaves_out_variance_classes(tmp_path):
    run = make_run(outputs=(".*",))
    impute_run(run, tmp_path / "out", split="test", formats=["hdf5"], values="predicted", batch_size=8)
    with h5py.File(tmp_path / "out" / "imputed.h5") as file:
        assert [name.decode() for name in file["output"]] == ["cpg/a", "cpg/b"]
        np.testing.assert_allclose(file["value"][:], predicted(run, run.dataset.split("test"))[0][:, :2], atol=1e-6)
        assert file["position"][:].tolist() == [7 * i for i in range(20)]


@pytest.mark.parametrize("method", ["gradient", "exact"])
def test_effects_are_those_of_the_model_at_every_site(tmp_path, monkeypatch, method):
    monkeypatch.setattr(site_store, "_BLOCK_BYTES", 500)  # several blocks, as there are several batches
    run = make_run(counts={"train": 0, "test": 5})
    assert effects_run(run, tmp_path / "out", method=method, target="cpg/b", width=11, batch_size=2) == 5
    records = run.dataset.split("test")
    before, inputs = predicted(run, records)
    with h5py.File(tmp_path / "out" / "effects.h5") as file:
        effects, letters = file["effect"][:], [text.decode() for text in file["sequence"]]
        assert file.attrs["target"] == "cpg/b" and file["position"][:].tolist() == [7 * i for i in range(5)]
    middle = slice(L // 2 - 5, L // 2 + 6)
    codes = np.stack([r["sequence"] for r in records])
    np.testing.assert_array_equal([encode(text) for text in letters], codes[:, middle])
    assert effects.shape == (5, 11, 4) and np.abs(effects).max() > 0
    if method == "exact":
        changed = [{**r, "sequence": np.where(np.arange(L) == L // 2 + 2, 3, r["sequence"])} for r in records]
        np.testing.assert_allclose(effects[:, 7, 3], predicted(run, changed)[0][:, 1] - before[:, 1], atol=1e-6)
    else:
        moved = {**inputs, "dna": jnp.asarray(inputs["dna"]).at[:, L // 2 + 2, 3].add(1e-2)}
        after = np.asarray(run.task.values(run.task.apply(run.model, moved)))[:, 0]
        np.testing.assert_allclose(effects[:, 7, 3], (after - before)[:, 1] / 1e-2, rtol=0.1, atol=1e-4)
    profile = np.loadtxt(tmp_path / "out" / "profile.tsv", skiprows=1)
    np.testing.assert_array_equal(profile[:, 0], np.arange(-5, 6))
    np.testing.assert_allclose(profile[:, 1], np.abs(effects).max(axis=2).mean(axis=0), rtol=1e-4)


def test_motifs_come_from_the_sequences_of_the_sites(tmp_path, monkeypatch):
    monkeypatch.setattr(run_motifs, "_FILTER_BATCH", 16)
    run = make_run("CnnL1h128", {"train": 60, "test": 1})
    kernel = np.zeros((11, 4, 128), np.float32)
    kernel[4, 1, 0] = kernel[5, 2, 0] = 1.0  # filter 0 looks for CG, the others for nothing
    run.model.dna.convs[0].kernel.set_value(kernel)
    run.model.dna.convs[0].bias.set_value(np.where(np.arange(128) == 0, -1.5, 0.0).astype(np.float32))
    told = motifs_run(run, tmp_path / "out", split="train", trim_bits=1.0)
    assert told["filters"] == [0] and told["sites"] == 60
    text = (tmp_path / "out" / "meme.txt").read_text()
    assert "w= 2" in text
    frequencies = np.loadtxt(text.partition("nsites= ")[2].splitlines()[1:])
    np.testing.assert_array_equal(frequencies.argmax(axis=1), [1, 2])
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    monkeypatch.setattr(run_motifs, "write_motifs", None)
    assert motifs_run(run, tmp_path / "out", split="train", trim_bits=1.0) == told  # a finished job is not repeated
    with pytest.raises(JaxepiError, match=r"out holds a set of motifs with trim_bits 1\.0, not None: remove it"):
        motifs_run(run, tmp_path / "out", split="train")


def test_a_draw_of_sites_is_seeded_and_in_order():
    run = make_run(counts={"train": 30, "test": 30})
    drawn = run.sites(None, 10)
    assert drawn == run.sites(None, 10) and len(set(drawn)) == 10
    assert drawn == sorted(drawn, key=lambda place: (["train", "test"].index(place[0]), place[1]))
    assert run.sites("test", 100) == [("test", i) for i in range(30)]


def test_filters_of_residual_networks_are_what_the_network_sees():
    model = nnx.eval_shape(lambda: DeepCpG(DeepCpGConfig(network="ResNet01", window=61), rngs=nnx.Rngs(0)))
    norm, random = model.dna.norm, np.random.default_rng(0)
    for variable in (model.dna.conv.kernel, model.dna.conv.bias, norm.scale, norm.bias, norm.mean, norm.var):
        variable.set_value(jnp.asarray(random.uniform(0.5, 1.5, variable.shape), jnp.float32))
    codes = random.integers(0, 5, (2, 61)).astype(np.uint8)
    hot = np.eye(5, dtype=np.float32)[codes][:, :, :4]
    seen = nnx.relu(norm(model.dna.conv(hot)))
    np.testing.assert_allclose(convolution(*first_filters(model.dna))(codes), seen, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda run, out: motifs_run(run, out), "reads no DNA, so it has no filters"),
        (lambda run, out: motifs_run(run, out, trim_bits=float("nan")), "--trim-bits is nan: a number from 0 to 2"),
        (lambda run, out: motifs_run(run, out, trim_bits=-1.0), "--trim-bits is -1.0: a number from 0 to 2"),
        (lambda run, out: effects_run(run, out), "reads no DNA, so no base can be changed"),
        (lambda run, out: impute_run(run, out, outputs=["cpg/c"]), "no output 'cpg/c'"),
        (lambda run, out: run.sites("tset", None), "no split 'tset' .did you mean 'test'"),
        (lambda run, out: run.sites(None, 0), "--most-sites is 0"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path, call, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        call(make_run("FcAvg"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": "cpg/z"}, "--target is 'cpg/z'"),
        ({"method": "exat"}, "--effects is 'exat' .did you mean 'exact'"),
        ({"width": 0}, "--width is 0"),
        ({"width": 999}, "--width is 999, but .* reads windows of 41 bp"),
    ],
)
def test_wrong_options_of_effects(tmp_path, options, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        effects_run(make_run("CnnL1h128"), tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        (effects_run, "exists and holds no finished table of effects: choose another"),
        (motifs_run, "exists and holds no finished set of motifs: choose another"),
    ],
)
def test_nothing_is_overwritten(tmp_path, mode, sentence):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(JaxepiError, match=sentence):
        mode(make_run("CnnL1h128"), tmp_path / "out")


def test_finished_and_other_effects(tmp_path):
    run = make_run("CnnL1h128", {"train": 0, "test": 3})
    assert effects_run(run, tmp_path / "out", width=5) == 3
    made = (tmp_path / "out" / "effects.h5").stat().st_mtime_ns
    assert effects_run(run, tmp_path / "out", width=5) == 3
    assert (tmp_path / "out" / "effects.h5").stat().st_mtime_ns == made
    with pytest.raises(JaxepiError, match="holds a table of effects with target mean, not var: remove it"):
        effects_run(run, tmp_path / "out", width=5, target="var")
    with pytest.raises(JaxepiError, match="has no site in split 'train'"):
        effects_run(run, tmp_path / "none", split="train")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_runs_of_other_systems_and_other_datasets_are_refused(monkeypatch):
    run = make_run("FcAvg")
    other = SimpleNamespace(task=SimpleNamespace(grid=Grid("cpg")), config=ConfigDict({"system": "melody"}), model=None)
    monkeypatch.setattr(site_run, "restore_model", lambda workdir, which: other)
    with pytest.raises(
        JaxepiError, match="is a run of 'melody', but this is for models of single sites; predict serves"
    ):
        open_run(Path("runs/x"), None, "best")
    found = SimpleNamespace(manifest={**MANIFEST, "cells": ["a", "c"]}, path="data")
    monkeypatch.setattr(site_run, "restore_model", lambda workdir, which: SimpleNamespace(
        task=run.task, model=run.model,
        config=ConfigDict({"system": "deepcpg", "dataset": {"path": "data"}})))  # fmt: skip
    monkeypatch.setattr(site_run, "find_dataset", lambda **_: found)
    with pytest.raises(JaxepiError, match=r"data has cells \['a', 'c'\], but runs/x was trained with \['a', 'b'\]"):
        open_run(Path("runs/x"), None, "best")
