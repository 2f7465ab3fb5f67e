"""benchmarks/faults.py: its kill campaign in a short form, and that its checks see what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fault_campaign.checks import compare, half, inventory, lost, saved, starts
from benchmarks.fault_campaign.kills import WRONG, choose, quotas
from benchmarks.fault_campaign.kinds import Kind
from jaxepi.errors import JaxepiError

ROOT = Path(__file__).parents[1]


def campaign(*words: str) -> dict:
    """What the program prints; it must find nothing wrong."""
    command = [sys.executable, "benchmarks/faults.py", "--only", "kills", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_four_kills_of_data_prep_lose_nothing():
    found = campaign("--kills", "4", "--kinds", "prep_deepcpg", "--workers", "1")
    assert {kind: counts["killed"] for kind, counts in found["kills"].items()} == {"prep_deepcpg": 4}
    sums = found["totals"]["kills"]
    assert sums["tried"] == sums["killed"] + sums["interrupted"] and sums["runs"] >= 1  # up to five kills a run
    assert not any(sums[name] for name in WRONG)


@pytest.mark.slow
def test_kills_of_training_and_of_jobs_with_its_model_lose_nothing():
    found = campaign("--kills", "16", "--kinds", "train_deepcpg,impute,mutagenesis,motifs", "--seed", "3")
    assert found["totals"]["kills"]["killed"] == 16


def test_a_kind_that_is_not_there_is_told():
    with pytest.raises(JaxepiError, match="there is no kind 'train_nothing'.*; known are attention, crossval"):
        choose(["impute", "train_nothing"])


def test_kills_are_shared_out_whole():
    kinds = [Kind(name, "prep", [], share) for name, share in (("a", 24), ("b", 7), ("c", 7))]
    for count in (1, 4, 38, 211):
        assert sum(quotas(kinds, count).values()) == count
    assert quotas(kinds, 38) == {"a": 24, "b": 7, "c": 7}


def write_run(folder: Path, steps: int = 3) -> None:
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"value": 1, "seconds": 0.5}))
    (folder / "table.tsv").write_text("a\tb\n")
    np.savez(folder / "arrays.npz", a=np.arange(1000))
    lines = [{"kind": "start", "step": 0, "time": "now"}]
    lines += [{"kind": "train", "step": step, "loss": 1 / step, "minutes": 0.1} for step in range(1, steps + 1)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_what_is_half_is_seen(tmp_path):
    write_run(tmp_path / "run")
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"kind": "tr')  # a kill may cut the last line of a log
    (tmp_path / "run" / ".a.json").write_text("{")
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "b.json").write_text("{")
    assert half(tmp_path) == []
    for name in ("a.json", "table.tsv", "arrays.npz"):
        path = tmp_path / "run" / name
        path.write_bytes(path.read_bytes()[:-2])
    assert [text.partition(":")[0] for text in half(tmp_path)] == ["run/a.json", "run/arrays.npz", "run/table.tsv"]
    assert len(half(tmp_path, kills=0)) == 4


def test_what_is_stale_or_unequal_is_seen(tmp_path):
    for name in ("one", "other"):
        write_run(tmp_path / name)
    (tmp_path / "other" / "a.json").write_text(json.dumps({"value": 1, "seconds": 0.7}))
    whole = inventory(tmp_path / "one")
    assert compare(inventory(tmp_path / "other"), whole) == ([], [])
    (tmp_path / "other" / ".a.json").touch()
    (tmp_path / "other" / "table.tsv").unlink()
    (tmp_path / "other" / "a.json").write_text(json.dumps({"value": 2, "seconds": 0.7}))
    stale, unequal = compare(inventory(tmp_path / "other"), whole)
    assert stale == [".a.json is left"] and unequal == ["table.tsv is missing", "a.json differs"]


def test_what_is_lost_is_seen(tmp_path):
    write_run(tmp_path / "run")
    before, began = {"run/log.jsonl": 2}, starts(tmp_path)
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "start", "step": 2}) + "\n")
    assert lost(before, began, tmp_path, "") == []
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "start", "step": 0}) + "\n")
    assert lost(before, began, tmp_path, "") == ["run/log.jsonl: went on from step 0, though step 2 was saved"]
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "progress.json").write_text(json.dumps({"sites": 12}))
    before = saved(tmp_path)
    assert before == {"out.partial/progress.json": 12}
    assert lost(before, {}, tmp_path, "impute:  50%|####| 12/24 [00:00<?, ?site/s]") == []
    assert lost(before, {}, tmp_path, "impute:   0%|    | 0/24 [00:00<?, ?site/s]") != []
