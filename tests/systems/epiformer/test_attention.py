"""Attention, encoder layer and sinusoid against the original, and their memory-saving forms against plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.layers.torch_like import sinusoid
from jaxepi.systems.epiformer.attention import EncoderLayer, SelfAttention, gated, skewed
from jaxepi.systems.epiformer.model import EpiformerConfig


@pytest.fixture(scope="module")
def arrays(golden):
    return golden("epiformer", "attention_block.npz")


def fill(module, weights, prefix):
    """Weights of the original into an attention or an encoder layer, float64."""
    for path, variable in nnx.to_flat_state(nnx.state(module, nnx.Param)):
        *owner, role = path
        names = {"attention": "mha", "expand": "linear_net.0", "contract": "linear_net.3", "norm_attention": "norm1"}
        owner = [{**names, "norm_out": "norm2"}.get(part, part) for part in owner]
        if role == "distance":
            owner, role = [*owner, "distance_embedding"], "weight"
        array = weights[f"param:{prefix}/{'.'.join(owner)}.{'bias' if role == 'bias' else 'weight'}"]
        variable.set_value(jnp.asarray(array.T if role == "kernel" else array, jnp.float64))
    return module


def attention(arrays, positions, queries, **options):
    made = SelfAttention(24, 4, positions, 0.4, queries, dtype=jnp.float64, rngs=nnx.Rngs(0), **options)
    return fill(made, arrays, positions)


@pytest.mark.parametrize("positions", ["relative_key", "relative_key_query", "none"])
def test_golden_attention_in_one_piece_and_in_parts(arrays, positions):
    """12 queries at once, in three parts of 4, and in parts of 5 of which the last is filled up."""
    x = arrays[f"in:{positions}/x"]
    with jax.enable_x64(True):
        for queries in (12, 4, 5):
            made = attention(arrays, positions, queries)
            context, weights = nnx.jit(lambda made, x: made(x, maps=True))(made, jnp.asarray(x))
            same = {"rtol": 1e-9, "atol": 1e-12, "err_msg": f"{queries} at a time"}
            np.testing.assert_allclose(context, arrays[f"out:{positions}/context"], **same)
            np.testing.assert_allclose(weights, arrays[f"out:{positions}/probs"], **same)


def test_golden_relative_scores(arrays):
    """The skew gives what rows of the table by the original's index give."""
    table = arrays["param:relative_key/distance_embedding.weight"].astype(np.float64)
    index = arrays["out:relative_key/distance_index"]
    x, expected = arrays["in:relative_key/x"], arrays["out:relative_key/relative_scores_unscaled"]
    query = x @ arrays["param:relative_key/query.weight"].T.astype(np.float64) + arrays["param:relative_key/query.bias"]
    query = query.reshape(2, 12, 4, 6).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(np.einsum("bhqd,qkd->bhqk", query, table[index]), expected, rtol=1e-9, atol=1e-12)
    rows = table[index.min() : index.max() + 1][::-1]
    with jax.enable_x64(True):
        made = skewed(jnp.asarray(np.einsum("bhqd,nd->bhqn", query, rows)), 12)
    np.testing.assert_allclose(made, expected, rtol=1e-9, atol=1e-12)


def test_golden_encoder_layer(arrays):
    options = {"attention_rate": 0.4, "rate": 0.4, "queries": 5, "rngs": nnx.Rngs(0)}
    with jax.enable_x64(True):
        layer = EncoderLayer(24, 4, 36, "relative_key", dtype=jnp.float64, **options)
        fill(layer, arrays, "encoder")
        run = nnx.jit(lambda layer, x: layer(x, maps=True))
        y, inside = run(layer, jnp.asarray(arrays["in:encoder/x"]))
        np.testing.assert_allclose(gated(arrays["in:swiglu/x"]), arrays["out:swiglu/y"], rtol=1e-9)
    np.testing.assert_allclose(y, arrays["out:encoder/y"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(inside["attention"], arrays["out:encoder/attn"], rtol=1e-9, atol=1e-12)


def test_golden_sinusoid(arrays):
    np.testing.assert_allclose(sinusoid(12, 24), arrays["out:sinusoid_table"][0], rtol=0, atol=1e-7)


def test_golden_channels(arrays):
    told = {name.removeprefix("out:exponential_linspace_int_"): name for name in arrays.files if "linspace" in name}
    assert len(told) == 5
    for sizes, name in told.items():
        _, end, count = map(int, sizes.split("_"))
        config = EpiformerConfig(embed_size=end, num_cnn_layer=count - 1, window=2**count, crop_size=0, num_heads=1)
        assert config.channels == tuple(arrays[name]), sizes


def test_gradients_in_parts_are_those_in_one_piece(arrays):
    x = arrays["in:relative_key/x"]
    with jax.enable_x64(True):

        def gradients(queries):
            made = attention(arrays, "relative_key", queries)
            return nnx.jit(nnx.grad(lambda made, x: (made(x)[0] ** 2).sum()))(made, jnp.asarray(x))

        whole, parts = gradients(12), gradients(5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), whole, parts)


def test_dropout_of_weights_acts_in_every_part(arrays):
    """Outputs change with the key, no part repeats another's draw, and the mean over draws is the plain output."""
    x = jnp.ones((1, 12, 24), jnp.float32)
    made = SelfAttention(24, 4, "none", 0.5, 4, dtype=jnp.float32, rngs=nnx.Rngs(0))
    draw = nnx.jit(nnx.vmap(lambda made, key: made(x, key)[0][0], in_axes=(None, 0)))
    drawn = np.asarray(draw(made, jax.random.split(jax.random.key(0), 400)))
    plain = np.asarray(made(x)[0][0])
    assert np.ptp(plain, axis=0).max() < 1e-6  # all positions are alike without dropout
    assert np.ptp(drawn[0].reshape(3, 4, 24), axis=0).max() > 1e-3
    np.testing.assert_allclose(drawn.mean(axis=0), plain, atol=6 * drawn.std(axis=0).max() / 20)


def test_scores_in_parts_need_less_memory():
    def temporary(queries):
        """Bytes of a gradient of 256 positions."""
        made = SelfAttention(256, 2, "relative_key", 0.0, queries, dtype=jnp.float32, rngs=nnx.Rngs(0))
        graph, weights = nnx.split(made)
        step = jax.jit(jax.grad(lambda weights, x: (nnx.merge(graph, weights)(x)[0] ** 2).sum()))
        compiled = step.lower(weights, jnp.zeros((8, 256, 256))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(32) < 0.75 * temporary(256)
