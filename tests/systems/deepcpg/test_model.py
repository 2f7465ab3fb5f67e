import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import weights_of
from jaxepi.sequence import one_hot
from jaxepi.systems.deepcpg import networks as networks
from jaxepi.systems.deepcpg.model import DeepCpG, DeepCpGConfig, parse_network

ACGT_OF_ATGC = [0, 3, 2, 1]

# golden file -> network
GOLDEN = {
    "dna_CnnL1h128": "CnnL1h128",
    "dna_CnnL2h128": "CnnL2h128",
    "dna_CnnL2h128_wlen1001": "CnnL2h128",
    "dna_CnnL2h256": "CnnL2h256",
    "dna_CnnL3h128": "CnnL3h128",
    "dna_CnnRnn01": "CnnRnn01",
    "dna_ResNet01": "ResNet01",
    "dna_ResConv01": "ResConv01",
    "dna_ResAtrous01": "ResAtrous01",
    "cpg_FcAvg": "FcAvg",
    "cpg_RnnL1": "RnnL1",
    "cpg_RnnL2": "RnnL2",
    "joint_JointL0": "JointL0_CnnL2h128_FcAvg",
    "joint_JointL1h512": "JointL1h512_CnnL1h128_FcAvg",
    "joint_JointL2h512": "JointL2h512_CnnL2h128_RnnL1",
}

PARAMETERS = {  # window 1001, W = 50, no heads
    "CnnL1h128": 4_052_736,
    "CnnL1h256": 8_099_712,
    "CnnL2h128": 4_102_144,
    "CnnL2h256": 8_099_968,
    "CnnL3h128": 4_430_336,
    "CnnL3h256": 8_362_624,
    "CnnRnn01": 1_023_360,
    "ResNet01": 1_752_192,
    "ResNet02": 1_995_456,
    "ResConv01": 2_820_352,
    "ResAtrous01": 1_994_944,
    "FcAvg": 51_712,
    "RnnL1": 813_824,
    "RnnL2": 1_109_504,
    "JointL2h512_CnnL2h128_RnnL1": 4_102_144 + 813_824 + 590_848,
}

PENALISED = {
    "CnnL1h128": 2,
    "CnnL2h128": 3,
    "CnnL3h128": 4,
    "CnnRnn01": 4,
    "ResNet01": 26,
    "ResNet02": 35,
    "ResConv01": 15,
    "ResAtrous01": 35,
    "FcAvg": 1,
    "RnnL1": 3,
    "RnnL2": 5,
}


def abstract(network, **sizes):
    return nnx.eval_shape(lambda: DeepCpG(DeepCpGConfig(network=network, **sizes), rngs=nnx.Rngs(0)))


def weights(arrays):
    return {key[6:]: arrays[key] for key in arrays.files if key.startswith("param:")}


def inputs(arrays, dtype):
    given = [arrays["in:dna"][..., ACGT_OF_ATGC]] if "in:dna" in arrays else []
    given += [arrays[name] for name in ("in:cpg/state", "in:cpg/dist") if name in arrays]
    return [np.asarray(array, dtype) for array in given]


def in_double(model):
    nnx.update(
        model, jax.tree.map(lambda x: x.astype(jnp.float64), nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat)))
    )
    return model


def window_of(arrays):
    """The window of a golden file, for the networks whose weights fit several."""
    return {"window": arrays["in:dna"].shape[1]} if "in:dna" in arrays.files else {}


@pytest.mark.parametrize("file", GOLDEN)
def test_every_golden_network_in_double_precision(golden, file):
    arrays = golden("deepcpg", f"{file}.npz")
    with jax.enable_x64(True):
        sizes = {"network": GOLDEN[file], "dtype": "float64", "l1": 1e-4, "l2": 1e-4}
        model = in_double(jaxepi.from_pretrained("deepcpg", weights(arrays), **window_of(arrays), **sizes))
        run = nnx.jit(lambda model, *given: (model(*given, intermediates=True), model.penalty()))
        out, penalty = run(model, *inputs(arrays, np.float64))
        assert out.features.dtype == jnp.float64
        np.testing.assert_allclose(out.features, arrays["out:stem"], rtol=1e-9, atol=1e-10)
        for output in model.config.outputs:
            np.testing.assert_allclose(out.heads[output], arrays[f"out:{output}"][:, 0], rtol=0, atol=1e-10)
        for key in arrays.files:
            if key.startswith("out:layer:"):  # stored as float32
                seen = out.intermediates[key.removeprefix("out:layer:")]
                np.testing.assert_allclose(seen, arrays[key], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(penalty, arrays["loss:reg_l1_1e-4_l2_1e-4"], rtol=1e-10)


@pytest.mark.parametrize("file", ["dna_CnnL2h128", "cpg_RnnL2", "joint_JointL1h512"])
def test_float32_is_close_too(golden, file):
    arrays = golden("deepcpg", f"{file}.npz")
    model = jaxepi.from_pretrained("deepcpg", weights(arrays), network=GOLDEN[file], **window_of(arrays))
    out = nnx.jit(model.__class__.__call__)(model, *inputs(arrays, np.float32))
    for output in model.config.outputs:
        np.testing.assert_allclose(out.heads[output], arrays[f"out:{output}"][:, 0], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "file", ["fullsize_CnnL2h128_18cells", pytest.param("fullsize_CnnL3h128_12cells", marks=pytest.mark.slow)]
)
def test_official_size(golden, file):
    arrays = golden("deepcpg", f"{file}.npz")
    random, made = np.random.RandomState(int(arrays["recipe:seed"])), {}
    for i, name in enumerate(arrays["recipe:names"]):
        shape = tuple(int(size) for size in str(arrays["recipe:shapes"][i]).split("x"))
        array = random.standard_normal(shape) * arrays["recipe:scales"][i]
        np.testing.assert_allclose(array.sum(), arrays["recipe:weight_sums"][i], rtol=1e-9, atol=1e-9)
        made[str(name)] = array
    model = jaxepi.from_pretrained("deepcpg", made)
    codes = np.array([0, 3, 2, 1, 4], np.uint8)[arrays["in:dna_int"]]
    out = nnx.jit(lambda model, x: model(x))(model, one_hot(codes, n_value=0.0))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) in (4_104_466, 4_431_884)
    np.testing.assert_allclose(out.features, arrays["out:stem"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(out.cells, arrays["out:probs"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("debiased", [True, False])
def test_normalisation_while_training(golden, debiased):
    """Two training passes: the golden statistics are Keras's debiased ones; the ordinary average has its formula."""
    arrays, steps = golden("deepcpg", "dna_ResNet01.npz"), golden("deepcpg", "bn_train_mode_ResNet01.npz")
    with jax.enable_x64(True):
        model = jaxepi.from_pretrained("deepcpg", weights(arrays), debiased_norm=debiased, dtype="float64")
        in_double(model).train()
        start = np.asarray(model.dna.norm.mean[...])
        run = nnx.jit(lambda model, x: model(x))
        outputs = run(model, steps["in:dna"][..., ACGT_OF_ATGC].astype(np.float64))
        first = outputs.features
        for output in model.config.outputs:
            want = steps[f"out:train_mode:{output}"][:, 0]
            np.testing.assert_allclose(outputs.heads[output], want, rtol=0, atol=1e-9)
        np.testing.assert_allclose(first, steps["out:stem_train_mode"], rtol=0, atol=1e-9)
        batch_mean = steps["out:updated:dna/bn1/bn1/moving_mean:0"]  # after one debiased step: the batch's own
        if not debiased:
            np.testing.assert_allclose(model.dna.norm.mean[...], 0.99 * start + 0.01 * batch_mean, rtol=1e-10)
            return
        check_statistics(model, steps, "updated")
        second = run(model, steps["in:dna_step2"][..., ACGT_OF_ATGC].astype(np.float64)).features
        np.testing.assert_allclose(second, steps["out:stem_train_mode_step2"], rtol=0, atol=1e-9)
        check_statistics(model, steps, "updated_step2")
        model.eval()
        after = run(model, steps["in:dna"][..., ACGT_OF_ATGC].astype(np.float64)).features
        np.testing.assert_allclose(after, steps["out:stem_eval_after"], rtol=0, atol=1e-9)


def check_statistics(model, steps, which):
    from jaxepi.pretrained.table import to_original
    from jaxepi.systems.deepcpg.weights import table

    ours = to_original(model, table(model.config))
    keys = [key for key in steps.files if key.startswith(f"out:{which}:")]
    assert len(keys) == 2 * 22
    for key in keys:
        np.testing.assert_allclose(ours[key.removeprefix(f"out:{which}:")], steps[key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", PARAMETERS)
def test_numbers_of_parameters_are_the_official_ones(network):
    state = nnx.state(abstract(network), nnx.Any(nnx.Param, nnx.BatchStat))
    assert sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state)) == PARAMETERS[network]


@pytest.mark.parametrize("network", PENALISED)
def test_what_is_penalised(network):
    model = abstract(network, outputs=("cpg/a",))
    assert len(jax.eval_shape(lambda model: model.penalised(), model)) == PENALISED[network]


@pytest.mark.parametrize("length", [19, 47, 60, 1001])
@pytest.mark.parametrize("network", ["CnnL1h128", "CnnL3h256", "CnnRnn01", "ResNet02", "ResAtrous01"])
def test_windows_of_any_length(network, length):
    sizes = networks.DNA_NETWORKS[network]
    shortest = 12 if isinstance(sizes, networks.Residual) else networks.windows_of(sizes.blocks, 1)[0]
    if length < shortest:
        with pytest.raises(JaxepiError, match=f"at least {shortest} bp, but got {length} bp"):
            run_abstract(network, length)
        return
    out = run_abstract(network, length)
    assert out.cells.shape == (2, 1)


def run_abstract(network, length):
    model = abstract(network, window=length, outputs=("cpg/a",))
    return jax.eval_shape(lambda model, x: model(x), model, jnp.zeros((2, length, 4)))


def test_windows_that_pool_to_another_length_are_refused_with_those_that_do():
    model = abstract("CnnL2h128", window=101)
    for length in (98, 105):
        jax.eval_shape(lambda model, x: model(x), model, jnp.zeros((1, length, 4)))
    with pytest.raises(JaxepiError, match="takes windows of 98 to 105 bp, but got 106 bp"):
        jax.eval_shape(lambda model, x: model(x), model, jnp.zeros((1, 106, 4)))


def test_a_cpg_network_takes_any_number_of_cells():
    model = DeepCpG(DeepCpGConfig(network="RnnL1", neighbours=4, outputs=("cpg/a",)), rngs=nnx.Rngs(0))
    state, distance = np.random.default_rng(0).random((2, 3, 7, 4)).astype(np.float32)
    assert model(state, distance).cells.shape == (3, 1)
    assert model(state[:, :2], distance[:, :2]).cells.shape == (3, 1)


def test_heads_have_their_ranges_and_shapes():
    outputs = ("cpg/a", "cpg_stats/var", "cpg_stats/cat_var", "cpg_stats/entropy", "cpg/b")
    model = DeepCpG(DeepCpGConfig(network="FcAvg", neighbours=4, outputs=outputs), rngs=nnx.Rngs(0))
    state, distance = np.random.default_rng(0).normal(size=(2, 50, 3, 4)).astype(np.float32) * 30
    out = model(state, distance)
    assert {name: head.shape for name, head in out.heads.items()} == {
        **dict.fromkeys(outputs, (50,)),
        "cpg_stats/cat_var": (50, 3),
    }
    np.testing.assert_array_equal(out.cells, np.stack([out.heads["cpg/a"], out.heads["cpg/b"]], axis=1))
    np.testing.assert_allclose(out.heads["cpg_stats/cat_var"].sum(axis=1), 1, rtol=1e-6)
    assert 0.2 < out.heads["cpg_stats/var"].max() <= 0.251
    assert out.heads["cpg_stats/entropy"].min() == 0 and out.heads["cpg_stats/entropy"].max() > 1


def test_dropout_needs_a_key_and_a_rate():
    config = DeepCpGConfig(network="FcAvg", neighbours=4, cpg_dropout=0.5)
    model = DeepCpG(config, rngs=nnx.Rngs(0))
    given = np.random.default_rng(0).random((2, 4, 3, 4)).astype(np.float32)
    plain, dropped = model(*given).features, model(*given, rng=jax.random.key(0)).features
    gone = np.asarray(dropped == 0) & np.asarray(plain != 0)
    assert 0.4 < gone.sum() / np.asarray(plain != 0).sum() < 0.6
    np.testing.assert_allclose(np.asarray(dropped)[~gone], 2 * np.asarray(plain)[~gone], rtol=1e-6)
    np.testing.assert_array_equal(model(*given).features, plain)


def test_bfloat16_computes_nearly_the_same_with_float32_weights():
    small = {"network": "JointL1h512_CnnL1h128_RnnL1", "window": 41, "neighbours": 4, "outputs": ("cpg/a",)}
    full = DeepCpG(DeepCpGConfig(**small), rngs=nnx.Rngs(0))
    half = DeepCpG(DeepCpGConfig(**small, dtype="bfloat16"), rngs=nnx.Rngs(0))
    random = np.random.default_rng(0)
    dna = np.eye(4, dtype=np.float32)[random.integers(0, 4, (8, 41))]
    given = (dna, *random.random((2, 8, 3, 4)).astype(np.float32))
    assert all(w.get_value().dtype == jnp.float32 for w in weights_of(half).values())
    assert half(*given).cells.dtype == jnp.float32
    difference = np.abs(np.asarray(full(*given).cells) - np.asarray(half(*given).cells)).max()
    assert 0 < difference < 0.02


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cnnl2H128", (None, "CnnL2h128", None)),
        ("DenseAvg", (None, None, "FcAvg")),
        ("JointL0_ResNet01_RnnL2", ("JointL0", "ResNet01", "RnnL2")),
    ],
)
def test_network_names(name, parts):
    assert parse_network(name) == parts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CnnL2h12", r"Unknown DeepCpG network 'CnnL2h12' \(did you mean 'CnnL2h128'\?\)"),
        ("JointL2h512", "must name a DNA network, a CpG network, or a joint network with one of each"),
        ("CnnL2h128_RnnL1", "must name a DNA network, a CpG network, or a joint network with one of each"),
        ("RnnL1_RnnL2", "names both RnnL1 and RnnL2"),
    ],
)
def test_wrong_network_names(name, message):
    with pytest.raises(JaxepiError, match=message):
        DeepCpGConfig(network=name)


@pytest.mark.parametrize(
    ("network", "shapes", "message"),
    [
        ("FcAvg", [(1, 2, 4)], r"FcAvg takes \(state, distance\), but got 1 array"),
        ("FcAvg", [(1, 2, 6)] * 2, r"shape \(sites, cells, 4\), but got \(1, 2, 6\)"),
        ("CnnRnn01", [(1, 101, 5)], r"one-hot DNA of shape \(sites, length, 4\), but got \(1, 101, 5\)"),
    ],
)
def test_wrong_inputs(network, shapes, message):
    model = abstract(network, neighbours=4)
    with pytest.raises(JaxepiError, match=message):
        jax.eval_shape(lambda model, *given: model(*given), model, *[jnp.zeros(shape) for shape in shapes])
