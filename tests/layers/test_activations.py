"""Activations against the golden arrays of the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.layers.activations import BLOCK_ACTIVATIONS, GELUS, KERAS_ACTIVATIONS, activate


@pytest.mark.parametrize("gelu", GELUS)
def test_gelus(golden, gelu):
    layers = golden("basenji", "layers.npz")
    with jax.enable_x64(True):
        made = activate(jnp.asarray(layers["in:z"]), "gelu", gelu)
        np.testing.assert_allclose(made, layers[f"out:gelu_{gelu}"], rtol=0, atol=1e-7)


def test_softplus_between_blocks_is_clipped(golden):
    layers = golden("basenji", "layers.npz")
    with jax.enable_x64(True):
        z = jnp.asarray(layers["in:z"])
        np.testing.assert_allclose(activate(z, "softplus", "tanh"), layers["out:softplus_clipped"], rtol=0, atol=1e-9)
        plain = KERAS_ACTIVATIONS["softplus"](z)
        np.testing.assert_allclose(plain, layers["out:softplus_plain"], rtol=1e-12, atol=1e-9)
    assert float(activate(jnp.asarray(1e6), "softplus", "tanh")) == 10_000


def test_the_others():
    x = jnp.array([-3.0, 0.5, 4.0])
    np.testing.assert_array_equal(BLOCK_ACTIVATIONS["polyrelu"](x), [0, 0, 8])
    np.testing.assert_array_equal(activate(x, None, "tanh"), x)
    np.testing.assert_array_equal(activate(x, "relu", "tanh"), [0, 0.5, 4])
    np.testing.assert_allclose(activate(x, "exp", "tanh"), np.exp([-3, 0.5, 4]), rtol=1e-6)
