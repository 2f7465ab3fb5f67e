"""Choice of positions and windows: bounded, repeatable, blind to the predictions."""

import numpy as np

from jaxepi.evaluate.sampling import PositionSample, WindowChoice, gather_rows, position_hash


def stream(records=40, sites=30, tracks=2, seed=0):
    rng = np.random.default_rng(seed)
    for number in range(records):
        shape = (1, sites, tracks)
        offset = np.sort(rng.choice(1000, sites, replace=False))[None]
        yield np.array([number]), offset, rng.random(shape), rng.random(shape), rng.random(shape) < 0.8


def test_hash_is_fixed_and_spreads():
    keys = position_hash(np.arange(200)[:, None], np.arange(500)[None])
    assert keys.dtype == np.uint64 and len(np.unique(keys)) == keys.size
    assert abs(float((keys < np.uint64(2**63)).mean()) - 0.5) < 0.01
    assert position_hash(3, 7) != position_hash(7, 3) != position_hash(3, 7, seed=1)
    assert int(position_hash(3, 7)) == int(position_hash(np.array([3]), np.array([7]))[0])


def test_sample_holds_the_smallest_hashes_in_any_order():
    rows, keys = list(stream()), []
    for record, offset, _, _, mask in rows:
        keys.append(position_hash(record[:, None], offset)[mask.any(-1)])
    forward, backward = PositionSample(100), PositionSample(100)
    for row in rows:
        forward.add(*row)
    for row in reversed(rows):
        backward.add(*row)
    one, other = forward.result(2), backward.result(2)
    np.testing.assert_array_equal(one.prediction, other.prediction)
    np.testing.assert_array_equal(one.target, other.target)
    assert one.seen == sum(map(len, keys)) and not one.complete
    limit = np.sort(np.concatenate(keys))[99]
    chosen = [p[m.any(-1)][k <= limit] for (_, _, p, _, m), k in zip(rows, keys, strict=True)]
    assert {tuple(row) for row in one.prediction} == {tuple(r) for r in np.concatenate(chosen).astype(np.float32)}


def test_memory_stays_bounded():
    sample = PositionSample(50)
    for row in stream():
        sample.add(*row)
        assert sum(len(part[0]) for part in sample._parts) <= 2 * 50
    assert len(sample.result(2).prediction) == 50


def test_masked_tracks_are_nan_and_an_empty_stream_is_empty():
    sample = PositionSample(10)
    sample.add(np.array([0]), np.array([[5]]), np.ones((1, 1, 2)), np.ones((1, 1, 2)), np.array([[[True, False]]]))
    assert np.isnan(sample.result(2).target).tolist() == [[False, True]]
    empty = PositionSample(10).result(4)
    assert empty.prediction.shape == (0, 4) and empty.complete


def test_windows_do_not_depend_on_predictions_or_order():
    rows = list(stream())
    plain, other = WindowChoice(4), WindowChoice(4)
    for row in rows:
        plain.add(*row)
    for record, offset, prediction, target, mask in reversed(rows):
        other.add(record, offset, 1 - prediction, target, mask)
    assert [(w.record, w.choice) for w in plain.result()] == [(w.record, w.choice) for w in other.result()]
    spread = {int(r[0]): w for (r, *_), w in zip(rows, map(_spread_of, rows), strict=True)}
    varied = {w.record for w in plain.result() if w.choice == "varied"}
    assert varied == set(sorted(spread, key=spread.get)[-2:])


def _spread_of(row):
    _, _, _, target, mask = row
    return np.mean([np.std(target[0, mask[0, :, k], k]) for k in range(target.shape[-1])])


def test_windows_with_few_positions_are_not_shown():
    choice = WindowChoice(2, minimum=31)
    for row in stream():
        choice.add(*row)
    assert choice.result() == []


def test_gather_of_one_process_is_the_array_itself():
    array = np.arange(3)
    assert gather_rows(array)[0] is array
