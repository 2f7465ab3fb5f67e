"""Attacks the programs of this project and counts what goes wrong: kills in the middle of work, and malformed inputs.

    python benchmarks/faults.py [--seed 0] [--kills 210] [--inputs 600] [--minutes 60] [--only kills|inputs]

Kills: every program that writes (training of each system, cross-validation, each data_prep command, evaluation,
prediction, attention, imputation, base changes, motifs) is killed at random moments, most of them while it writes, and
started again until it ends. Counted are the signals `tried` (`killed` by SIGKILL; `interrupted` by SIGTERM or SIGINT,
which come on top of --kills) and, all of which must be 0, `half` files under their final names, saved steps or sites
that were `lost`, results `unequal` to those of an uninterrupted run, `stale` files left at the end, restarts that were
`refused`, that `hung`, and `tracebacks`.

Inputs: broken files and options at every door. Counted are `tried`, those told in one of the `sentences`, and, which
must be 0, `tracebacks` and those taken in silence (`silent`).

Prints one JSON object: both campaigns by kind, and totals. The exit status is 1 if anything is wrong. Progress goes to
stderr. The same seed makes the same data and draws the same moments.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # beside this program lies one that is called data_prep
WRONG = ("tracebacks", "silent", "refused", "hung", "lost", "half", "unequal", "stale")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, default=0, help="of data, moments and mutations (default: %(default)s)")
    p.add_argument("--kills", type=int, default=210, help="how many (default: %(default)s)")
    p.add_argument("--inputs", type=int, default=600, help="how many (default: %(default)s)")
    p.add_argument("--minutes", type=float, help="begin nothing new after so many (default: no limit)")
    p.add_argument("--only", choices=("kills", "inputs"), help="one of the two campaigns")
    p.add_argument("--kinds", metavar="NAME,...", help="programs to kill, such as train_melody,impute (default: all)")
    p.add_argument("--workers", type=int, default=2, help="programs at a time (default: %(default)s)")
    p.add_argument("--keep", type=Path, metavar="DIR", help="an empty folder to work in, which stays")
    return p


def main(argv: list[str] | None = None) -> int:
    """Runs the campaigns. Returns the exit status."""
    options = parser().parse_args(argv)
    begin = time.monotonic()
    deadline = None if options.minutes is None else begin + 60 * options.minutes

    def report(text: str) -> None:
        print(f"[{time.monotonic() - begin:6.0f} s] {text}", file=sys.stderr, flush=True)

    found: dict[str, Any] = {"seed": options.seed}
    with tempfile.TemporaryDirectory(prefix="faults_", ignore_cleanup_errors=True) as temporary:
        folder = options.keep or Path(temporary)
        if options.only != "inputs":
            found["kills"] = _kills(folder / "kills", options, deadline, report)
        if options.only != "kills":
            from benchmarks.fault_campaign.inputs import run as run_inputs

            (folder / "inputs").mkdir(parents=True)
            found["inputs"] = run_inputs(folder / "inputs", options.seed, options.inputs, deadline, report)
    found["totals"] = {name: totals(found[name]) for name in ("kills", "inputs") if name in found}
    found["minutes"] = round((time.monotonic() - begin) / 60, 1)
    print(json.dumps(found, indent=1))
    return int(any(sums.get(name) for sums in found["totals"].values() for name in WRONG))


def _kills(folder: Path, options: argparse.Namespace, deadline: float | None, report: Callable[[str], None]) -> Any:
    from benchmarks.fault_campaign.kills import run
    from jaxepi.console import one_sentence_errors

    names = None if options.kinds is None else options.kinds.split(",")
    with one_sentence_errors():
        return run(folder, options.seed, options.kills, deadline, report, workers=options.workers, names=names)


def totals(kinds: dict[str, dict[str, Any]]) -> dict[str, int]:
    """The sums over all kinds."""
    sums: dict[str, int] = {}
    for counts in kinds.values():
        for name, value in counts.items():
            if isinstance(value, int):
                sums[name] = sums.get(name, 0) + value
    return sums


if __name__ == "__main__":
    sys.exit(main())
