"""A folder beside the final place: work happens there, one rename publishes it, and no ending leaves it behind."""

import glob
import os
import shutil
import signal
import socket
import tempfile
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

from jaxepi.errors import JaxepiError
from jaxepi.storage.lock import hold

_LOCK = "lock"


class BuildFolder:
    """`<out>.tmp-<host>-<pid>`, locked while its process lives: those of dead processes are recognised and removed.

    SIGINT and SIGTERM become KeyboardInterrupt while the place is open, and leaving it removes the folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out.absolute()
        self.folder = self.out.with_name(f"{self.out.name}.tmp-{socket.gethostname()}-{os.getpid()}")
        self._lock: IO[str] | None = None
        self._handler: Any = None
        self._tempdir: str | None = None

    def __enter__(self) -> "BuildFolder":
        if (name := remove_stale(self.out)) is not None:
            raise JaxepiError(f"another data_prep is writing {self.out} ({name}): wait for it, or choose another --out")
        try:
            self.folder.mkdir(parents=True)
            self._lock = hold(self.folder / _LOCK, wait=True)
        except OSError as error:
            raise JaxepiError(f"{self.folder} cannot be made ({error.strerror}): choose another --out") from error
        # TFDS leaves temporary folders behind: let them be made here.
        self._tempdir, tempfile.tempdir = tempfile.tempdir, str(self.folder)
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
        tempfile.tempdir = self._tempdir
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def publish(self, made: Path, replace: bool) -> None:
        """Renames `made` (inside the folder) to the final place; with `replace` what is there goes first."""
        if self.out.exists() and any(self.out.iterdir()) and not replace:
            raise JaxepiError(
                f"{self.out} appeared while its dataset was being made: choose another --out, or use --overwrite"
            )
        old = self.folder / "replaced"
        if self.out.exists():
            self.out.rename(old)
        try:
            made.rename(self.out)
        except OSError:
            if old.exists():
                old.rename(self.out)
            raise


def remove_stale(out: Path) -> str | None:
    """Removes what killed processes left beside `out`; the name of the folder of one that lives, None if there is none.

    A process may be killed when its dataset is in place and its own folder is not yet removed, so that a command which
    finds its dataset made has this to do too.
    """
    out, busy = out.absolute(), None
    for folder in out.parent.glob(f"{glob.escape(out.name)}.tmp-*"):
        try:
            hold(folder / _LOCK).close()
        except BlockingIOError:
            busy = folder.name
        except OSError:
            continue  # not a build folder
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return busy


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
