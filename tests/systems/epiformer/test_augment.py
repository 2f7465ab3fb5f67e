"""Reverse complement and shifts: the original's arrays, the corrected form, and how both are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.systems.epiformer.augment import Draws, alternating, augmented, of_windows, turned

SHIFTS = (-3, -2, -1, 0, 1, 2)


@pytest.fixture(scope="module")
def file(golden):
    return golden("epiformer", "augment.npz")


def codes_of(hot):
    """(B, 4, L), zero for N, to codes."""
    return jnp.asarray(np.where(hot.any(axis=1), hot.argmax(axis=1), 4).astype(np.uint8))


@pytest.fixture(scope="module")
def given(file):
    return codes_of(file["in:seq"]), jnp.asarray(file["in:seqcons"][:, 0])


@pytest.mark.parametrize(("flip", "shift"), [(flip, by) for flip in (True, False) for by in SHIFTS if flip or by])
def test_the_original_s_arrays_for_every_shift(file, given, flip, shift):
    name = f"rc_shift{shift}" if flip else f"shift{shift}"
    draws = Draws(jnp.full(2, flip), jnp.full(2, -shift))  # its positive shifts go to the left
    x, conservation = augmented(*given, draws, 3, pad=0.25, with_conservation=False)
    np.testing.assert_array_equal(x.transpose(0, 2, 1), file[f"out:{name}/seq"])
    if flip:
        np.testing.assert_array_equal(conservation, file[f"out:{name}/seqcons"][:, 0])
        model_input = x * jnp.exp(conservation)[..., None]
        np.testing.assert_allclose(model_input.transpose(0, 2, 1), file[f"out:{name}/model_input"], rtol=1e-6)
        signal = turned(jnp.asarray(file["in:signal"].transpose(0, 2, 1)), jnp.full(2, True))
        np.testing.assert_array_equal(signal.transpose(0, 2, 1), file[f"out:{name}/signal"])


def test_by_default_conservation_goes_with_its_base_and_nothing_is_made_up(given):
    codes, conservation = given
    draws = Draws(jnp.array([True, False]), jnp.array([2, -3]))
    x, moved = augmented(codes, conservation, draws, 3)
    plain, still = augmented(codes, conservation, Draws(draws.flip, jnp.zeros(2, int)), 3)
    np.testing.assert_array_equal(x[0, 2:], plain[0, :-2])
    np.testing.assert_array_equal(moved[0, 2:], still[0, :-2])
    np.testing.assert_array_equal(x[1, :-3], plain[1, 3:])
    np.testing.assert_array_equal(moved[1, :-3], still[1, 3:])
    assert not np.any(x[0, :2]) and not np.any(moved[0, :2]) and not np.any(x[1, -3:]) and not np.any(moved[1, -3:])
    assert augmented(codes, None, draws, 3)[1] is None


def test_windows_are_drawn_one_by_one():
    draws = of_windows(jax.random.key(0), 700, True, 3)
    assert set(np.asarray(draws.by)) == {-3, -2, -1, 0, 1, 2, 3} and 250 < draws.flip.sum() < 450
    none = of_windows(jax.random.key(0), 20, False, 0)
    assert not none.flip.any() and not none.by.any()


def test_the_original_augments_every_second_group_of_batches_all_windows_alike():
    draws = [alternating(jax.random.key(n), 4, jnp.int32(n), True, 3) for n in range(120)]
    for n, (flip, by) in enumerate(draws):
        assert flip.all() if n % 2 else not flip.any()
        assert len(set(np.asarray(by))) == 1 and (n % 2 or by[0] == 0)
    assert {int(by[0]) for _, by in draws[1::2]} == {-2, -1, 0, 1, 2, 3}  # to the right; +3 to the left is never drawn
    assert alternating(jax.random.key(0), 2, jnp.int32(1), False, 0).by.tolist() == [0, 0]
