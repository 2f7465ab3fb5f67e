"""A lock on a file, which ends with the process that holds it, however that ends."""

import fcntl
from pathlib import Path
from typing import IO


def hold(path: Path, *, wait: bool = False) -> IO[str]:
    """Opens the lock file, made if it is missing, and holds it until the file is closed or the process ends.

    Raises:
      BlockingIOError: another process holds it; `wait` waits for it instead.
      OSError: there can be no such file, or no locks.
    """
    file = open(path, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file
