"""The backward pass of batch normalisation against JAX's own derivative of the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.layers.batch_norm import batch_normalize

EPSILON = 1e-3


def plain(x, scale, bias):
    axes = tuple(range(x.ndim - 1))
    centred = x - x.mean(axes, keepdims=True)
    spread = (None,) * (x.ndim - 1)
    return centred / jnp.sqrt(x.var(axes, keepdims=True) + EPSILON) * scale[spread] + bias[spread]


@pytest.mark.parametrize("shape", [(6, 3), (2, 7, 3), (2, 3, 5, 3)])
def test_gradients_are_those_of_the_formula(shape):
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, g = 5 + 2 * jnp.asarray(random.normal(size=shape)), jnp.asarray(random.normal(size=shape))
        scale, bias = jnp.asarray(random.normal(size=3)), jnp.asarray(random.normal(size=3))
        made, pull = jax.vjp(lambda *of: batch_normalize(*of, EPSILON)[0], x, scale, bias)
        expected, pull_plain = jax.vjp(plain, x, scale, bias)
        np.testing.assert_allclose(made, expected, rtol=0, atol=1e-12)
        for ours, theirs in zip(pull(g), pull_plain(g), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


def test_gradients_have_the_dtypes_of_what_they_are_of():
    x = jax.random.normal(jax.random.key(0), (2, 64, 4), jnp.bfloat16)
    y, pull = jax.vjp(lambda *of: batch_normalize(*of, EPSILON)[0], x, jnp.ones(4), jnp.zeros(4))
    assert [made.dtype for made in (y, *pull(jnp.ones_like(y)))] == [jnp.bfloat16, jnp.bfloat16, "float32", "float32"]
