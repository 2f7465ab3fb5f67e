"""What every program of the project does with a mistake: one sentence and exit status 2; Ctrl-C is 130."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from jaxepi.errors import JaxepiError

MISTAKE, INTERRUPTED = 2, 130


@contextlib.contextmanager
def one_sentence_errors(interrupted: str = "interrupted") -> Iterator[None]:
    """Prints a `JaxepiError` as one line and leaves with status 2; Ctrl-C leaves with 130. Nothing else is hidden.

    Args:
      interrupted: what is printed after Ctrl-C.

    Raises:
      SystemExit: after a `JaxepiError` or Ctrl-C, with the status.
    """
    try:
        yield
    except JaxepiError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(INTERRUPTED)


def exit_status(work: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Runs `work` and returns the status to leave with: its own, 0 for None, 2 for a mistake or 130 for Ctrl-C."""
    try:
        with one_sentence_errors(interrupted):
            return work() or 0
    except SystemExit as end:  # ours, or that of a parser that has printed its help or its complaint
        return end.code if isinstance(end.code, int) else int(end.code is not None)
