"""Programs that start in milliseconds, to be killed at a chosen moment: a process that has imported everything forks.

`Server("launch", ...)` holds such a process; `Server.run` forks one program from it and may kill it and all its
children, after some seconds or when it is about to do its nth change to a folder. A forked program has a fresh jax: the
server itself never makes an array. Run as a program, this file is the server.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

# Program -> the module of its main(argv), and its name on the command line.
PROGRAMS = {
    "launch": ("jaxepi.verbs.command", "launch.py"),
    "prep": ("data_prep.__main__", "data_prep"),
    "toys": ("benchmarks.fault_campaign.toys", "toys"),
}
# Kind of server -> packages of which it imports every module, and what they would import late.
SERVERS = {
    "launch": (("jaxepi", "configs"), ("orbax.checkpoint", "tensorboardX", "h5py", "matplotlib.figure")),
    "prep": (("data_prep",), ("tensorflow", "benchmarks.fault_campaign.toys")),
}
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
_GRACE = 60.0  # seconds in which a program must end after SIGTERM or SIGINT


@dataclasses.dataclass(frozen=True)
class Kill:
    """A signal to a program and its children: after `seconds`, or before its `change`th change to the folder."""

    signal: int = signal.SIGKILL
    seconds: float | None = None
    change: int | None = None

    def __str__(self) -> str:
        when = f"after {self.seconds:.3f} s" if self.change is None else f"before change {self.change}"
        return f"{signal.Signals(self.signal).name} {when}"


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
      status: what it left with; negative: the signal that ended it.
      seconds: how long it ran.
      changes: how often it opened a file of the folder for writing, moved or removed one; None if it was killed.
      first: seconds until the first of these.
      hit: whether the signal came before the end.
      hung: it did not end in time and was killed for that.
    """

    status: int
    seconds: float
    changes: int | None
    first: float | None
    hit: bool
    hung: bool = False


class Server:
    """A process that forks programs, one at a time."""

    def __init__(self, kind: str, environment: dict[str, str]):
        """`kind`: one of SERVERS; `environment` of all that it starts."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fault_campaign.fork", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        self._lines = b""

    def run(
        self,
        program: str,
        words: list[str],
        folder: Path,
        log: Path,
        kill: Kill | None = None,
        limit: float = 600.0,
        constants: dict[str, float] | None = None,
    ) -> Ended:
        """One program from its start to its end.

        Args:
          program: one of PROGRAMS.
          words: behind the program's name.
          folder: it runs in here, and its changes below here are counted.
          log: a file outside of `folder` that takes what it prints.
          kill: when to kill it; None lets it finish.
          limit: seconds that it may take.
          constants: of the project's modules, set to other values for this program.
        """
        report = log.with_suffix(".changes")
        report.unlink(missing_ok=True)
        order = {"program": program, "words": words, "folder": str(folder), "log": str(log), "report": str(report)}
        order["constants"] = constants or {}
        if kill is not None and kill.change is not None:
            order |= {"change": kill.change, "signal": kill.signal}
        self._send(order)
        pid, begin = self._receive()["pid"], time.monotonic()
        ended, signalled, hung = None, None, False
        if kill is not None and kill.seconds is not None:
            ended = self._receive(kill.seconds)
            if ended is None:
                _signal_group(pid, kill.signal)
                signalled = kill.signal
        if ended is None:
            ended = self._receive(limit if signalled is None else _GRACE)
        if ended is None:
            hung = True
            _signal_group(pid, signal.SIGKILL)
            ended = self._receive()
        seconds = time.monotonic() - begin
        _signal_group(pid, signal.SIGKILL)  # children that outlive their parent
        told = json.loads(report.read_text()) if report.exists() else {}
        hit = signalled is not None or told.get("hit", False)
        return Ended(ended["status"], seconds, told.get("changes"), told.get("first"), hit, hung)

    def _send(self, order: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def _receive(self, seconds: float | None = None) -> dict[str, Any] | None:
        """The next line of the server; None if there is none within `seconds`."""
        until = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._lines:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            if not select.select([self._process.stdout], [], [], left)[0]:
                return None
            piece = os.read(self._process.stdout.fileno(), 65536)
            if not piece:
                raise RuntimeError("the process that forks programs has ended")
            self._lines += piece
        line, _, self._lines = self._lines.partition(b"\n")
        return json.loads(line)

    def close(self) -> None:
        """Ends the server."""
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Changes:
    """Counts a process's changes below a folder, and signals its whole group before a chosen one."""

    def __init__(self, order: dict[str, Any]):
        self.count, self._began, self._first = 0, time.monotonic(), None
        self._folder, self._report = os.path.realpath(order["folder"]) + os.sep, order["report"]
        self._change, self._signal, self._pid = order.get("change"), order.get("signal"), os.getpid()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        if isinstance(path, int) or os.getpid() != self._pid:
            return
        if os.path.abspath(os.fsdecode(path)).startswith(self._folder):
            self.count += 1
            self._first = self._first or time.monotonic() - self._began
            if self.count == self._change:
                self.tell(hit=True)
                os.killpg(0, self._signal)

    def tell(self, hit: bool = False) -> None:
        """Leaves the count for the server's user."""
        with open(self._report, "w") as file:
            hit = hit or (self._change is not None and self._change <= self.count)
            json.dump({"changes": self.count, "first": self._first, "hit": hit}, file)


def _serve(kind: str) -> None:
    """Reads orders from stdin, one a line, forks, and writes the process's number and then its status to stdout."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints while it is imported is no answer
    packages, modules = SERVERS[kind]
    for package in packages:
        path = importlib.import_module(package).__path__
        modules += tuple(module.name for module in pkgutil.walk_packages(path, f"{package}."))
    with _silence():
        for module in modules:
            importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it waits until the program's main can take it
        pid = os.fork()
        if pid == 0:
            answers.close()
            _program(order)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        print(json.dumps({"pid": pid}), file=answers)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), file=answers)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Sends stderr to nowhere: libraries tell there of what they find on the machine."""
    kept = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)


def _program(order: dict[str, Any]) -> None:
    """The forked process: becomes the program and never returns."""
    status = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        os.chdir(order["folder"])
        for number, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
            (2, order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ):
            os.dup2(os.open(path, flags), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        place, name = PROGRAMS[order["program"]]
        sys.argv = [name, *order["words"]]
        changes = Changes(order)
        for name, value in order["constants"].items():
            for module in [module for key, module in sys.modules.items() if key.startswith("jaxepi")]:
                if hasattr(module, name):
                    setattr(module, name, value)
        sys.addaudithook(changes)
        main = importlib.import_module(place).main
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        except KeyboardInterrupt:
            os._exit(130)
        try:
            status = main(order["words"])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        changes.tell()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


if __name__ == "__main__":
    _serve(sys.argv[1])
