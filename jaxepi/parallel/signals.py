"""Ctrl-C while the main thread is inside a library, where Python's own handlers wait: a compiler may take minutes."""

import contextlib
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
_JUST_NOW = 0.5  # seconds between a handler that ran and the note of its signal, at most
_END = b"\0"  # no signal has this number

Handler = Callable[[int, FrameType | None], Any]


@contextlib.contextmanager
def handling(
    numbers: Collection[int], handler: Handler, may_leave: Callable[[int], bool], text: str = "\ninterrupted"
) -> Iterator[None]:
    """Handles signals in this block; a process that cannot hear them is ended where that loses nothing.

    Args:
      numbers: the signals.
      handler: is called as `signal.signal` does, in the main thread once it is in Python.
      may_leave: (signals that came in this block) -> whether the process may end at once, if the handler was not
        called within `GRACE` seconds.
      text: is then printed.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are somebody else's
        yield
        return
    handled = [-_JUST_NOW]

    def note(number: int, frame: FrameType | None) -> None:
        handled[0] = time.monotonic()
        handler(number, frame)

    def watch(end: int) -> None:
        came = 0
        while (told := os.read(end, 1)) not in (_END, b""):
            if told[0] in numbers:
                came, since = came + 1, time.monotonic() - _JUST_NOW
                while handled[0] < since and time.monotonic() < since + _JUST_NOW + GRACE:
                    time.sleep(0.02)
                if handled[0] < since and may_leave(came):
                    print(text, file=sys.stderr, flush=True)
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

    During a compilation no handler runs: the first signal ends the process then if it `may_leave`, the second in any
    case.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        print("\nstopping after this step; the checkpoint is being saved", file=sys.stderr, flush=True)

    def ends(came: int) -> bool:
        return came > 1 or may_leave()

    with handling((signal.SIGINT, signal.SIGTERM), note, ends, "\nrun the same command again to go on"):
        yield seen
