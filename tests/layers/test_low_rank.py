"""Adapters: which matrices they change, by what, and that they begin with no change."""

import jax
import numpy as np
from flax import nnx

from jaxepi.layers.keras_like import BatchNorm
from jaxepi.layers.low_rank import Adapters, matrices


class Trunk(nnx.Module):
    """Dense, narrow and wide convolutions, attention and a norm."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.parts = nnx.List([nnx.Linear(4, 6, rngs=rngs), nnx.Conv(6, 5, (1,), rngs=rngs)])
        self.wide = nnx.Conv(5, 4, (3,), rngs=rngs)
        self.norm = BatchNorm(4, dtype=np.float32)

    def __call__(self, x):
        return self.norm(self.wide(self.parts[1](self.parts[0](x))))


def test_matrices_are_dense_layers_and_convolutions_of_width_one():
    assert matrices(Trunk()) == {"parts_0_kernel": ("parts", 0, "kernel"), "parts_1_kernel": ("parts", 1, "kernel")}


def test_a_change_is_added_to_the_matrix_and_begins_at_nothing():
    trunk = Trunk()
    adapters = Adapters(trunk, 2, rngs=nnx.Rngs(1))
    x = np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32)
    before = trunk(x)
    np.testing.assert_array_equal(adapters.applied(trunk)(x), before)
    adapter = adapters.of["parts_1_kernel"]
    adapter.up[...] = jax.random.normal(jax.random.key(0), adapter.up.shape)
    assert adapter.down.shape == (6, 2) and adapter.up.shape == (2, 5)
    changed = adapters.applied(trunk)
    kernel = trunk.parts[1].kernel[...]
    np.testing.assert_allclose(changed.parts[1].kernel[0], kernel[0] + adapter.down[...] @ adapter.up[...], rtol=1e-6)
    np.testing.assert_array_equal(trunk(x), before)  # the model itself is as it was


def test_statistics_are_used_not_learned():
    trunk = Trunk()
    trunk.train()
    Adapters(trunk, 2, rngs=nnx.Rngs(1)).applied(trunk)(np.ones((2, 7, 4), np.float32))
    assert not trunk.norm.mean[...].any()
