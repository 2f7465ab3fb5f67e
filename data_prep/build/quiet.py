"""Keeps TensorFlow's start-up messages away from the user, and says in one sentence when it is not installed."""

import contextlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from jaxepi.errors import JaxepiError

# Loggers and what they may say; Beam logs a worker's error with its traceback, and then raises it.
_CHATTY = {"absl": logging.ERROR, "apache_beam": logging.CRITICAL}
NEEDED = ("tensorflow_datasets", "tensorflow")


def require(*packages: str) -> None:
    """Raises JaxepiError if one of the packages is not installed."""
    missing = next((p for p in packages if importlib.util.find_spec(p) is None), None)
    if missing is not None:
        raise JaxepiError(f"{missing} is not installed and writing datasets needs it: run pip install 'jaxepi[prep]'")


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Loads TensorFlow silently if it is not loaded yet, and hides what TFDS prints while the block runs."""
    require(*NEEDED)
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _closed_stderr():
            import tensorflow  # noqa: F401
    levels = {name: logging.getLogger(name).level for name in _CHATTY}
    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _closed_stderr() -> Iterator[None]:
    """Sends the file descriptor of stderr to nowhere: the C++ side writes there before its log level is known."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
