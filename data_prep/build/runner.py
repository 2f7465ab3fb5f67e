"""Runs blocks of a recipe over processes; results come back in the order of the blocks, whatever the number of them."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

from data_prep.build.recipe import Block, BlockResult
from jaxepi.errors import JaxepiError

BlockMap = Callable[[Iterable[Block]], Iterator[BlockResult]]


class Work(Protocol):
    """What makes results of blocks: a recipe, or anything else that survives pickling."""

    def make_block(self, block: Block) -> BlockResult: ...


# Results that wait to be written; bounds the memory of the main process.
_IN_FLIGHT_PER_PROCESS = 2

_recipe: Work | None = None  # of a worker process


def available_processes() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker(recipe: Work) -> None:
    global _recipe
    _recipe = recipe
    # Ctrl-C reaches the whole group; the main process decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A worker must not outlive a killed parent: it would wait for work for ever.
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _work(block: Block) -> BlockResult:
    assert _recipe is not None
    return _recipe.make_block(block)


@contextmanager
def block_map(recipe: Work, processes: int) -> Iterator[BlockMap]:
    """A function that turns blocks into results, in order; with one process it works in this one.

    Processes are spawned, not forked: a forked FASTA handle shares its file position with its siblings.
    """
    if processes <= 1:
        yield lambda blocks: map(recipe.make_block, blocks)
        return
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(recipe,)
    )
    try:
        yield lambda blocks: _ordered(pool, blocks, _IN_FLIGHT_PER_PROCESS * processes)
    except BrokenProcessPool as error:
        raise JaxepiError(
            "a data_prep process was killed, most likely for want of memory: use fewer --processes"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ordered(pool: ProcessPoolExecutor, blocks: Iterable[Block], in_flight: int) -> Iterator[BlockResult]:
    """Results in order. The first blocks are handed out at once, before anyone asks for a result."""
    remaining = iter(blocks)
    # Processes start here. Until each ignores Ctrl-C by itself, it inherits that the signal waits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        waiting = deque(pool.submit(_work, block) for block in islice(remaining, in_flight))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return _drain(pool, waiting, remaining)


def _drain(
    pool: ProcessPoolExecutor, waiting: deque[Future[BlockResult]], remaining: Iterator[Block]
) -> Iterator[BlockResult]:
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(_work, block) for block in islice(remaining, 1))
        yield result
