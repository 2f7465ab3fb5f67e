"""The order of records: exactly once, a pure function, the same for any number of hosts."""

import numpy as np
import pytest

from jaxepi.data.order import PADDING, Order, epoch_seed, host_rows
from jaxepi.errors import JaxepiError


def _epoch(order: Order, epoch: int) -> np.ndarray:
    first = epoch * order.batches_per_epoch
    return np.concatenate([order.rows(first + batch) for batch in range(order.batches_per_epoch)])


@pytest.mark.parametrize("records", [1, 2, 7, 8, 103, 1000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_padded_epochs_hold_every_record_once(records: int, shuffle: bool) -> None:
    order = Order(records, 8, seed=3, shuffle=shuffle, remainder="pad")
    for epoch in (0, 1, 5):
        rows = _epoch(order, epoch)
        assert len(rows) == -(-records // 8) * 8
        assert sorted(rows[rows != PADDING]) == list(range(records))
        assert (rows[records:] == PADDING).all(), "padding comes last"


def test_dropped_epochs_hold_whole_batches_without_repetition() -> None:
    order = Order(103, 8, remainder="drop")
    rows = _epoch(order, 0)
    assert len(rows) == 96 == len(set(rows)) and PADDING not in rows
    left_out = [set(range(103)) - set(_epoch(order, epoch)) for epoch in range(3)]
    assert left_out[0] != left_out[1] != left_out[2], "not the same records are left out in every epoch"


def test_drop_and_pad_agree_on_whole_batches() -> None:
    np.testing.assert_array_equal(Order(103, 8, remainder="drop").rows(4), Order(103, 8, remainder="pad").rows(4))


def test_order_is_a_function_of_seed_epoch_and_batch() -> None:
    np.testing.assert_array_equal(Order(500, 16, seed=1).rows(70), Order(500, 16, seed=1).rows(70))
    assert not np.array_equal(_epoch(Order(500, 16, seed=1), 0), _epoch(Order(500, 16, seed=2), 0))
    assert not np.array_equal(_epoch(Order(500, 16, seed=1), 0), _epoch(Order(500, 16, seed=1), 1))
    assert not np.array_equal(_epoch(Order(500, 16, seed=1), 1), _epoch(Order(500, 16, seed=2), 0))


def test_the_order_of_a_seed_never_changes() -> None:
    """A run that is resumed under a later version must meet the same records."""
    assert epoch_seed(0, 0) == 2968811710
    assert Order(1000, 8, seed=0).rows(0).tolist() == [233, 815, 962, 246, 407, 428, 821, 490]
    assert Order(1000, 8, seed=7).rows(1000).tolist() == [894, 497, 747, 588, 304, 297, 216, 973]


def test_the_shuffle_is_global() -> None:
    rows = _epoch(Order(10_000, 100), 0).reshape(100, 100)
    assert abs(rows.mean(1) - 5000).max() < 1300, "every batch draws from the whole dataset"  # 4.5 standard errors
    assert abs(np.corrcoef(rows.ravel(), np.arange(10_000))[0, 1]) < 0.05


def test_without_shuffle_records_come_in_order() -> None:
    assert Order(10, 4, shuffle=False, remainder="pad").rows(5).tolist() == [8, 9, PADDING, PADDING]


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_hosts_share_a_batch_row_for_row(hosts: int) -> None:
    rows = Order(100, 16, remainder="pad").rows(6)
    shares = [rows[host_rows(16, host, hosts)] for host in range(hosts)]
    np.testing.assert_array_equal(np.concatenate(shares), rows)
    assert {len(share) for share in shares} == {16 // hosts}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0.*at least 1"),
        ({"batch_size": 11}, "batch_size is 11.*only 10 records.*'pad'"),
        ({"remainder": "padd"}, "did you mean 'pad'"),
        ({"seed": -1}, "seed is -1"),
        ({"records": 0}, "no records"),
    ],
)
def test_impossible_sizes_are_named(arguments: dict, words: str) -> None:
    with pytest.raises(JaxepiError, match=words):
        Order(**{"records": 10, "batch_size": 4, **arguments})


def test_a_batch_that_hosts_cannot_share_is_named_with_its_neighbours() -> None:
    with pytest.raises(
        JaxepiError, match="batch_size is 30, which 4 processes cannot share evenly: set it to 28 or 32"
    ):
        host_rows(30, 0, 4)
    with pytest.raises(JaxepiError, match="process_index is 4"):
        host_rows(32, 4, 4)
