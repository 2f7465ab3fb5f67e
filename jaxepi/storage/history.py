"""Reads a run's log.jsonl for the report: training curve, evaluations, and how the run was made."""

import dataclasses
import json
from pathlib import Path
from typing import Any

# What a training line carries beside the terms of the loss: these, and counts of what a term was made of, which tasks
# call `<what>_used`.
NOT_A_TERM = ("loss", "gradient_norm", "learning_rate", "samples_per_second")
COUNT_ENDING = "_used"


@dataclasses.dataclass(frozen=True)
class RunHistory:
    """What a log tells.

    Attributes:
        start: fields of the newest start line (config, versions, devices, dataset, parameters).
        end: fields of the last end line, empty while the run goes on.
        train: step -> fields of the training line; of a step logged twice (after a resume) the last counts.
        evals: split -> step -> metrics.
        starts: times of all start lines, in order.
        done: updates that were done, as the last line tells.
    """

    start: dict[str, Any]
    end: dict[str, Any]
    train: dict[int, dict[str, Any]]
    evals: dict[str, dict[int, dict[str, float]]]
    starts: list[str] = dataclasses.field(default_factory=list)
    done: int | None = None

    def planned(self) -> str | None:
        """How long the newest start was to train: its config.steps, in epochs if that is its unit."""
        config = self.start.get("config") or {}
        if not isinstance(config.get("steps"), int):
            return None
        return f"{config['steps']:,}" + (" epochs" if config.get("unit") == "epoch" else "")

    def series(self) -> dict[str, tuple[list[int], list[float]]]:
        """`loss` and each of its terms as (steps, values), missing values left out."""
        curves: dict[str, tuple[list[int], list[float]]] = {}
        for step, line in self.train.items():
            terms = {name: value for name, value in line.get("terms", {}).items() if _is_term(name)}
            for name, value in ({"loss": line.get("loss")} | terms).items():
                if isinstance(value, int | float):
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(step)
                    values.append(float(value))
        return curves

    def throughput(self) -> float | None:
        """Median of the logged samples per second."""
        rates = sorted(r for r in (line.get("samples_per_second") for line in self.train.values()) if r)
        return rates[len(rates) // 2] if rates else None

    def minutes(self) -> float | None:
        """Training time of all starts together, as last logged."""
        lines = [*self.train.values(), self.end]
        return next((line["minutes"] for line in reversed(lines) if line.get("minutes") is not None), None)


def _is_term(name: str) -> bool:
    return name not in NOT_A_TERM and not name.endswith(COUNT_ENDING)


def read_log(path: Path | None) -> RunHistory:
    """Reads the log; a missing file gives an empty history, a line cut short by a kill is skipped."""
    start: dict[str, Any] = {}
    end: dict[str, Any] = {}
    train: dict[int, dict[str, Any]] = {}
    evals: dict[str, dict[int, dict[str, float]]] = {}
    starts: list[str] = []
    done = None
    text = path.read_text(encoding="utf-8", errors="replace") if path is not None and path.exists() else ""
    for line in text.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if not isinstance(fields, dict):
            continue
        kind, step = fields.get("kind"), fields.get("step")
        done = step if isinstance(step, int) else done
        if kind == "start":
            start, end = fields, {}
            starts.append(str(fields.get("time", "")))
        elif kind == "end":
            end = fields
        elif kind == "train" and isinstance(step, int):
            train[step] = fields
        elif kind == "eval" and isinstance(step, int):
            evals.setdefault(str(fields.get("split")), {})[step] = fields.get("metrics") or {}
    by_split = {split: dict(sorted(by_step.items())) for split, by_step in evals.items()}
    return RunHistory(start, end, dict(sorted(train.items())), by_split, starts, done)
