"""A long job that writes a folder: worked on beside its place, locked, resumable only with the same arguments."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import replacing
from jaxepi.storage.lock import hold

PROGRESS = "progress.json"  # of a job that goes on where it was: what of its files is good


def lock_folder(partial: Path) -> IO[str]:
    """Makes the folder in which a job works and holds it; the lock ends with the file or the process.

    Raises:
      JaxepiError: another process works there, or there can be no such folder.
    """
    try:
        partial.mkdir(parents=True, exist_ok=True)
        return hold(partial / "lock")
    except BlockingIOError:
        raise JaxepiError(f"Another process is writing {partial}; wait for it or choose another --out.") from None
    except OSError as problem:
        raise JaxepiError(f"Cannot make {partial} ({problem.strerror or problem}): choose another --out.") from None


def clear_folder(partial: Path, lock: IO[str]) -> None:
    """Removes what a killed job left in a folder that `lock_folder` holds."""
    for left in partial.iterdir():
        if left.name != Path(lock.name).name:
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextlib.contextmanager
def write_errors(out: Path) -> Iterator[None]:
    """Turns a failed write into the sentence that says what is kept and how to go on."""
    try:
        yield
    except OSError as problem:
        raise JaxepiError(
            f"Cannot write {out} ({problem.strerror or problem}); what is done is kept in {out.name}.partial: "
            "make room and run the same command again."
        ) from problem


@contextlib.contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that becomes `out` when the block ends well; what a killed job left is removed.

    Raises:
      JaxepiError: something lies at `out`, another process writes there, or the disk is full.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise JaxepiError(f"{out} is there already: choose another --out or remove it.")
    partial = out.with_name(f"{out.name}.partial")
    try:
        with lock_folder(partial) as lock:
            clear_folder(partial, lock)
            try:
                yield partial
                Path(lock.name).unlink()
                os.replace(partial, out)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as problem:
        raise JaxepiError(
            f"Cannot write {out} ({problem.strerror or problem}): make room or choose another --out, and run again."
        ) from problem


def write_durably(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a small JSON file of a job that holds its folder; a failure is an OSError for `write_errors`."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1))


def read_progress(partial: Path, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an interrupted job said last in its folder; None if it said nothing.

    Raises:
      JaxepiError: it had other arguments (named).
    """
    path = partial / PROGRESS
    if not path.exists():
        return None
    told = json.loads(path.read_text())
    check_same(told["arguments"], arguments, f"{partial} was left by a job", "remove it")
    return told


def save_progress(partial: Path, files: Iterable[IO[bytes]], told: Mapping[str, Any]) -> None:
    """Puts the files on disk and then says so; `told` has `arguments` and what tells how much of the files is good."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())
    write_durably(partial / PROGRESS, told)


def check_same(earlier: Mapping[str, Any], now: Mapping[str, Any], what: str, remedy: str) -> None:
    """Raises JaxepiError naming the first argument that differs from an earlier job's."""
    for key in now:
        if earlier.get(key) != now[key]:
            raise JaxepiError(
                f"{what} with {key} {earlier.get(key)}, not {now[key]}: {remedy}, or choose another --out."
            )


def finished(out: Path, summary_name: str, arguments: Mapping[str, Any], what: str) -> dict[str, Any] | None:
    """The summary of a job that was done with these arguments, None if `out` is still to be made.

    Args:
      out: folder of the results.
      summary_name: the file that is written last.
      arguments: of the job.
      what: for messages, such as "prediction".

    Raises:
      JaxepiError: `out` holds something else, or the result of other arguments (named).
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return _completed(out, summary_name, arguments)
    if not (out / summary_name).is_file():
        raise JaxepiError(f"{out} exists and holds no finished {what}: choose another --out.")
    summary = json.loads((out / summary_name).read_text())
    article = "an" if what[0] in "aeiou" else "a"
    check_same(summary["arguments"], arguments, f"{out} holds {article} {what}", "remove it")
    return summary


def _completed(out: Path, summary_name: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a job that was killed when it had only to be published, which is then done; None if there is none.

    Raises:
      JaxepiError: another process works there.
    """
    partial = out.with_name(f"{out.name}.partial")
    if not (partial / summary_name).is_file():
        return None
    with lock_folder(partial):
        if (partial / PROGRESS).exists() or not (partial / summary_name).is_file():
            return None
        summary = json.loads((partial / summary_name).read_text())
        if summary["arguments"] != json.loads(json.dumps(arguments)):
            (partial / summary_name).unlink()  # the job that begins anew there must not be taken for this one
            return None
        publish(partial, out)
    return summary


def publish(partial: Path, out: Path) -> None:
    """Removes what is only of use for going on from a folder whose summary is written, and gives it its final name."""
    (partial / PROGRESS).unlink(missing_ok=True)  # first what says that the others are good
    for path in partial.glob("*.raw"):
        path.unlink()
    (partial / "lock").unlink(missing_ok=True)
    os.replace(partial, out)


SYNC_SECONDS = 5.0  # work that a kill may cost


def file_names(tracks: Sequence[str]) -> list[str]:
    """Track names that can be file names, all different."""
    names: list[str] = []
    for track in tracks:
        base = name = re.sub(r"[^\w.+-]+", "_", track).lstrip(".") or "track"
        number = 2
        while name.lower() in (other.lower() for other in names):
            name, number = f"{base}_{number}", number + 1
        names.append(name)
    return names


def require_h5py(instead: str = "", what: str = "HDF5") -> Any:
    """The package h5py, which `what` needs; `instead` is what the sentence adds to what can be done without it.

    Raises:
      JaxepiError: it is not installed.
    """
    try:
        import h5py
    except ImportError as problem:
        raise JaxepiError(
            f"h5py is not installed and {what} needs it: pip install 'jaxepi[convert]'{instead}."
        ) from problem
    return h5py
