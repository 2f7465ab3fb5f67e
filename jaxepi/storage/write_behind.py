"""Writing while the next thing is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

WAITING = 2  # writes that may be behind, so that memory is bounded


class WriteBehind:
    """One thread that does what is submitted, in order; a mistake is raised by a later submission, or at the end."""

    def __enter__(self) -> Self:
        self._thread, self._waiting = ThreadPoolExecutor(1), list[Future[None]]()
        return self

    def submit(self, write: Callable[[], None]) -> None:
        """Returns at once, unless too many are waiting."""
        self._waiting.append(self._thread.submit(write))
        if len(self._waiting) > WAITING:
            self._waiting.pop(0).result()

    def __exit__(self, kind: Any, *_: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        while self._waiting and kind is None:
            self._waiting.pop(0).result()
