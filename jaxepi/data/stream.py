"""Batches on the host: records read ahead by threads, in an order that does not depend on them."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import grain
import numpy as np

from jaxepi.data.order import PADDING, host_rows, order_of
from jaxepi.errors import JaxepiError

Batch = dict[str, np.ndarray]
Collate = Callable[[list[dict[str, Any] | None]], Batch]

_READERS = min(4, os.cpu_count() or 1)


class Records(Protocol):
    """What a stream reads from: `jaxepi.data.Split`, or any sequence of records that threads may index at once.

    Records of several datasets, one after the other, also have `sizes`: see `jaxepi.data.mixture`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> dict[str, Any]: ...


class BatchStream:
    """An iterator over the batches of one host; see `jaxepi.data.order` for which records they hold.

    `collate` turns a list of records into arrays of fixed shapes, rows first; a padding row comes as None. Batch g is a
    pure function of (seed, g), so a stream that starts at g goes on exactly as one that has delivered g batches, at no
    cost. Errors of readers come up in `next` as they were raised and end the stream. Use it as a context manager, or
    call `close`, to stop the readers; leaving the program does so as well.
    """

    def __init__(
        self,
        records: Records,
        collate: Collate,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        remainder: str = "drop",
        epochs: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
        readers: int = _READERS,
        prefetch: int | None = None,
        start: int = 0,
    ):
        """Starts nothing yet: the readers begin with the first `next`.

        Args:
            records: the split to read.
            collate: list of records of this host (None: a padding row) to a dict of arrays.
            batch_size: rows of a batch over all hosts.
            seed: of the order; not negative.
            shuffle: a new global permutation each epoch, or the order of the split.
            remainder: of an epoch that `batch_size` does not divide: "drop" or "pad".
            epochs: how often each record comes; None: without end.
            process_index: number of this host.
            process_count: number of hosts.
            readers: threads; 0 reads in the calling thread.
            prefetch: batches read ahead; None: two for each reader.
            start: the first batch to deliver, counted through all epochs, such as `state()["batch"]`.
        """
        self.order = order_of(records, batch_size, seed, shuffle, remainder)
        self._rows = host_rows(batch_size, process_index, process_count)
        self._process = (process_index, process_count)
        end = sys.maxsize if epochs is None else epochs * self.order.batches_per_epoch
        if readers < 0:
            raise JaxepiError(f"readers is {readers}, but must be 0 (no threads) or more")
        if not 0 <= start <= end:
            raise JaxepiError(
                f"start is {start}, but must be from 0 to {end}, the number of batches in {epochs} epochs"
            )
        self._records, self._collate = records, collate
        self._next, self._end = start, end
        ahead = 2 * readers if prefetch is None else prefetch
        self._options = grain.ReadOptions(num_threads=min(readers, ahead), prefetch_buffer_size=ahead if readers else 0)
        self._iterator: Any = None
        self._closed = False

    @property
    def batch_size(self) -> int:
        """Rows of a batch over all hosts."""
        return self.order.batch_size

    @property
    def process_index(self) -> int:
        return self._process[0]

    @property
    def process_count(self) -> int:
        return self._process[1]

    @property
    def batches_per_epoch(self) -> int:
        return self.order.batches_per_epoch

    def __len__(self) -> int:
        """Batches left. Raises TypeError for a stream without end."""
        if self._end == sys.maxsize:
            raise TypeError("a stream with epochs=None has no length")
        return self._end - self._next

    def state(self) -> dict[str, int]:
        """The next batch to be delivered: all that is needed to go on from here (`start`)."""
        return {"batch": self._next}

    def read_batch(self, batch: int) -> Batch:
        """Batch `batch` (counted through all epochs), this host's rows, read in the calling thread."""
        rows = self.order.rows(batch)[self._rows]
        return self._collate([None if row == PADDING else self._records[int(row)] for row in rows])

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._closed or self._next >= self._end:
            self.close()
            raise StopIteration
        if self._iterator is None:
            source = _Batches(self.read_batch, self._next, self._end)
            self._iterator = iter(grain.MapDataset.source(source).to_iter_dataset(self._options))
        try:
            batch = next(self._iterator)
        except BaseException:
            self.close()
            raise
        self._next += 1
        return batch

    def close(self) -> None:
        """Stops the readers; what they have read ahead is dropped. A closed stream delivers nothing more."""
        self._closed = True
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            iterator.close()

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Batches:
    """Batches `start` to `end` as the random-access source that Grain's readers index."""

    def __init__(self, read: Callable[[int], Batch], start: int, end: int):
        self._read, self._start, self._end = read, start, end

    def __len__(self) -> int:
        return self._end - self._start

    def __getitem__(self, index: Any) -> Batch:
        return self._read(self._start + int(index))
