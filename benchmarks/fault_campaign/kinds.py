"""What the kill campaign kills: every program that writes, with small data. {root} in words is the campaign's folder.

A program runs in a folder of its own, by relative paths, so that its files do not depend on where that folder lies.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.fault_campaign.toys import SAMPLES

FOLDS = "deepcpg"  # whose toy is cross-validated; any would do
TRAININGS = {"deepcpg": 30, "melody": 24, "chromoformer": 18}  # shares of the kills: more of what starts quickly


@dataclasses.dataclass(frozen=True)
class Kind:
    """A program with its arguments.

    Attributes:
      name: in the campaign's output.
      program: one of fork.PROGRAMS.
      words: its arguments.
      share: of the campaign's kills, relative to the others'.
      toys: systems whose toy it needs.
      raw: kinds of raw files that it needs.
      copies: what lies in its folder at first -> where that comes from.
      runs: kinds whose finished folders it reads.
      varied: arguments one of which is added at each start; nothing of them changes the result.
    """

    name: str
    program: str
    words: Sequence[str]
    share: int
    toys: Sequence[str] = ()
    raw: Sequence[str] = ()
    copies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    runs: Sequence[str] = ()
    varied: Sequence[str] = ()

    @property
    def server(self) -> str:
        """One of fork.SERVERS."""
        return "prep" if self.program == "prep" else "launch"


def finished_run(kind: str) -> str:
    """The workdir that the uninterrupted run of a kind of training leaves."""
    return f"{{root}}/whole/{kind}/run"


def all_kinds() -> list[Kind]:
    """In the order of the campaign: trainings of every system first."""
    from jaxepi.registry import known_systems

    return [*map(_train, known_systems()), _crossval(), *map(_prep, SAMPLES), *_verbs()]


def _train(system: str) -> Kind:
    words = [f"--config={{root}}/configs/{system}.py", "--workdir=run"]
    return Kind(f"train_{system}", "launch", words, TRAININGS.get(system, 20), toys=[system])


def _crossval() -> Kind:
    words = ["crossval", f"--config={{root}}/configs/{FOLDS}_folds.py", "--workdir=run"]
    return Kind("crossval", "launch", words, 16, toys=[FOLDS])


def _prep(command: str) -> Kind:
    from importlib import import_module

    arguments = import_module(f"data_prep.{command}.sample").arguments(Path("raw"))
    words = [command, *arguments, *(["--window", "2000"] if command == "melody" else []), "--out", "out"]
    processes = ("--processes=1", "--processes=1", "--processes=1", "--processes=2")  # two take seconds to start
    copies = {"raw": f"{{root}}/raw/{command}/raw"}
    return Kind(f"prep_{command}", "prep", words, 18, raw=[command], copies=copies, varied=processes)


def _verbs() -> list[Kind]:
    """One kind a verb, with a system that has it."""

    def job(verb: str, system: str, share: int, *words: str, raw: Sequence[str] = (), many: str = "_many") -> Kind:
        train, config = f"train_{system}", f"--config={{root}}/configs/{system}{many}.py"
        given = [verb, f"--workdir={finished_run(train)}", config, "--out=out", *words]
        name = verb if verb != "predict" else f"predict_{system}"
        return Kind(name, "launch", given, share, toys=[system], raw=raw, runs=[train])

    genome = "{root}/raw/melody"
    regions = [f"--fasta={genome}/raw/genome.fa", f"--regions={genome}/regions.bed"]
    copied = {"run": finished_run("train_melody")}
    evaluation = Kind("eval", "launch", ["eval", "--workdir=run"], 12, ["melody"], copies=copied, runs=["train_melody"])
    return [
        evaluation,
        job("predict", "melody", 14, *regions, raw=["melody"], many=""),
        job("predict", "chromoformer", 12),
        job("attention", "chromoformer", 10, "--figures=2"),
        job("impute", "deepcpg", 14),
        job("mutagenesis", "deepcpg", 14),
        job("motifs", "deepcpg", 8, "--trim-bits=1.5"),  # few logos: each takes half a second
    ]
