"""Normalisation and pools as Keras computes them, against golden arrays of the Basenji programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.layers.keras_like import BatchNorm, max_pool


@pytest.fixture(scope="module")
def layers(golden):
    return golden("basenji", "layers.npz")


def norm(layers, **options) -> BatchNorm:
    made = BatchNorm(4, dtype=jnp.float64, **options)
    for name, key in (("scale", "gamma"), ("bias", "beta"), ("mean", "mean"), ("var", "var")):
        getattr(made, name).set_value(jnp.asarray(layers[f"param:bn_{key}"]))
    return made


def test_batch_norm_of_sequences(layers):
    with jax.enable_x64(True):
        made, x = norm(layers), jnp.asarray(layers["in:x1d"])
        np.testing.assert_allclose(made(x), layers["out:batchnorm_infer_eps1e-3"], rtol=0, atol=1e-9)
        made.use_running_average = False
        np.testing.assert_allclose(made(x), layers["out:batchnorm_train_eps1e-3"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(made.mean[...], layers["out:batchnorm_mean_after_mom0.99"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(made.var[...], layers["out:batchnorm_var_after_mom0.99"], rtol=0, atol=1e-9)


def test_batch_norm_of_maps_averages_the_unbiased_variance(layers):
    x = jnp.asarray(layers["in:x2d"], jnp.float32)
    made = BatchNorm(3, momentum=0.9, dtype=jnp.float32)
    made.use_running_average = False
    for name, key in (("scale", "bn_gamma"), ("bias", "bn_beta")):
        if f"param:{key}2d" in layers.files:
            getattr(made, name).set_value(jnp.asarray(layers[f"param:{key}2d"], jnp.float32))
    np.testing.assert_allclose(made(x), layers["out:batchnorm2d_train_float32"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(made.mean[...], layers["out:batchnorm2d_mean_after_mom0.9_float32"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(made.var[...], layers["out:batchnorm2d_var_after_mom0.9_float32"], rtol=0, atol=1e-5)
    biased = BatchNorm(3, momentum=0.9, averaged="biased", dtype=jnp.float32)
    biased.use_running_average = False
    biased(x)
    assert (biased.var[...] < made.var[...]).all()


def test_statistics_are_float32_where_the_computation_is_not():
    x = 1000 + jax.random.normal(jax.random.key(0), (4, 64, 2))
    made = BatchNorm(2, momentum=0.0, dtype=jnp.bfloat16)
    made.use_running_average = False
    assert made(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16 and made.var[...].dtype == jnp.float32
    np.testing.assert_allclose(made.mean[...], x.astype(jnp.bfloat16).astype(jnp.float32).mean((0, 1)), rtol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pools_of_lengths_that_do_not_divide(layers, size, padding):
    made = max_pool(jnp.asarray(layers["in:x1d"]), size, padding)
    np.testing.assert_allclose(made, layers[f"out:maxpool{size}_{padding}"], rtol=1e-6)


def test_a_padded_pool_has_a_gradient():
    grad = jax.grad(lambda x: max_pool(x, 4, "same").sum())(jnp.arange(10.0).reshape(1, 5, 2))
    np.testing.assert_array_equal(grad[0, :, 0], [0, 0, 1, 0, 1])


def test_the_first_of_equal_values_gets_the_gradient_and_a_rest_none():
    x = jnp.array([1.0, 3.0, 3.0, 2.0, 2.0, 0.0, 9.0])[None, :, None]
    made = jax.grad(lambda x: (max_pool(x, 3) * jnp.array([5.0, 7.0])[None, :, None]).sum())(x)
    np.testing.assert_array_equal(made[0, :, 0], [0, 5, 0, 7, 0, 0, 0])
