"""Where bins lie: a peak planted anywhere is in the bin whose place holds it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.systems.chromoformer.bins import Layout, contact_bins, promoter_bins
from jaxepi.systems.chromoformer.places import contact_places, promoter_places

WIDTH, R = 4000, 100


@pytest.mark.parametrize("size", [100, 400, 1000])
@pytest.mark.parametrize("length", [1, 99, 225, 1000, 3999, 4000])
@pytest.mark.parametrize("minus", [False, True])
@pytest.mark.parametrize("oriented", [False, True])
def test_contact_bins_lie_where_their_reads_are(size, length, minus, oriented):
    layout = Layout(size, R, WIDTH)
    places = contact_places(length, minus, layout, oriented)
    stretches = -(-length // R)
    sums = jnp.asarray(np.eye(stretches, WIDTH // R, dtype=np.float32)[:, None, :, None])  # one read, anywhere
    features, known = contact_bins(sums, jnp.full((stretches, 1), length), jnp.full(stretches, minus), layout, oriented)
    np.testing.assert_array_equal(places[:, 0] >= 0, known[0, 0])
    for stretch in range(stretches):
        (place,) = np.flatnonzero(features[stretch, 0, :, 0])
        assert places[place, 0] <= stretch * R < places[place, 1] <= length
    covered = places[places[:, 0] >= 0][:: -1 if minus and oriented else 1]
    assert covered[0, 0] == 0 and covered[-1, 1] == length
    np.testing.assert_array_equal(covered[1:, 0], covered[:-1, 1])


@pytest.mark.parametrize("size", [100, 400, 1000])
@pytest.mark.parametrize("width", [4000, 2400])
@pytest.mark.parametrize("minus", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_promoter_bins_lie_where_their_reads_are(size, width, minus, centred):
    layout = Layout(size, R, WIDTH)
    stretches = width // R
    sums, span = jnp.eye(stretches, dtype=jnp.float32)[..., None], (250, width)
    features, known = promoter_bins(
        sums, jnp.array([span] * stretches), jnp.full(stretches, minus), width, layout, centred
    )
    places = promoter_places(width, span, minus, layout, centred)
    np.testing.assert_array_equal(places[:, 0] >= 0, known[0])
    seen = 0
    for stretch in range(span[0] // R, stretches):
        found = np.flatnonzero(features[stretch, :, 0])
        if len(found):  # with `centred` a bin at the end may have been moved out
            low, high = places[found[0]]
            assert low < (stretch + 1) * R and stretch * R < high
            seen += 1
    assert seen >= stretches - span[0] // R - size // R
    starts = places[places[:, 0] >= 0, 0]
    assert np.all(np.diff(starts) * (-1 if minus else 1) > 0)
    if centred:
        low, high = places[layout.centre]
        assert low <= width // 2 < high
