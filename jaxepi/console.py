"""The frame of every program: what is wrong is told in one line, and leaves with a status.

0 done, 1 a mistake of the program (with `--debug` its traceback), 2 a mistake of the user or the machine, 130 Ctrl-C.
"""

import _thread
import contextlib
import errno
import gzip
import io
import os
import sys
import threading
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError

UNFORESEEN, MISTAKE, INTERRUPTED = 1, 2, 130
DEBUG = "--debug"  # an option of every verb and command: tracebacks are shown
_OUR_FOLDERS = tuple(str(Path(__file__).parents[1] / name) + os.sep for name in ("jaxepi", "data_prep", "configs"))
_UNPACKING = (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError)
_AGAIN = 0.05  # seconds
_FULL = (errno.ENOSPC, errno.EDQUOT)


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


def exit_status(
    work: Callable[[], int | None], interrupted: str = "interrupted", doing: str = "", debug: bool = False
) -> int:
    """Runs `work` and returns the status to leave with; every exception is one line.

    Args:
      work: returns its own status, None for 0.
      interrupted: what is printed after Ctrl-C.
      doing: the command, for what nobody foresaw.
      debug: print tracebacks before the line.
    """
    try:
        with one_sentence_errors(interrupted), _library_errors(doing, debug), _no_interrupt_is_lost():
            return work() or 0
    except SystemExit as end:  # ours, or that of a parser that has printed its help or its complaint
        return end.code if isinstance(end.code, int) else int(end.code is not None)


@contextlib.contextmanager
def _no_interrupt_is_lost() -> Iterator[None]:
    """Sends Ctrl-C again that came in a destructor or a callback of the collector, where Python forgets it."""
    usual = sys.unraisablehook

    def told(problem: Any) -> None:
        if problem.exc_type is KeyboardInterrupt:
            again = threading.Timer(_AGAIN, _thread.interrupt_main)  # at once it would be raised, and lost, in here
            again.daemon = True
            again.start()
        else:
            usual(problem)

    sys.unraisablehook = told
    try:
        yield
    finally:
        sys.unraisablehook = usual


@contextlib.contextmanager
def _library_errors(doing: str, debug: bool) -> Iterator[None]:
    """Makes a `JaxepiError` of what libraries often raise, and one line of everything else."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # who read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(MISTAKE)
    except Exception as problem:
        if debug:
            traceback.print_exception(problem)
        if isinstance(problem, JaxepiError):
            raise
        sentence = sentence_of(problem)
        if sentence is not None:
            raise JaxepiError(sentence) from problem
        print(f"error: {unforeseen(problem, doing)}", file=sys.stderr)
        sys.exit(UNFORESEEN)


def sentence_of(problem: BaseException) -> str | None:
    """What an error of a library means, in one sentence; None if that cannot be known."""
    if isinstance(problem, _UNPACKING):
        file = _file_at_hand(problem) or "A packed file that was read"
        return f"{file} is damaged or no whole archive ({_line(problem)}); copy it again from its source."
    if isinstance(problem, UnicodeDecodeError):
        file = _file_at_hand(problem) or "A file that was read"
        return (
            f"{file} is no text in UTF-8 (byte {problem.start} of what was read is {problem.object[problem.start]:#x})."
        )
    if isinstance(problem, OSError):
        return _sentence_of_system(problem)
    if isinstance(problem, MemoryError) or "RESOURCE_EXHAUSTED" in str(problem):
        return (
            f"The memory is not enough ({_line(problem) or 'out of memory'}); take a smaller batch or a larger machine."
        )
    return None


def _sentence_of_system(problem: OSError) -> str | None:
    """Of an error that the operating system told."""
    place = problem.filename2 or problem.filename
    if problem.errno in _FULL:
        where = f" where {place} is to be written" if place else ""
        return f"The disk{where} is full; make room, and run the same command again."
    if place is None or isinstance(place, int):
        return None
    if isinstance(problem, PermissionError):
        return f"{place} may not be read or written by this user (permission denied); change its rights, or the place."
    if isinstance(problem, FileNotFoundError):
        return f"{place} is not there; give the path of a file or folder that is."
    if isinstance(problem, IsADirectoryError):
        return f"{place} is a folder, but a file was expected."
    if isinstance(problem, NotADirectoryError):
        return f"{place} goes through a file as if it was a folder; give another path."
    return f"{place} cannot be read or written ({problem.strerror or problem})."


def unforeseen(problem: BaseException, doing: str) -> str:
    """One line about an exception that nobody foresaw: what it is, where, and how to report it."""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if _is_ours(frame.filename)]
    where = f" in {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    file = _file_at_hand(problem)
    at = f", at {file}" if file else ""
    return (
        f"{doing or 'The program'} failed{where}{at} with {type(problem).__name__}: {_line(problem)} - this should not "
        f"happen: please report this line, with what the same command prints with {DEBUG}."
    )


def _line(problem: BaseException) -> str:
    text = " ".join(str(problem).split()).rstrip(".")
    return text if len(text) <= 300 else f"{text[:300]}..."


def _file_at_hand(problem: BaseException) -> str | None:
    """The file that the innermost functions had open or named when a library gave up, up to the first of ours."""
    steps = list(traceback.walk_tb(problem.__traceback__))
    for frame, _ in reversed(steps):
        for value in frame.f_locals.values():
            with contextlib.suppress(Exception):  # of objects that are half made
                name = value.name if isinstance(value, io.IOBase) else str(value) if isinstance(value, Path) else None
                if isinstance(name, str) and Path(name).is_file():
                    return name
        if _is_ours(frame.f_code.co_filename):
            return None
    return None


def _is_ours(file: str) -> bool:
    return file.startswith(_OUR_FOLDERS) and file != __file__
