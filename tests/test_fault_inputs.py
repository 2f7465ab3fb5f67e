"""A few cases of the malformed-input campaign; all of it runs by `benchmarks/faults.py`."""

from pathlib import Path

from benchmarks.fault_changes import REFUSED
from benchmarks.fault_inputs import Campaign, all_doors, drawn

KINDS = {"melody": 10, "deepcpg": 10, "genes": 10, "weights": 10}  # what needs no training


def test_malformed_inputs_are_one_sentence(tmp_path: Path) -> None:
    doors, campaign = all_doors(), Campaign(tmp_path, seed=3)
    wrong = []
    for kind, count in KINDS.items():
        chosen = drawn([door for door in doors if door.kind == kind], 3, 300)
        # the others need the result of the valid input first
        chosen = [(door, change) for door, change in chosen if change.outcome == REFUSED][:count]
        for number, (door, change) in enumerate(chosen):
            found = campaign.attempt(door, change, number)
            if found.what != "sentences":
                wrong.append(f"{found.what}: {door.kind} {door.name}, {change.name}: {found.told}")
    assert not wrong
