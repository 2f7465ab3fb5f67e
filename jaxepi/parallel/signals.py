"""Ctrl-C while the main thread is inside a library, where Python's own handlers wait: a compiler may take minutes."""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any

from jaxepi.console import INTERRUPTED

GRACE = 1.0  # seconds that the main thread has to come back to Python
CLEANING = 10.0  # seconds that the block has to end once its handler has raised; libraries may swallow that
_JUST_NOW = 0.5  # seconds between a handler that ran and the note of its signal, at most
_END = b"\0"  # no signal has this number

Handler = Callable[[int, FrameType | None], Any]


@contextlib.contextmanager
def handling(numbers: Collection[int], handler: Handler, may_leave: Callable[[int], bool]) -> Iterator[None]:
    """Handles signals in this block; a process that cannot hear them is ended where that loses nothing.

    Args:
      numbers: the signals.
      handler: is called as `signal.signal` does, in the main thread once it is in Python.
      may_leave: (signals that came in this block) -> whether the process may end at once, if the handler was not
        called within `GRACE` seconds, or has raised and the block has not ended within `CLEANING` seconds.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are somebody else's
        yield
        return
    heard, ended, raised = [-math.inf], threading.Event(), threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        heard[0] = time.monotonic()
        try:
            handler(number, frame)
        except BaseException:
            raised.set()
            raise

    def watch(end: int) -> None:
        came = 0
        while (told := os.read(end, 1)) not in (_END, b""):
            if told[0] not in numbers:
                continue
            came, since = came + 1, time.monotonic() - _JUST_NOW
            ended.wait(GRACE)
            if heard[0] >= since:
                if not raised.is_set():
                    continue
                ended.wait(CLEANING)
            if not ended.is_set() and may_leave(came):
                print("\ninterrupted", file=sys.stderr, flush=True)
                os._exit(INTERRUPTED)

    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    watcher = threading.Thread(target=watch, args=(read_end,), daemon=True)
    handlers = {number: signal.signal(number, note) for number in numbers}
    before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        for number, old in handlers.items():
            signal.signal(number, old)
        os.write(write_end, _END)
        watcher.join()
        os.close(read_end)
        os.close(write_end)


@contextlib.contextmanager
def collected(may_leave: Callable[[], bool]) -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM, so that a loop can end after a whole step; a second one ends it at once.

    Where it `may_leave`, as before and during the compilation of its first step, the first one does.

    Raises:
      KeyboardInterrupt: at once, in the block.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen or may_leave():
            raise KeyboardInterrupt
        seen.append(number)
        print("\nstopping after this step; the checkpoint is being saved", file=sys.stderr, flush=True)

    def ends(came: int) -> bool:
        return came > 1 or may_leave()

    with handling((signal.SIGINT, signal.SIGTERM), note, ends):
        yield seen
