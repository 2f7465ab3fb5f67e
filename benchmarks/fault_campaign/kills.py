"""The kill campaign of `benchmarks/faults.py`: programs that write are killed and started again, and their files read.

Each kind of program runs once without interruption. Then cases: a fresh folder, one to three starts that are killed at
a random moment (SIGKILL; now and then SIGTERM or SIGINT), the folder read after each, one start that may finish, and
the folder compared with that of the uninterrupted run. See checks for what counts as wrong.
"""

import contextlib
import dataclasses
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_campaign.checks import compare, half, inventory, lost, one_line, saved, starts
from benchmarks.fault_campaign.fork import Ended, Kill, Server
from benchmarks.fault_campaign.kinds import Kind, all_kinds
from jaxepi.errors import JaxepiError, did_you_mean

WRONG = ("tracebacks", "refused", "hung", "lost", "half", "unequal", "stale")
MOST_KILLS = 5  # of a case
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SIGNAL_SHARES = (0.8, 0.12, 0.08)
BY_CHANGE = 0.5  # share of kills that come right before a file is opened for writing, moved or removed
WHILE_WRITING = 0.75  # of the others, those behind the first such change of the uninterrupted run
# Jobs say every few seconds what is on disk; here they are that short as a whole, so they say so after each batch.
CONSTANTS = {"SYNC_SECONDS": 0.0}
LIMIT = 300.0  # seconds of one start


@dataclasses.dataclass
class Whole:
    """An uninterrupted run: how it ended, what it left, and in what that differs from another such run."""

    ended: Ended
    content: dict[str, Any]
    differences: list[str]


class Tally:
    """The counts of a kind, and a text for each thing that is wrong."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(("tried", "killed", "interrupted", "runs", *WRONG), 0)
        self.cases: list[str] = []

    def wrong(self, what: str, text: str) -> None:
        """Counts it under one of WRONG."""
        self.counts[what] += 1
        self.cases.append(f"{what}: {text}")

    def to_json(self) -> dict[str, Any]:
        """As the campaign prints it."""
        return {**self.counts, "cases": self.cases}


class Campaign:
    """One campaign in a folder: its servers, its data, its uninterrupted runs."""

    def __init__(self, folder: Path, seed: int, report: Callable[[str], None]):
        self.folder, self.seed, self.report = folder, seed, report
        self.whole: dict[str, Whole] = {}
        self._servers: dict[str, queue.SimpleQueue[Server]] = {}
        self._open = contextlib.ExitStack()
        for name in ("logs", "tmp", "cases", "whole"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def start(self, kinds: Sequence[str], workers: int) -> None:
        """Starts the servers that these kinds of them need, one for each worker."""
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "cache")}
        cache["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        cache["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compilation is most of the time of small models
        own = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(self.folder / "tmp")}
        for kind in kinds:
            self._servers[kind] = queue.SimpleQueue()
            for _ in range(workers):
                server = Server(kind, {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **cache, **own})
                self._servers[kind].put(self._open.enter_context(server))

    def close(self) -> None:
        """Ends the servers."""
        self._open.close()

    @contextlib.contextmanager
    def server(self, kind: str) -> Iterator[Server]:
        """A server that nobody else uses meanwhile."""
        server = self._servers[kind].get()
        try:
            yield server
        finally:
            self._servers[kind].put(server)

    def run(self, program: str, server: str, words: Sequence[str], folder: Path, log: str, kill: Kill | None) -> Ended:
        """One start of a program."""
        words = [word.replace("{root}", str(self.folder)) for word in words]
        with self.server(server) as own:
            return own.run(program, words, folder, self.log(log), kill, LIMIT, CONSTANTS)

    def log(self, name: str) -> Path:
        """What a start printed."""
        return self.folder / "logs" / f"{name}.log"

    def make_data(self, kinds: Sequence[Kind], pool: ThreadPoolExecutor) -> None:
        """Toys and raw files. Raises RuntimeError if one cannot be made."""

        def make(what: str, name: str) -> None:
            words = [what, str(self.seed), "{root}", name]
            ended = self.run("toys", "prep", words, self.folder, f"{what}_{name}", None)
            if ended.status:
                said = self.log(f"{what}_{name}").read_text()
                raise RuntimeError(f"the data of {name} could not be made:\n{said}")

        wanted = {("toy", name) for kind in kinds for name in kind.toys}
        wanted |= {("raw", name) for kind in kinds for name in kind.raw}
        list(pool.map(lambda pair: make(*pair), sorted(wanted)))

    def fresh(self, kind: Kind, folder: Path) -> Path:
        """A folder in which the program of a kind may start."""
        folder.mkdir(parents=True)
        for name, source in kind.copies.items():
            shutil.copytree(source.replace("{root}", str(self.folder)), folder / name)
        return folder

    def run_whole(self, kind: Kind) -> None:
        """The uninterrupted run of a kind, twice: the second compiles nothing and must leave the same.

        Raises:
          RuntimeError: it fails.
        """
        contents = []
        for name in (kind.name, f"{kind.name}.again"):
            folder = self.fresh(kind, self.folder / "whole" / name)
            words = [*kind.words, *kind.varied[:1]]
            ended = self.run(kind.program, kind.server, words, folder, name, None)
            if ended.status:
                raise RuntimeError(f"{kind.name} left with {ended.status}:\n{self.log(name).read_text()[-4000:]}")
            contents.append(inventory(folder))
        shutil.rmtree(folder)
        self.whole[kind.name] = Whole(ended, contents[0], sum(compare(*contents), []))
        self.report(f"{kind.name}: {ended.seconds:.1f} s, {ended.changes} changes from {ended.first or 0:.1f} s")

    def draw(self, kind: Kind, random: np.random.Generator) -> Kill:
        """When to send which signal."""
        whole = self.whole[kind.name].ended
        number = SIGNALS[random.choice(len(SIGNALS), p=SIGNAL_SHARES)]
        if whole.changes and random.random() < BY_CHANGE:
            return Kill(number, change=int(random.integers(1, whole.changes + 1)))
        first = (whole.first or 0.0) if random.random() < WHILE_WRITING else 0.0
        return Kill(number, seconds=float(random.uniform(first, whole.seconds)))

    def case(self, kind: Kind, number: int, kills: int) -> Tally:
        """One folder, `kills` times SIGKILL at most, between them other signals, and the end."""
        return _Case(self, kind, number).run(kills)


class _Case:
    """A folder in which a program is killed until it may end."""

    def __init__(self, campaign: Campaign, kind: Kind, number: int):
        self._campaign, self._kind, self._name = campaign, kind, f"{kind.name}-{number}"
        self._random = np.random.default_rng([campaign.seed, *kind.name.encode(), number])
        self._folder = campaign.fresh(kind, campaign.folder / "cases" / self._name)
        self._story: list[str] = []  # of its starts
        self._tally = Tally()

    def run(self, kills: int) -> Tally:
        """All starts, and what they leave. A folder in which something is wrong stays."""
        told, before, began = self._tally.counts, {}, {}
        while True:
            kill = self._campaign.draw(self._kind, self._random) if told["killed"] < kills else None
            ended, said = self._start(kill)
            hit = kill if ended.hit else None
            for text in self._read(lambda: lost(before, began, self._folder, said)) or []:  # noqa: B023
                self._wrong("lost", text)
            for what, text in _failures(ended, said, hit):
                self._wrong(what, text)
            if hit is not None:
                told["tried"] += 1
                told["killed" if hit.signal == signal.SIGKILL else "interrupted"] += 1
            if ended.status == 0 or hit is None:
                break
            for text in half(self._folder, told["tried"]):
                self._wrong("half", text)
            before = self._read(lambda: saved(self._folder)) or {}
            began = self._read(lambda: starts(self._folder)) or {}
        told["runs"] += 1
        if ended.status == 0 and (found := self._read(lambda: inventory(self._folder))) is not None:
            whole = self._campaign.whole[self._kind.name].content
            for what, texts in zip(("stale", "unequal"), compare(found, whole), strict=True):
                for text in texts:
                    self._wrong(what, text)
        if not self._tally.cases:
            shutil.rmtree(self._folder)
        return self._tally

    def _start(self, kill: Kill | None) -> tuple[Ended, str]:
        """One start, and what it printed."""
        kind, log = self._kind, f"{self._name}-{len(self._story)}"
        self._story.append(str(kill) if kill else "to the end")
        varied = [str(self._random.choice(kind.varied))] if kind.varied else []
        ended = self._campaign.run(kind.program, kind.server, [*kind.words, *varied], self._folder, log, kill)
        return ended, self._campaign.log(log).read_text(errors="replace")

    def _wrong(self, what: str, text: str) -> None:
        self._tally.wrong(what, f"{self._name} ({', then '.join(self._story)}): {text}")

    def _read(self, look: Callable[[], Any]) -> Any:
        """What `look` finds; None if it cannot read the folder, for that is wrong too."""
        try:
            return look()
        except Exception as problem:  # whatever a reader raises for a file that is not whole
            self._wrong("half", one_line(problem))
            return None


def _failures(ended: Ended, said: str, kill: Kill | None) -> Iterator[tuple[str, str]]:
    """What is wrong with how a start ended; `kill` if it was hit by one."""
    last = " ".join(said.strip().splitlines()[-1:])[:300]
    if ended.hung:
        yield "hung", f"it did not end ({last})"
    elif "Traceback (most recent call last)" in said:
        yield "tracebacks", last
    elif kill is None and ended.status:
        yield "refused", f"it left with {ended.status}: {last}"
    elif kill is not None and ended.status not in (0, 130, -kill.signal):
        yield "refused", f"after {signal.Signals(kill.signal).name} it left with {ended.status}: {last}"


def choose(names: Sequence[str] | None) -> list[Kind]:
    """The kinds of these names (None: all). Raises JaxepiError for a name that none has."""
    kinds = all_kinds()
    known = {kind.name for kind in kinds}
    if names and not known.issuperset(names):
        wrong = min(set(names) - known)
        raise JaxepiError(
            f"there is no kind {wrong!r}{did_you_mean(wrong, known)}; known are {', '.join(sorted(known))}"
        )
    return [kind for kind in kinds if not names or kind.name in names]


def quotas(kinds: Sequence[Kind], count: int) -> dict[str, int]:
    """Kills per kind, `count` in all, by their shares."""
    total = sum(kind.share for kind in kinds)
    ends = np.rint(np.cumsum([kind.share for kind in kinds]) * count / total).astype(int)
    return dict(zip((kind.name for kind in kinds), np.diff(ends, prepend=0).tolist(), strict=True))


def run(
    folder: Path,
    seed: int,
    count: int,
    deadline: float | None,
    report: Callable[[str], None],
    *,
    workers: int = 2,
    names: Sequence[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """The campaign.

    Args:
      folder: an empty folder; what is wrong stays in `cases/` and `logs/`.
      seed: of the data, and of when is killed.
      count: how often SIGKILL is sent; other signals come on top.
      deadline: `time.monotonic()` behind which no case begins; None: there is none.
      report: takes lines of progress.
      workers: programs at a time.
      names: kinds to kill; None for all.

    Returns: kind -> signals `tried`, of them `killed` by SIGKILL and `interrupted` by another, `runs` that came to
      their end, counts of WRONG, and `cases`, a text for each thing that is wrong.
    """
    chosen = [kind for kind, quota in zip(choose(names), quotas(choose(names), count).values(), strict=True) if quota]
    by_name = {kind.name: kind for kind in all_kinds()}
    sources = [by_name[name] for kind in chosen for name in kind.runs]
    needed = list({kind.name: kind for kind in [*sources, *chosen]}.values())
    campaign = Campaign(folder.resolve(), seed, report)
    tallies = {kind.name: Tally() for kind in chosen}
    with contextlib.closing(campaign), ThreadPoolExecutor(workers) as pool:
        campaign.start(sorted({"prep", *(kind.server for kind in needed)}), workers)
        campaign.make_data(needed, pool)
        list(pool.map(campaign.run_whole, [kind for kind in needed if not kind.runs]))
        list(pool.map(campaign.run_whole, [kind for kind in needed if kind.runs]))
        for name, tally in tallies.items():
            for text in campaign.whole[name].differences:
                tally.wrong("unequal", f"{name}, two runs that nobody killed: {text}")
        plan = _Plan(chosen, quotas(chosen, count), seed, deadline)
        for done in [pool.submit(_work, campaign, plan, tallies, report) for _ in range(workers)]:
            done.result()
    return {name: tally.to_json() for name, tally in tallies.items()}


class _Plan:
    """Hands out cases until every kind has its kills: of the kind that has the least of them so far."""

    def __init__(self, kinds: Sequence[Kind], wanted: dict[str, int], seed: int, deadline: float | None):
        self._kinds, self._wanted, self._deadline = list(kinds), wanted, deadline
        self._given, self._cases = dict.fromkeys(wanted, 0), dict.fromkeys(wanted, 0)
        self._random, self._lock = np.random.default_rng(seed), threading.Lock()

    def next(self) -> tuple[Kind, int, int] | None:
        """A kind, the number of its case and of its kills; None at the end."""
        with self._lock:
            left = [kind for kind in self._kinds if self._given[kind.name] < self._wanted[kind.name]]
            if not left or (self._deadline is not None and time.monotonic() > self._deadline):
                return None
            kind = min(left, key=lambda kind: self._given[kind.name] / self._wanted[kind.name])
            most = min(MOST_KILLS, self._wanted[kind.name] - self._given[kind.name])
            kills, number = int(self._random.integers(1, most + 1)), self._cases[kind.name]
            self._given[kind.name] += kills
            self._cases[kind.name] += 1
            return kind, number, kills

    def give_back(self, kind: Kind, kills: int) -> None:
        """Kills that came too late: the program had ended."""
        with self._lock:
            self._given[kind.name] -= kills

    def status(self) -> str:
        """How far it is."""
        return f"{sum(self._given.values())} of {sum(self._wanted.values())} kills"


def _work(campaign: Campaign, plan: _Plan, tallies: dict[str, Tally], report: Callable[[str], None]) -> None:
    """What one worker does."""
    while (order := plan.next()) is not None:
        kind, number, kills = order
        tally = campaign.case(kind, number, kills)
        plan.give_back(kind, kills - tally.counts["killed"])
        for name, value in tally.counts.items():
            tallies[kind.name].counts[name] += value
        tallies[kind.name].cases += tally.cases
        report(f"{plan.status()}: {kind.name} case {number}, {tally.counts['killed']} kills")
        for text in tally.cases:
            report(f"  {text}")
