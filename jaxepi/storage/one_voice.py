"""Reading checkpoints with orbax: one error where it would tell several, and Ctrl-C that is no error of reading."""

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def with_one_voice(read: Callable[[], T]) -> T:
    """What `read` gives. Of a damaged checkpoint orbax raises one error and prints others, which are not shown here.

    Its arrays are read side by side; when one fails, the others are given up, and tell so at length on stderr: tasks
    that nobody awaits, and threads of tensorstore that find their loop closed, perhaps later.

    Raises:
      ValueError: reading failed; the text is that of the first error.
      KeyboardInterrupt: Ctrl-C came while it was read, of which orbax makes an error of reading.
    """
    logger, hook = logging.getLogger("asyncio"), sys.unraisablehook
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda _: None
    try:
        try:
            with _interrupt_waits():
                return read()
        except KeyboardInterrupt:
            told = None
        except Exception as problem:  # orbax and its storage raise many kinds for damaged files
            told = None if _is_interrupt(problem) else str(problem).strip() or type(problem).__name__
        gc.collect()  # the tasks go now, with the error that held them
        hook = functools.partial(_unless_loop_closed, hook)
    finally:
        logger.setLevel(level)
        sys.unraisablehook = hook
    if told is None:
        raise KeyboardInterrupt
    raise ValueError(told)


@contextlib.contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Ctrl-C in this block has its effect behind it, as orbax would make an error of reading of it; a second one here.

    Raises:
      KeyboardInterrupt: whatever the usual handler raises.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    came: list[tuple[int, Any]] = []

    def note(number: int, frame: Any) -> None:
        came.append((number, frame))
        if len(came) > 1:
            usual(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if len(came) == 1:
        usual(*came[0])


def _is_interrupt(problem: BaseException | None) -> bool:
    """Whether an error comes from Ctrl-C, which also cancels what a loop of asyncio is at."""
    while problem is not None:
        if isinstance(problem, KeyboardInterrupt | asyncio.CancelledError):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def _unless_loop_closed(hook: Callable[[Any], object], unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        hook(unraisable)
