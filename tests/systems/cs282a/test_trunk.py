"""A head on the trunk of another system, from sequence: the toy system of docs/extending.md, asked of the registry."""

import jax
import numpy as np
import pytest
from flax import nnx
from toys.windowsum_recipe import WindowSumRecipe

import jaxepi
from data_prep.build import dataset as prepared
from jaxepi.data.open import open_dataset
from jaxepi.errors import JaxepiError
from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.predictor import Predictor
from jaxepi.registry import SYSTEMS, get_system, task_of
from jaxepi.sequence import reverse_complement
from jaxepi.systems.cs282a import SYSTEM
from jaxepi.task import Views
from jaxepi.train.state import make_steps
from jaxepi.train.transfer import start_from
from jaxepi.verbs.command import main

COVERAGE = {
    "kind": "coverage", "window": 1_000, "bins": 10, "bin_width": 100, "crop": 0, "tracks": ["gc", "cpg"],
}  # fmt: skip
SIZES = {"trunk": "windowsum", "trunk_sizes": {"width": 8}}


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "windowsum", "toys.windowsum")
        yield


@pytest.fixture(scope="module")
def records(registered):
    return get_system("windowsum").toy(0, 8).records


def make(head="linear", objective=None, **sizes):
    return task_of(SYSTEM, {**SIZES, "head": head, "hidden": 4, **sizes}, objective or {}, COVERAGE)


def updated(task, records, frozen, count=2):
    """States before and after updates."""
    mesh = make_mesh(devices=jax.devices()[:1])
    steps = make_steps(task, OptimizerConfig(learning_rate=1e-2), count, 0, mesh, frozen=frozen)
    before, state = steps.initial(), steps.initial()
    for _ in range(count):
        state, scalars = steps.train(state, jax.device_put(task.collate(records), batch_sharding(mesh)))
    return before.params, state.params, scalars


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


def test_the_head_reads_the_features_of_the_trunk(records):
    task = make()
    assert task.window == 1_000 and task.model_config.channels == 8 and task.grid.values(task.window) == 10
    model = task.build_model(nnx.Rngs(0))
    predictor = Predictor(model, SYSTEM, task, source="toy")
    codes = np.stack([record["sequence"] for record in records])
    own = get_system("windowsum")
    features = Predictor(model.trunk, own, task.input.task, source="trunk").features(codes)
    np.testing.assert_allclose(predictor.features(codes), features, rtol=1e-6)
    np.testing.assert_allclose(predictor.predict(codes), model(features).values, rtol=1e-5)
    texts = ["".join("ACGT"[code] for code in row) for row in codes]
    np.testing.assert_array_equal(predictor.predict(texts), predictor.predict(codes))


def test_a_frozen_trunk_stays_and_a_free_one_learns(records):
    task = make()
    before, after, scalars = updated(task, records, ("trunk.*",))
    assert same(before["trunk"], after["trunk"]) and not same(before["head"], after["head"])
    assert np.isfinite(scalars["loss"])
    before, after, _ = updated(task, records, ())
    assert not same(before["trunk"]["words"], after["trunk"]["words"])


def test_low_rank_changes_of_a_frozen_trunk_learn():
    random = np.random.default_rng(0)
    rows = [
        {"key": str(i), "sequence": codes, "target": np.array([[codes.mean()]], np.float32)}
        for i, codes in enumerate(random.integers(0, 4, (8, 41)).astype(np.uint8))
    ]
    manifest = {"kind": "coverage", "window": 41, "bins": 1, "bin_width": 41, "crop": 0, "tracks": ["mean"]}
    trunk = {"network": "CnnL1h128", "hidden": 8, "window": 41, "outputs": ("cpg/a",)}
    sizes = {"trunk": "deepcpg", "trunk_sizes": trunk}
    task, plain = (task_of(SYSTEM, {**sizes, "lora_rank": rank}, {}, manifest) for rank in (2, 0))
    before, after, _ = updated(task, rows, ("trunk.*",))
    assert set(before["adapters"]["of"]) == {"dna_dense_kernel", "heads_kernel"}
    assert same(before["trunk"], after["trunk"])
    moved, still = (
        not same(before["adapters"]["of"][name], after["adapters"]["of"][name]) for name in before["adapters"]["of"]
    )
    assert moved and not still  # no feature reads the trunk's own heads
    codes = np.stack([row["sequence"] for row in rows])
    values = {}
    for name, params in (("plain", None), ("before", before), ("after", after)):
        own = plain if params is None else task
        model = own.build_model(nnx.Rngs(0))
        nnx.update(model, {k: before[k] for k in ("trunk", "head")} if params is None else params)
        values[name] = Predictor(model, SYSTEM, own, source=name).features(codes)
    np.testing.assert_allclose(values["before"], values["plain"], rtol=1e-6)
    assert np.abs(values["after"] - values["before"]).max() > 1e-4


def test_a_trunk_of_residual_blocks_and_norms(tmp_path):
    """The toy of the system whose embeddings the released heads read."""
    own = get_system("basenji")
    made = own.toy(0, 4)
    sizes = {"trunk": "basenji", "trunk_sizes": {**made.model, "heads": (), "head_names": ()}, "lora_rank": 1}
    task = task_of(SYSTEM, sizes, {}, made.manifest)
    assert task.model_config.channels == 12 and task.grid.values(task.window) == 16 and task.tracks[0] == "track_0"
    before, after, scalars = updated(task, made.records, ("trunk.*",), 1)
    assert np.isfinite(scalars["loss"]) and same(before["trunk"], after["trunk"])
    assert not same(before["adapters"], after["adapters"])
    predictor = Predictor(task.build_model(nnx.Rngs(0)), SYSTEM, task, source="toy")
    codes = np.stack([record["sequence"] for record in made.records])
    turned = predictor.predict(reverse_complement(codes))[:, ::-1][..., [0, 2, 1]]
    plain, mean = predictor.predict(codes), predictor.begin(codes, Views(True))
    np.testing.assert_allclose(mean, (plain + turned) / 2, rtol=1e-4, atol=1e-5)
    assert task.strand_pair == (0, 2, 1)
    with pytest.raises(JaxepiError, match="has 'track_1' without 'track_2', its track of the other strand"):
        task_of(SYSTEM, sizes, {}, made.manifest, ("track_1",))
    assert plain.shape == mean.shape == (4, 16, 3) and np.abs(plain - mean).max() > 1e-5
    with pytest.raises(JaxepiError, match="has bins of 32 bp with 64 bp left out .* but the dataset has 32 and 0"):
        task_of(SYSTEM, sizes, {}, {**made.manifest, "crop": 0})


def test_labels_of_windows_are_means_of_bins(records):
    task = make("maxpool")
    _, targets = task.prepare(task.collate(records), jax.random.key(0), False)
    whole = np.stack([record["target"].mean(axis=0, keepdims=True) for record in records])
    np.testing.assert_allclose(targets["target"], whole, rtol=1e-6)
    assert task.grid.bin == 1_000 and task.grid.values(task.window) == 1


def test_weights_of_the_trunk_are_taken_from_its_own_file(records, tmp_path):
    own = get_system("windowsum")
    source = own.model(own.sizes(width=8), rngs=nnx.Rngs(7))
    jaxepi.export(source, tmp_path / "trunk.npz")
    task = make()
    _, params, rest = nnx.split(task.build_model(nnx.Rngs(0)), nnx.Param, ...)
    for patterns in ("", "::words.*"):
        fresh, _ = start_from(params, rest, (f"trunk={tmp_path}/trunk.npz{patterns}",), "cs282a", task.trunks)
        np.testing.assert_array_equal(fresh["trunk"]["words"]["kernel"][...], source.words.kernel[...])
        taken = (fresh["trunk"]["head"]["kernel"][...] == source.head.kernel[...]).all()
        assert taken == (patterns == "") and same(fresh["head"], params["head"])
    with pytest.raises(JaxepiError, match="asks .*trunk.npz for 'trunk.*'"):
        start_from(params, rest, (f"trunk={tmp_path}/trunk.npz::trunk.*",), "cs282a", task.trunks)
    with pytest.raises(JaxepiError, match="A head on a trunk of windowsum has no original layout"):
        jaxepi.export(task.build_model(nnx.Rngs(0)), tmp_path / "whole.npz")


def test_a_trunk_that_does_not_fit_is_told():
    with pytest.raises(JaxepiError, match="Unknown system 'windowsun'"):
        make(trunk="windowsun")
    with pytest.raises(JaxepiError, match=r"Unknown config field config.model.trunk_sizes.widht \(did you mean 'width"):
        make(trunk_sizes={"widht": 8})
    with pytest.raises(JaxepiError, match="gives 20 bins of a window of 1000 bp, but the dataset has 10"):
        make(trunk_sizes={"width": 8, "bin": 50})
    with pytest.raises(JaxepiError, match="config.model.trunk is 'chromoformer', which does not read sequence alone"):
        make(trunk="chromoformer", trunk_sizes={})


class CoverageRecipe(WindowSumRecipe):
    """The toy's windows as a dataset of binned coverage."""

    name = "coverage"

    def manifest(self, tallies):
        return {**super().manifest(tallies), **COVERAGE}


def test_a_run_from_sequence_trains_evaluates_and_predicts(tmp_path, compilation_cache):
    config = tmp_path / "head_on_toy.py"
    config.write_text(
        "from configs import cs282a_linear\n\n\n"
        "def get_config():\n"
        "    config = cs282a_linear.get_config('smoke')\n"
        "    config.model.trunk, config.model.trunk_sizes = 'windowsum', {'width': 8}\n"
        "    config.dataset.sample, config.frozen = '', ('trunk.words.*',)\n"
        "    return config\n"
    )
    execution = prepared.Execution(processes=1, progress=False)
    recipe = CoverageRecipe({"train": 32, "valid": 8, "test": 8})
    prepared.build(recipe, tmp_path / "dataset", {}, [], execution)
    fields = {"dataset.path": tmp_path / "dataset", "compilation_cache": compilation_cache, "steps": 12}
    words = [f"--config.{name}={value}" for name, value in fields.items()]
    run = tmp_path / "run"
    assert main(["train", "--config", str(config), *words, "--noconfig.report", "--workdir", str(run)]) == 0
    predictor = jaxepi.load(run)
    assert predictor.window == 1_000 and predictor.tracks == ["gc", "cpg"]
    split = open_dataset(tmp_path / "dataset").split("test")
    values = predictor.predict(split)
    codes = np.stack([split[number]["sequence"] for number in range(len(split))])
    assert values.shape == (8, 10, 2)
    np.testing.assert_allclose(predictor.predict(codes), values, rtol=1e-5)
