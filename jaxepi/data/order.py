"""Which records form which batch: a pure function of (seed, epoch, batch), whatever the number of readers or hosts.

Every epoch is one permutation of all records, computed index by index (nothing of the size of the dataset is stored),
so that any batch of any epoch is found in O(batch size). A record comes once an epoch; the ragged last batch is dropped
or padded. Hosts share each batch: host h of H takes the h-th contiguous block of its rows.

Of several datasets, each batch comes wholly from one, in proportion to their sizes: see `MixtureOrder`.
"""

import bisect
import dataclasses
import functools
import itertools
from typing import Protocol

import grain
import numpy as np

from jaxepi.errors import JaxepiError, did_you_mean

PADDING = -1  # the row number of a padding row
REMAINDERS = ("drop", "pad")
_ROUNDS = 4  # of the block cipher behind index_shuffle; the fewest that it allows


@dataclasses.dataclass(frozen=True)
class Order:
    """The order of `records` records in batches of `batch_size` rows over all hosts.

    Batches are counted through all epochs: batch g is batch g mod N of epoch g // N, where N is `batches_per_epoch`.
    Without `shuffle` every epoch runs from the first record to the last. Raises JaxepiError for sizes that do not fit.
    """

    records: int
    batch_size: int  # rows of one batch over all hosts (B)
    seed: int = 0
    shuffle: bool = True
    remainder: str = "drop"  # of an epoch that B does not divide: "drop" it, or "pad" it with rows numbered PADDING
    dataset: int = 0  # its number among several: each has permutations of its own

    def __post_init__(self) -> None:
        if self.remainder not in REMAINDERS:
            raise JaxepiError(
                f"remainder is {self.remainder!r}, but must be one of {', '.join(REMAINDERS)}"
                f"{did_you_mean(self.remainder, REMAINDERS)}"
            )
        if self.batch_size < 1:
            raise JaxepiError(f"batch_size is {self.batch_size}, but must be at least 1")
        if self.seed < 0:
            raise JaxepiError(f"seed is {self.seed}, but must not be negative")
        if self.records < 1:
            raise JaxepiError(
                "there are no records to put in order; prepare the dataset with a split that is not empty"
            )
        if self.batches_per_epoch == 0:
            raise JaxepiError(
                f"batch_size is {self.batch_size}, but there are only {self.records} records: lower batch_size, "
                "prepare more records or set remainder to 'pad'"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one epoch, the padded one included."""
        whole, ragged = divmod(self.records, self.batch_size)
        return whole + (self.remainder == "pad" and ragged > 0)

    def rows(self, batch: int) -> np.ndarray:
        """Record numbers of batch `batch`, counted through all epochs: (B,) int64, PADDING where there is no record."""
        epoch, batch = divmod(batch, self.batches_per_epoch)
        places = np.arange(batch * self.batch_size, (batch + 1) * self.batch_size)
        if not self.shuffle:
            return np.where(places < self.records, places, PADDING)
        seed, last = epoch_seed(self.seed, epoch, self.dataset), self.records - 1
        shuffled = [
            grain.experimental.index_shuffle(int(place), last, seed, _ROUNDS) if place <= last else PADDING
            for place in places
        ]
        return np.array(shuffled, np.int64)


@dataclasses.dataclass(frozen=True)
class MixtureOrder:
    """The order of the records of several datasets, numbered one dataset after the other, in batches of one dataset.

    Dataset d of `sizes` has the batches of its own `Order(..., dataset=d)`, ragged end dropped or padded. An epoch is a
    permutation of the batches of all datasets, so that each comes once and the datasets come in proportion to their
    numbers of batches. Without `shuffle` the datasets come one after the other.

    Raises JaxepiError for sizes that do not fit.
    """

    sizes: tuple[int, ...]  # records of each dataset
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    remainder: str = "drop"

    def __post_init__(self) -> None:
        for number in range(len(self.sizes)):
            try:
                self._order(number)
            except JaxepiError as problem:
                raise JaxepiError(f"dataset {number + 1} of {len(self.sizes)}: {problem}") from None

    def _order(self, number: int) -> Order:
        return Order(self.sizes[number], self.batch_size, self.seed, self.shuffle, self.remainder, number)

    @functools.cached_property
    def _ends(self) -> list[int]:
        """Batches of an epoch up to the end of each dataset."""
        return list(itertools.accumulate(self._order(number).batches_per_epoch for number in range(len(self.sizes))))

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one epoch, those of all datasets together."""
        return self._ends[-1]

    def rows(self, batch: int) -> np.ndarray:
        """Record numbers of batch `batch`, counted through all epochs: (B,) int64, PADDING where there is no record."""
        epoch, place = divmod(batch, self.batches_per_epoch)
        if self.shuffle:
            seed = epoch_seed(self.seed, epoch, len(self.sizes))  # the datasets have the numbers below
            place = grain.experimental.index_shuffle(place, self.batches_per_epoch - 1, seed, _ROUNDS)
        dataset = bisect.bisect_right(self._ends, place)
        order = self._order(dataset)
        within = place - self._ends[dataset] + order.batches_per_epoch
        rows = order.rows(epoch * order.batches_per_epoch + within)
        return np.where(rows == PADDING, PADDING, rows + sum(self.sizes[:dataset]))


class Sized(Protocol):
    """Records by number; those of several datasets also have `sizes`, the number of records of each."""

    def __len__(self) -> int: ...


def order_of(
    records: Sized, batch_size: int, seed: int = 0, shuffle: bool = True, remainder: str = "drop"
) -> Order | MixtureOrder:
    """The order of these records: of one dataset, or of several. Raises JaxepiError for sizes that do not fit."""
    sizes = getattr(records, "sizes", (len(records),))
    if len(sizes) > 1:
        return MixtureOrder(tuple(sizes), batch_size, seed, shuffle, remainder)
    return Order(len(records), batch_size, seed, shuffle, remainder)


def epoch_seed(seed: int, epoch: int, dataset: int = 0) -> int:
    """The 32-bit seed of the permutation of one epoch; unlike seed + epoch, no two runs share shifted epochs."""
    return int(np.random.SeedSequence((seed, epoch, dataset)).generate_state(1)[0])


def host_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of each batch that host `process_index` of `process_count` reads: a contiguous block.

    Laid one after the other, the blocks of all hosts are the batch that a single host would read. Raises JaxepiError if
    the hosts cannot share the batch evenly.
    """
    if not 0 <= process_index < process_count:
        raise JaxepiError(f"process_index is {process_index}, but must be from 0 to {process_count - 1}")
    if batch_size % process_count:
        lower, upper = batch_size // process_count * process_count, -(-batch_size // process_count) * process_count
        raise JaxepiError(
            f"batch_size is {batch_size}, which {process_count} processes cannot share evenly: set it to "
            f"{f'{lower} or ' if lower else ''}{upper}"
        )
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)
