"""Malformed inputs at every door: each must be told in one sentence, or change nothing.

A case is a small valid input with one change that the seed draws, listed in `prep`, `models` and
`weights`. It ends in a sentence (a `JaxepiError`, or exit status 2 with one line), a traceback, or a result,
which is silent unless the change is a harmless one and the result that of the valid input. Cases run in a process of
their own, so that one that ends the process, or never ends, is counted too.
"""

import contextlib
import gzip
import hashlib
import io
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_campaign import coverage, epiformer, models, prep, weights, worlds
from benchmarks.fault_campaign.changes import EITHER, REFUSED, SAME, UNPROTECTED, Case, Change, copied
from benchmarks.fault_campaign.prep import Door
from jaxepi.errors import JaxepiError

LONGEST = 300  # seconds that a case may take
_COUNTS = ("tried", "sentences", "tracebacks", "silent", "accepted", "refused")
_TELLS = re.compile(r"^warning: |left out$", re.MULTILINE)  # a line about input that was passed over
# A sentence without any of these names neither file nor value.
_NAMES_SOMETHING = re.compile(r"[/'\"\d]|--|config|given|has no|verb|\w_\w")


class Traceback(Exception):
    """A program failed in another way than by a sentence."""


# Of the process that tries cases: small models compile quickly, and no accelerator is touched.
_WORKER = {
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
}


@dataclass(frozen=True)
class Outcome:
    """What came of a case: one of `_COUNTS` but tried, and the words for the list where it is wrong."""

    what: str
    told: str


def run(
    folder: Path, seed: int, count: int, deadline: float | None, report: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Tries malformed inputs.

    Args:
      folder: where the valid inputs are made, and the cases; what is there of an earlier call with this seed is used.
      seed: of the choice of changes and of their places.
      count: how many.
      deadline: `time.monotonic()` after which no case is begun; None: none.
      report: is told each case that went wrong.

    Returns:
      kind -> {"tried", "sentences", "tracebacks", "silent", "accepted" (harmless changes, rightly read), "refused"
      (harmless changes that were not read), "cases": the text of each wrong one}.
    """
    totals: dict[str, dict[str, Any]] = {}
    chosen = drawn(all_doors(), seed, count)
    number = 0
    while number < len(chosen):
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        worker = multiprocessing.get_context("spawn").Process(target=_work, args=(folder, seed, count, number, theirs))
        with _environment(_WORKER | {"JAX_COMPILATION_CACHE_DIR": str(folder / "programs")}):
            worker.start()
        theirs.close()
        try:
            while number < len(chosen):
                if deadline is not None and time.monotonic() > deadline:
                    return totals
                door, change = chosen[number]
                outcome = _answer(ours, worker)
                number += 1
                _count(totals, door, change, outcome, report)
        except EOFError:  # the process ended without an answer
            number += 1
            worker.join(10)
            _count(totals, door, change, Outcome("tracebacks", f"the process ended ({worker.exitcode})"), report)
        finally:
            worker.kill()
            worker.join()
    return totals


def _answer(pipe: Connection, worker: Any) -> Outcome:
    """The next outcome; EOFError if the process ends or takes too long first."""
    if not pipe.poll(LONGEST if worker.is_alive() else 0):
        raise EOFError
    return pipe.recv()


def _count(
    totals: dict[str, dict[str, Any]], door: Door, change: Change, outcome: Outcome, report: Callable[[str], None]
) -> None:
    own = totals.setdefault(door.kind, dict.fromkeys(_COUNTS, 0) | {"cases": []})
    own["tried"] += 1
    own[outcome.what] += 1
    if outcome.what not in ("sentences", "accepted"):
        own["cases"].append(f"{outcome.what}: {door.kind} {door.name}, {change.name}: {outcome.told}")
        report(own["cases"][-1])


def _work(folder: Path, seed: int, count: int, first: int, pipe: Connection) -> None:
    """Tries the cases from `first` on and sends their outcomes."""
    campaign = Campaign(folder, seed)
    for number, (door, change) in enumerate(drawn(all_doors(), seed, count)):
        if number >= first:
            pipe.send(campaign.attempt(door, change, number))


def all_doors() -> list[Door]:
    """Every door, with the programs behind it."""
    return [
        *prep.doors(prepared),
        *coverage.doors(prepared),
        *epiformer.doors(prepared),
        *models.doors(launched, predicted, collated, loaded),
        *weights.doors(loaded),
    ]


def drawn(doors: Sequence[Door], seed: int, count: int) -> list[tuple[Door, Change]]:
    """So many cases: all of them in a random order, as often as it takes; a change comes with other places each time.

    Doors of the kinds take turns, so that a short campaign meets all kinds.
    """
    random = np.random.default_rng(seed)
    every = [(door, change) for door in doors for change in door.changes]
    chosen: list[tuple[Door, Change]] = []
    while len(chosen) < count:
        by_kind: dict[str, list[tuple[Door, Change]]] = {}
        for place in random.permutation(len(every)):
            by_kind.setdefault(every[place][0].kind, []).append(every[place])
        ranked = [(rank / len(own), pair) for own in by_kind.values() for rank, pair in enumerate(own)]
        chosen += [pair for _, pair in sorted(ranked, key=lambda entry: entry[0])]
    return chosen[:count]


class Campaign:
    """Valid inputs on disk with their results, and attempts to spoil them."""

    def __init__(self, folder: Path, seed: int):
        """`folder` holds the valid inputs, made when a case asks for them, and the cases."""
        self.base, self.seed = folder / "valid", seed
        self._valid: dict[tuple[str, str], Any] = {}

    def attempt(self, door: Door, change: Change, number: int) -> Outcome:
        """Tries one change at one door; `number` makes its places its own."""
        expected = self._expected(door) if change.outcome in (SAME, EITHER) else None
        with self._case(door) as case:
            details = change.apply(case, np.random.default_rng([self.seed, number]))
            before = _left(case, door)
            outcome = self._outcome(door, change, case, expected)
            if outcome.what == "sentences" and not before and _left(case, door):
                outcome = Outcome("silent", f"it left {door.output} behind")
        return replace(outcome, told=f"{details or ''} ({outcome.told})")

    def _outcome(self, door: Door, change: Change, case: Case, expected: Any) -> Outcome:
        try:
            with _captured(case.folder / "cache") as printed:
                result = door.enter(case)
        except JaxepiError as problem:
            text = str(problem)
            if change.outcome == SAME:
                return Outcome("refused", text)
            named = _NAMES_SOMETHING.search(text) and text.strip() and "\n" not in text.strip()
            return Outcome("sentences" if named else "tracebacks", text or "no text")
        except Traceback as problem:
            return Outcome("tracebacks", str(problem))
        except BaseException as problem:
            last = "; ".join(line.strip() for line in traceback.format_exc().splitlines()[-5:])
            return Outcome("tracebacks", f"{type(problem).__name__}: {problem} [{last}]")
        if "Traceback (most recent call last)" in printed():
            return Outcome("tracebacks", printed()[-600:])
        told = change.outcome == EITHER and _TELLS.search(printed())
        if change.outcome == UNPROTECTED or told or (change.outcome in (SAME, EITHER) and result == expected):
            return Outcome("accepted", "")
        return Outcome("silent", "another result" if change.outcome != REFUSED else "a result")

    def _expected(self, door: Door) -> Any:
        """What the valid input gives."""
        key = door.kind, door.name
        if key not in self._valid:
            with self._case(door) as case, _captured(case.folder / "cache"):
                self._valid[key] = door.enter(case)
        return self._valid[key]

    @contextlib.contextmanager
    def _case(self, door: Door) -> Iterator[Case]:
        """A folder with copies of the files of a door, always of the same name in a process, as results tell paths."""
        folder = self.base.parent / f"case{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        for source, place in door.files:
            parts = Path(source).parts
            part = f"{parts[0]}/{parts[1]}" if parts[0] in (*worlds.SYSTEMS, "weights") else parts[0]
            with _captured(self.base.parent / "cache"):
                worlds.make(self.base, part, self.seed, _program)
            copied(self.base / source, folder / place)
        folder.mkdir(exist_ok=True)
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield Case(folder, worlds.line(door.words, folder))
        finally:
            os.chdir(before)
            shutil.rmtree(folder, ignore_errors=True)


def _left(case: Case, door: Door) -> bool:
    place = case.folder / door.output
    return place.exists() and (place.is_file() or any(place.iterdir()))


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment, for the block."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _captured(cache: Path) -> Iterator[Callable[[], str]]:
    """What the block prints, also from C; its user's cache is a folder of the case."""
    place = tempfile.TemporaryFile("w+b")
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    for number, _ in kept:
        os.dup2(place.fileno(), number)

    def printed() -> str:
        place.seek(0)
        return place.read().decode(errors="replace")

    out = io.TextIOWrapper(os.fdopen(os.dup(place.fileno()), "wb", 0), write_through=True)
    try:
        quiet = contextlib.redirect_stdout(out), contextlib.redirect_stderr(out)
        with _environment({"XDG_CACHE_HOME": str(cache)}), quiet[0], quiet[1]:
            yield printed
    finally:
        for number, own in kept:
            os.dup2(own, number)
            os.close(own)


def _program(main: Callable[[Sequence[str]], int], words: Sequence[str]) -> None:
    """Runs a program in this process.

    Raises:
      JaxepiError: it ended with status 2 and one sentence, which is the text.
      Traceback: it failed otherwise.
    """
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        status = main(words)
    text = out.getvalue()
    sys.stderr.write(text)  # where warnings are looked for
    errors = [
        line for line in text.splitlines() if re.match(r"(\S+ \S+ \S+: )?error: |python -m \S+ \S+: error: ", line)
    ]
    if "Traceback (most recent call last)" in text or (status and (status != 2 or len(errors) != 1)):
        place = max(text.find("Traceback (most recent call last)"), 0)
        raise Traceback(f"status {status}: {text[place:][-2000:]!r}")
    if status:
        raise JaxepiError(errors[0])


def prepared(case: Case) -> str:
    """Runs data preparation and digests its records."""
    from data_prep.__main__ import main
    from jaxepi.data import open_dataset

    _program(main, case.words)
    dataset = open_dataset(case.folder / "out")
    digest = hashlib.sha256(repr(dataset.manifest["tracks"]).encode())
    for name in dataset.splits:
        split = dataset.split(name)
        for number in range(len(split)):
            _add(digest, split[number])
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Adds nested values to a digest."""
    if isinstance(value, dict):
        for key in sorted(value):
            digest.update(str(key).encode())
            _add(digest, value[key])
    else:
        array = np.asarray(value)
        digest.update(
            f"{array.dtype} {array.shape}".encode()
            + (repr(value).encode() if array.dtype.kind in "OU" else array.tobytes())
        )


def launched(case: Case) -> str:
    """Runs the program; all ends that are no mistake are alike."""
    from jaxepi.verbs.command import main

    _program(main, case.words)
    return "done"


def predicted(case: Case) -> str:
    """Runs the program and digests the tables that it wrote."""
    launched(case)
    digest = hashlib.sha256()
    for path in sorted((case.folder / "out").rglob("*.tsv*")):
        content = path.read_bytes()
        digest.update(path.name.encode() + (gzip.decompress(content) if path.suffix == ".gz" else content))
    return digest.hexdigest()


def collated(case: Case) -> str:
    """Opens the dataset, reads each record and collates it as a task of the system does; digests the batches."""
    from jaxepi.data import open_dataset
    from jaxepi.registry import get_system, task_of

    (name,) = case.words
    dataset = open_dataset(case.folder / "dataset")
    digest = hashlib.sha256(repr(sorted(dataset.splits.items())).encode())
    task = None
    if name in worlds.SYSTEMS:
        toy = get_system(name).toy(0, 0)
        task = task_of(get_system(name), {**toy.model}, toy.task, dataset.manifest)
        digest.update(repr((task.tracks, task.window)).encode())
    for part in dataset.splits:
        split = dataset.split(part)
        for number in range(len(split)):
            record = split[number]
            _add(digest, record if task is None else task.collate([record]))
        split.close()
    return digest.hexdigest()


def loaded(case: Case) -> str:
    """Loads a run or a file of weights; digests weights, tracks and sizes."""
    import jaxepi
    from jaxepi.pretrained.table import weights_digest

    predictor = jaxepi.load(case.words[0])
    return repr((weights_digest(predictor.model), predictor.tracks, predictor.model.config))
