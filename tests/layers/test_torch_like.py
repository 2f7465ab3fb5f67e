"""Shared blocks against plain formulas, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxepi.layers.torch_like import GroupNorm, column_sums, conv1d, max_pool, normalize, upsample_conv1d


def random(*shape: int, seed: int = 0, offset: float = 0.0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape) + offset, jnp.float32)


def plain_norm(x, scale, bias, activation=lambda y: y):
    centred = x - x.mean(axis=(1, 2), keepdims=True)
    variance = (centred**2).mean(axis=(1, 2), keepdims=True)
    return activation(centred / jnp.sqrt(variance + 1e-5) * scale[None, None] + bias[None, None])


@pytest.mark.parametrize(("length", "stride", "expected"), [(20, 1, 20), (20, 4, 5), (21, 5, 5)])
def test_conv1d_pads_symmetrically(length, stride, expected):
    conv = conv1d(3, 2, 9, stride=stride, rngs=nnx.Rngs(0))
    x = random(1, length, 3)
    padded = np.pad(np.asarray(x[0]), ((4, 4), (0, 0)))
    want = [np.einsum("wi,wio->o", padded[i * stride : i * stride + 9], conv.kernel[...]) for i in range(expected)]
    np.testing.assert_allclose(conv(x)[0], want + np.asarray(conv.bias[...]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factor", [4, 5])
@pytest.mark.parametrize("width", [17, 9])
def test_upsample_conv1d_is_convolution_of_the_repeated_array(factor, width):
    conv = conv1d(6, 5, width, rngs=nnx.Rngs(0))
    graph, params = nnx.split(conv)

    def fast(params, x):
        return upsample_conv1d(nnx.merge(graph, params), x, factor)

    def slow(params, x):
        return nnx.merge(graph, params)(jnp.repeat(x, factor, axis=1))

    x, weight = random(2, 7, 6), random(2, 7 * factor, 5, seed=1)
    np.testing.assert_allclose(fast(params, x), slow(params, x), atol=1e-6)
    ours, theirs = (jax.grad(lambda p, x, f=f: (f(p, x) * weight).sum(), (0, 1))(params, x) for f in (fast, slow))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_max_pool_leaves_out_a_shorter_rest():
    x = random(2, 11, 3)
    expected = np.asarray(x)[:, :8].reshape(2, 2, 4, 3).max(axis=2)
    np.testing.assert_array_equal(max_pool(x, 4), expected)


@pytest.mark.parametrize("activation", [None, nnx.silu, nnx.relu])
def test_norm_and_its_gradients_equal_the_plain_formula(activation):
    x, scale, bias = random(3, 150, 8, offset=0.5), random(8, seed=1, offset=1.0), random(8, seed=2)
    weight = random(3, 150, 8, seed=3)
    plain = activation or (lambda y: y)
    np.testing.assert_allclose(
        normalize(x, scale, bias, 1e-5, activation), plain_norm(x, scale, bias, plain), atol=3e-6
    )
    ours = jax.grad(lambda *a: (normalize(*a, 1e-5, activation) * weight).sum(), (0, 1, 2))(x, scale, bias)
    theirs = jax.grad(lambda *a: (plain_norm(*a, plain) * weight).sum(), (0, 1, 2))(x, scale, bias)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


def test_norm_keeps_its_accuracy_far_from_zero():
    """The one-pass variance E[x²] - E[x]² is wrong in the first digit here."""
    x = random(2, 2000, 4, offset=3000.0)
    wide = np.asarray(x, np.float64)
    expected = (wide - wide.mean((1, 2), keepdims=True)) / np.sqrt(wide.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(normalize(x, jnp.ones(4), jnp.zeros(4), 1e-5), expected, atol=1e-3)


def test_norm_of_bfloat16_has_float32_statistics():
    norm = GroupNorm(16, dtype=jnp.bfloat16)
    x = random(1, 4000, 16, offset=20.0).astype(jnp.bfloat16)
    y = norm(x)
    assert y.dtype == jnp.bfloat16
    expected = plain_norm(x.astype(jnp.float32), jnp.ones(x.shape[2]), jnp.zeros(x.shape[2]))
    np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=2**-8, atol=1e-5)
    gradient = jax.grad(lambda x: norm(x).astype(jnp.float32)[:, :7].sum())(x)
    assert gradient.dtype == jnp.bfloat16 and np.isfinite(gradient.astype(jnp.float32)).all()


@pytest.mark.parametrize("length", [1, 5, 128, 300])
def test_column_sums_of_any_length(length):
    x = random(2, length, 3)
    np.testing.assert_allclose(jax.jit(column_sums)(x), np.asarray(x).sum(axis=1), rtol=1e-5, atol=1e-5)
