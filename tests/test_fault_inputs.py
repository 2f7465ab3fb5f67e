"""A few cases of the malformed-input campaign; all of it runs by `benchmarks/faults.py`."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KINDS = {"melody": 10, "deepcpg": 10, "genes": 10, "weights": 10}  # what needs no training


def test_malformed_inputs_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    campaign = importlib.import_module("fault_inputs")
    outcome = importlib.import_module("fault_changes").REFUSED  # the others first need the result of the valid input
    doors = campaign.all_doors()
    tried = campaign.Campaign(tmp_path, seed=3)
    wrong = []
    for kind, count in KINDS.items():
        chosen = [case for case in campaign.drawn([d for d in doors if d.kind == kind], 3, 300)]
        for number, (door, change) in enumerate([case for case in chosen if case[1].outcome == outcome][:count]):
            found = tried.attempt(door, change, number)
            if found.what != "sentences":
                wrong.append(f"{found.what}: {door.kind} {door.name}, {change.name}: {found.told}")
    assert not wrong
