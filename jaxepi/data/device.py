"""Batches on the devices: copied there by a background thread while the previous step runs, in unchanged order."""

import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxepi.data.stream import BatchStream
from jaxepi.errors import JaxepiError

_POLL_SECONDS = 0.1  # how long the background thread waits at most before it looks whether it should stop


class DeviceBatches:
    """An iterator of dicts of global jax.Arrays, made by `device_batches`; errors of the stream come up in `next`."""

    def __init__(self, stream: BatchStream, sharding: jax.sharding.Sharding, buffer: int):
        self._batch = stream.state()["batch"]
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=buffer)
        self._stop = threading.Event()
        # The thread gets no reference to self, so that an iterator that is dropped unclosed is collected and stops it.
        self._thread = threading.Thread(
            target=_fill, args=(stream, sharding, self._queue, self._stop), name="device-batches", daemon=True
        )
        self._finalizer = weakref.finalize(self, _halt, self._stop, self._thread)
        self._thread.start()

    def state(self) -> dict[str, int]:
        """The next batch that `next` hands out; unlike the stream's own state, without the prefetched ones."""
        return {"batch": self._batch}

    def __iter__(self) -> Iterator[dict[str, jax.Array]]:
        return self

    def __next__(self) -> dict[str, jax.Array]:
        if not self._finalizer.alive:
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, dict):
            self._batch += 1
            return item
        self.close()
        raise item

    def close(self) -> None:
        """Stops the background thread and the stream behind it; batches that were not asked for are dropped."""
        self._finalizer()

    def __enter__(self) -> "DeviceBatches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def device_batches(stream: BatchStream, sharding: jax.sharding.Sharding, buffer: int = 2) -> DeviceBatches:
    """Batches of `stream` as global arrays laid out by `sharding`, whose first axis shards the rows.

    Each process gives its own rows; `buffer` batches are kept ready on the devices. Raises JaxepiError if the devices
    cannot share the batch evenly, or if this process's devices do not hold the rows that its stream reads.
    """
    check_batch(stream.batch_size, sharding, stream.process_index, stream.process_count)
    if buffer < 1:
        raise JaxepiError(f"buffer is {buffer}, but must be at least 1 batch")
    return DeviceBatches(stream, sharding, buffer)


def check_batch_size(batch_size: int, devices: int, accumulate: int = 1, name: str = "batch_size") -> None:
    """Raises JaxepiError unless a global batch divides over devices and accumulation steps; `name` is what it is."""
    unit = devices * accumulate
    if batch_size < 1 or batch_size % unit:
        over = f"{devices} device(s)" + (f" times {accumulate} accumulation steps" if accumulate > 1 else "")
        nearest = max(unit, round(batch_size / unit) * unit)
        raise JaxepiError(
            f"{name} is {batch_size}, but must be a multiple of {unit} ({over}); the nearest that works is {nearest}."
        )


def check_batch(
    batch_size: int, sharding: jax.sharding.Sharding, process_index: int = 0, process_count: int = 1
) -> None:
    """Raises JaxepiError unless `sharding` can lay out `batch_size` rows so that each process holds its own block."""
    devices = len(sharding.device_set)
    check_batch_size(batch_size, devices // sharding.shard_shape((devices,))[0])
    owned = sharding.addressable_devices_indices_map((batch_size,)).values()
    held = {row for index in owned if index is not None for row in range(*index[0].indices(batch_size))}
    share = batch_size // process_count
    if held != set(range(process_index * share, (process_index + 1) * share)):
        raise JaxepiError(
            f"the devices of process {process_index} hold rows {min(held)} to {max(held)} of a batch of {batch_size}, "
            f"but the process reads rows {process_index * share} to {(process_index + 1) * share - 1}: order the mesh "
            "by process and shard rows over all processes"
        )


def _fill(stream: BatchStream, sharding: Any, batches: queue.Queue[Any], stop: threading.Event) -> None:
    """Runs in the background thread: puts batches, then StopIteration or the error that ended the stream."""
    end: BaseException = StopIteration()
    with stream:
        try:
            for batch in stream:
                if not _put(batches, {name: _place(rows, sharding, stream) for name, rows in batch.items()}, stop):
                    return
        except BaseException as error:  # handed to the consumer, whatever it is
            end = error
    _put(batches, end, stop)


def _place(rows: np.ndarray, sharding: Any, stream: BatchStream) -> jax.Array:
    shape = (stream.batch_size, *rows.shape[1:])  # given, so that no process has to ask the others
    return jax.make_array_from_process_local_data(sharding, rows, shape)


def _put(batches: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            batches.put(item, timeout=_POLL_SECONDS)
            return True
        except queue.Full:
            continue
    return False


def _halt(stop: threading.Event, thread: threading.Thread) -> None:
    stop.set()
    if thread is not threading.current_thread():
        thread.join()
