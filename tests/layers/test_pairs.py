"""Pairs of bins against the golden arrays of the original."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.layers import pairs


@pytest.fixture(scope="module")
def layers(golden):
    return golden("basenji", "layers.npz")


@pytest.mark.parametrize("operation", ["mean", "max", "concat", "multiply1"])
def test_bins_become_pairs(layers, operation):
    made = pairs.one_to_two(jnp.asarray(layers["in:x1d"]), operation)
    np.testing.assert_allclose(made, layers[f"out:one_to_two_{operation}"], rtol=1e-6, atol=1e-6)


def test_the_product_that_the_original_misspells():
    x = jnp.arange(6.0).reshape(1, 3, 2)
    np.testing.assert_array_equal(pairs.one_to_two(x, "multiply")[0, 2, 1], x[0, 1] * x[0, 2])


def test_distance_and_symmetry(layers):
    x = jnp.asarray(layers["in:x2d"])
    np.testing.assert_allclose(pairs.concat_distance(x), layers["out:concat_dist_2d"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pairs.symmetrize(x), layers["out:symmetrize_2d"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("diagonal", range(4))
def test_triangle_and_its_reversal(layers, diagonal):
    rows, columns = pairs.triangle(9, diagonal)
    np.testing.assert_array_equal(rows, layers[f"out:upper_tri_rows_off{diagonal}"])
    np.testing.assert_array_equal(columns, layers[f"out:upper_tri_cols_off{diagonal}"])
    x = jnp.asarray(layers["in:x2d"])
    vector = pairs.upper_triangle(pairs.symmetrize(x), diagonal)
    np.testing.assert_allclose(vector, layers[f"out:upper_tri_sym_off{diagonal}"], rtol=1e-6, atol=1e-6)
    made = pairs.upper_triangle(x, diagonal)
    np.testing.assert_allclose(made, layers[f"out:upper_tri_nonsym_off{diagonal}"], rtol=1e-6, atol=1e-6)
    assert pairs.triangle_bins(vector.shape[1], diagonal) == 9
    places = pairs.reversed_triangle(9, diagonal)
    np.testing.assert_array_equal(places, layers[f"out:switch_reverse_triu_perm_off{diagonal}"])
    expected = layers[f"out:switch_reverse_triu_off{diagonal}"]
    assert any(np.allclose(v[:, places], expected, atol=1e-6) for v in (vector, made))
