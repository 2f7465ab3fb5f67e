"""Single blocks: golden arrays where there are some, the spec's formulas where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.systems.basenji.blocks import sequences
from jaxepi.systems.basenji.blocks.attention import position_features
from jaxepi.systems.basenji.model import MODULES, Basenji, BasenjiConfig
from jaxepi.systems.basenji.shapes import Traced, follow
from jaxepi.systems.basenji.vocabulary import VOCABULARY, Filled, arguments


def shared(dtype=jnp.float32):
    return sequences.Made("tanh", False, jnp.dtype(dtype), False, nnx.Rngs(0))


def made(shape, dtype=jnp.float32, **block):
    """A module and its arguments."""
    given = arguments(block, {})
    return MODULES[block["name"]](shape, given, shared(dtype)), given


@pytest.mark.parametrize("case", ["k4_d1_s1", "k5_d1_s1", "k2_d1_s1", "k4_d3_s1", "k3_d2_s1", "k4_d1_s2", "k5_d1_s3",
                                  "k15_d1_s1"])  # fmt: skip
def test_convolutions_pad_as_tensorflow(golden, case):
    layers = golden("basenji", "layers.npz")
    width, dilation, stride = (int(part[1:]) for part in case.split("_"))
    with jax.enable_x64(True):
        kernel = jnp.asarray(layers[f"param:conv_{case}"])
        layer = sequences.Conv(4, 2, width, {"kernel_initializer": "zeros"}, shared("float64"), bias=False,
                            stride=stride, dilation=dilation)  # fmt: skip
        layer.kernel.set_value(kernel)
        out = layer(jnp.asarray(layers["in:x1d"]))
        np.testing.assert_allclose(out, layers[f"out:conv_same_{case}"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", ["k3_d1", "k4_d1", "k3_d2"])
def test_convolutions_of_maps(golden, case):
    layers = golden("basenji", "layers.npz")
    width, dilation = (int(part[1:]) for part in case.split("_"))
    with jax.enable_x64(True):
        layer = sequences.Conv(3, 2, (width, width), {"kernel_initializer": "zeros"}, shared("float64"), bias=False,
                            dilation=dilation)  # fmt: skip
        layer.kernel.set_value(jnp.asarray(layers[f"param:conv2d_{case}"]))
        out = layer(jnp.asarray(layers["in:x2d"]))
        np.testing.assert_allclose(out, layers[f"out:conv2d_same_{case}"], rtol=0, atol=1e-9)


def test_crops(golden):
    layers = golden("basenji", "layers.npz")
    crop, _ = made((9, 4), name="Cropping1D", cropping=2)
    np.testing.assert_allclose(crop(layers["in:x1d"]), layers["out:cropping_1d_2"])
    uneven, _ = made((9, 4), name="Cropping1D", cropping=[1, 3])
    np.testing.assert_array_equal(uneven(layers["in:x1d"]), layers["in:x1d"][:, 1:6])
    for name in ("cropping_2d", "Cropping2D"):
        crop, _ = made((9, 9, 3), name=name, cropping=1)
        np.testing.assert_allclose(crop(layers["in:x2d"]), layers["out:cropping_2d_1"])


def test_layer_norm_is_over_channels(golden):
    layers = golden("basenji", "layers.npz")
    norm = sequences.normalisation(4, {"norm_type": "layer"}, shared())
    norm.epsilon = 0.007
    norm.scale.set_value(jnp.asarray(layers["param:bn_gamma"], jnp.float32))
    norm.bias.set_value(jnp.asarray(layers["param:bn_beta"], jnp.float32))
    out = norm(jnp.asarray(layers["in:x1d"], jnp.float32))
    np.testing.assert_allclose(out, layers["out:layernorm_eps0.007"], rtol=0, atol=1e-5)


BLOCKS = [
    {"name": "conv_block", "filters": 6, "kernel_size": 4, "stride": 2, "pool_size": 3, "norm_type": "layer"},
    {"name": "conv_block", "conv_type": "separable", "kernel_size": 3, "pool_size": 2, "padding": "valid"},
    {"name": "conv_block", "residual": True, "norm_type": "batch", "activation_end": "softplus", "dropout": 0.5},
    {"name": "conv_dna", "filters": 6, "pool_size": 5, "pool_type": "softmax", "norm_type": "batch"},
    {"name": "conv_dna", "filters": 8, "residual": True, "se": True, "norm_type": "batch"},
    {"name": "conv_nac", "filters": 6, "kernel_size": 3, "dilation_rate": 2, "padding": "valid", "pool_size": 2},
    {"name": "conv_nac", "residual": True, "se": True, "norm_type": "batch-sync"},
    {"name": "conv_tower", "filters_init": 4, "filters_end": 9, "repeat": 3, "pool_size": 2},
    {"name": "res_tower", "filters_init": 4, "filters_mult": 1.5, "repeat": 2, "kernel_size": 3, "norm_type": "batch"},
    {"name": "res_tower", "filters_init": 4, "filters_mult": 1, "num_convs": 1, "pool_size": 5, "pool_type": "softmax"},
    {"name": "transformer", "key_size": 3, "heads": 2},
    {"name": "transformer_tower", "key_size": 3, "heads": 4, "num_position_features": 6, "dense_expansion": 0.0},
    {"name": "dilated_residual", "filters": 3, "repeat": 3, "rate_mult": 1.5, "round": True},
    {"name": "dense_block", "flatten": True, "units": 5, "norm_type": "batch"},
    {"name": "dense_block", "residual": True, "activation": "tanh"},
    {"name": "final", "units": 5, "flatten": True, "activation": "softplus"},
    {"name": "dense", "units": 5, "activation": "sigmoid"},
    {"name": "squeeze_excite"},
    {"name": "Conv1D", "filters": 3, "kernel_size": 4, "strides": 2, "dilation_rate": 1, "activation": "relu"},
    {"name": "Conv1D", "filters": 3, "kernel_size": 4, "padding": "same"},
    {"name": "Cropping1D", "cropping": [1, 2]},
    {"name": "Dense", "units": 3, "use_bias": False},
    {"name": "Flatten"},
    {"name": "one_to_two", "operation": "concat"},
]
MAPS = [
    {"name": "concat_dist_2d"},
    {"name": "conv_block_2d", "filters": 4, "kernel_size": 3, "pool_size": 2, "norm_type": "batch"},
    {"name": "conv_block_2d", "filters": 4, "conv_type": "separable", "kernel_size": 3, "symmetric": True},
    {"name": "symmetrize_2d"},
    {"name": "dilated_residual_2d", "filters": 3, "repeat": 2, "norm_type": "batch"},
    {"name": "cropping_2d", "cropping": 2},
    {"name": "Cropping2D", "cropping": [1, 1]},
    {"name": "upper_tri", "diagonal_offset": 1},
]


def test_every_block_makes_the_shape_that_is_told():
    tried = set()
    for shape, listed in (((25, 8), BLOCKS), ((11, 11, 8), MAPS)):
        for block in listed:

            def run(shape=shape, block=block):
                return made(shape, **block)[0](jnp.zeros((2, *shape)), jax.random.key(0))

            told = follow(Filled(block["name"], arguments(block, {})), Traced(shape))
            assert nnx.eval_shape(run).shape[1:] == told.shape, block
            tried.add(block["name"])
    assert tried | {"fpn_unet"} == set(VOCABULARY) == set(MODULES)


def test_a_softmax_pool_takes_whole_runs():
    given = arguments({"name": "conv_block", "pool_size": 2, "pool_type": "softmax"}, {})
    with pytest.raises(JaxepiError, match="pool of 2 takes a multiple of it, but comes behind 25 positions"):
        follow(Filled("conv_block", given), Traced((25, 8)))


X = jax.random.normal(jax.random.key(0), (2, 8, 16))


def test_squeeze_excite_by_its_formula():
    module, _ = made((8, 16), name="squeeze_excite")
    x = nnx.relu(X)
    inner = nnx.relu(x.mean(1) @ module.squeeze.kernel[...] + module.squeeze.bias[...][None])
    gate = jax.nn.sigmoid(inner @ module.excite.kernel[...] + module.excite.bias[...][None])
    np.testing.assert_allclose(module(X), x * gate[:, None], rtol=1e-5)
    added, _ = made((8, 16), name="squeeze_excite", additive=True)
    assert not np.allclose(added(X), module(X))


def test_softmax_pool_by_its_formula():
    pool = sequences.SoftmaxPool(16, 2, shared())
    np.testing.assert_array_equal(pool.logit.kernel[...][:, 0], [2.0] + [0.0] * 15)
    first = np.exp(2 * np.asarray(X[:, :, 0])).reshape(2, 4, 2, 1)
    expected = (np.asarray(X).reshape(2, 4, 2, 16) * first).sum(2) / first.sum(2)
    np.testing.assert_allclose(pool(X), expected, rtol=1e-5)


def test_residual_blocks_start_as_the_identity():
    for norm in (None, "batch"):
        module, _ = made((8, 16), name="dilated_residual", filters=4, repeat=2, norm_type=norm)
        np.testing.assert_array_equal(module(X), X)
    module, _ = made((8, 16), name="conv_dna", filters=16, residual=True, norm_type="batch")
    np.testing.assert_allclose(module(X), module.conv(X), rtol=1e-6)


def test_attention_by_its_formula():
    """Each query meets each key's content, and the features of the key's distance."""
    module, _ = made((8, 16), name="transformer", key_size=3, heads=2, num_position_features=6, dense_expansion=0.0)
    inside = module.attention
    inside.out.kernel.set_value(jnp.eye(16))
    x = np.asarray(X, np.float64)
    query, keys, value = (np.asarray(part.kernel[...]) for part in (inside.query, inside.keys, inside.value))
    first, second = (np.asarray(b[...])[0, :, 0] for b in (inside.content_offset, inside.distance_offset))
    positions = position_features(8, 6) @ np.asarray(inside.distance.kernel[...])
    expected = np.zeros((2, 8, 16))
    for b, h, i in np.ndindex(2, 2, 8):
        part, wide = np.s_[3 * h : 3 * h + 3], np.s_[8 * h : 8 * h + 8]
        q = (x[b, i] @ query[:, part]) / 3**0.5
        logits = np.array([
            (q + first[h]) @ (x[b, j] @ keys[:, part]) + (q + second[h]) @ positions[7 + j - i, part] for j in range(8)
        ])  # fmt: skip
        weights = np.exp(logits - logits.max())
        expected[b, i, wide] = (weights / weights.sum()) @ (x[b] @ value[:, wide])
    np.testing.assert_allclose(inside(X, None), expected, rtol=1e-4, atol=1e-5)


def test_features_of_distances():
    features = position_features(8, 6)
    widths = 9 ** (np.arange(1, 4) / 3) - 1  # the last is the length
    distance = np.arange(-7, 8)
    np.testing.assert_array_equal(features[:, :3], widths[None] > np.abs(distance)[:, None])
    np.testing.assert_array_equal(features[:, 3:], features[:, :3] * np.sign(distance)[:, None])


def test_a_unet_joins_the_last_map_of_its_length():
    tower = {"name": "res_tower", "filters_init": 6, "filters_end": 10, "repeat": 3, "num_convs": 1}
    trunk = ({"name": "conv_block", "filters": 5, "pool_size": 2}, tower, {"name": "fpn_unet"}, {"name": "fpn_unet"})
    head = {"name": "final", "units": 2}
    config = BasenjiConfig(window=64, trunk=trunk, heads=(head,))
    geometry = config.geometry()
    assert (geometry.shape, geometry.stride, geometry.crop) == ((16, 2), 4, 0)
    model = Basenji(config, rngs=nnx.Rngs(0))
    assert model.trunk[2].dense_finer.kernel.shape == (10, 10) and model.trunk[3].dense_finer.kernel.shape == (8, 10)
    out = nnx.eval_shape(lambda m: m(jnp.zeros((1, 64, 4)), intermediates=True), model)
    assert out.intermediates["trunk_1"].shape == (1, 4, 10) and out.heads[0].shape == (1, 16, 2)
    with pytest.raises(JaxepiError, match="fpn_unet joins 64 positions, but no tower before it has kept as many"):
        BasenjiConfig(window=64, trunk=(trunk[0], trunk[2]), heads=(head,)).geometry()
    x, finer = jax.random.normal(jax.random.key(1), (2, 4, 10)), jax.random.normal(jax.random.key(2), (2, 8, 10))
    block = model.trunk[2]
    inner = [nnx.gelu(norm(y)) for norm, y in ((block.norm, x), (block.norm_finer, finer))]
    expected = block.conv(jnp.repeat(block.dense(inner[0]), 2, axis=1) + block.dense_finer(inner[1]))
    np.testing.assert_allclose(block(x, finer), expected, rtol=1e-5, atol=1e-6)


def test_separable_convolution_is_a_convolution():
    module, _ = made((8, 16), name="conv_block", filters=3, conv_type="separable", kernel_size=3, activation="linear")
    kernel = module.conv.depthwise.kernel[...][:, 0, :, None] * module.conv.pointwise.kernel[...][0][None]
    plain, _ = made((8, 16), name="conv_block", filters=3, kernel_size=3, activation="linear")
    plain.conv.kernel.set_value(kernel)
    np.testing.assert_allclose(module(X), plain(X), rtol=1e-4, atol=1e-5)


def test_each_dropout_draws_for_itself():
    module, _ = made((8, 16), name="conv_tower", filters_init=16, filters_mult=1, repeat=2, dropout=0.5)
    first, second = module.steps[0].dropout, module.steps[1].dropout
    key, ones = jax.random.key(3), jnp.ones((4, 64))
    assert first.number != second.number
    assert not np.array_equal(first(ones, key), second(ones, key))
    assert set(np.unique(first(ones, key))) == {0.0, 2.0}
    np.testing.assert_array_equal(module(X), module(X, None))
