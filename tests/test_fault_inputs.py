"""A few cases of the malformed-input campaign; all of it runs by `benchmarks/faults.py`."""

from pathlib import Path

from benchmarks.fault_campaign.changes import REFUSED
from benchmarks.fault_campaign.inputs import Campaign, all_doors, drawn

# Doors that need no training, and how many cases of each; the options of Beam take seconds.
DOORS = {"melody/": 10, "deepcpg/": 10, "genes/": 10, "coverage/": 10, "epiformer/": 14, "weights/melody": 10}


def test_malformed_inputs_are_one_sentence(tmp_path: Path) -> None:
    doors, campaign = all_doors(), Campaign(tmp_path, seed=3)
    wrong = []
    for name, count in DOORS.items():
        chosen = drawn([door for door in doors if f"{door.kind}/{door.name}".startswith(name)], 3, 300)
        # the others need the result of the valid input first
        chosen = [case for case in chosen if case[1].outcome == REFUSED and "--beam" not in case[1].name][:count]
        for number, (door, change) in enumerate(chosen):
            found = campaign.attempt(door, change, number)
            if found.what != "sentences":
                wrong.append(f"{found.what}: {door.kind} {door.name}, {change.name}: {found.told}")
    assert not wrong
