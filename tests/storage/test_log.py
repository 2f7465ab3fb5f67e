import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.parallel import hosts as startup
from jaxepi.storage.atomic import plain
from jaxepi.storage.log import RunLog, clock


def test_lines_are_valid_json_and_a_cut_line_is_closed(tmp_path):
    log = RunLog(tmp_path, {})
    log.record("train", 1, loss=float("nan"), terms={"a": np.float32(2.5), "b": [1, float("inf")]})
    log.close()
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"kind": "train", "st')  # as a kill leaves it
    log = RunLog(tmp_path, {})
    log.record("train", 2, loss=1.0)
    log.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    first, last = json.loads(lines[0]), json.loads(lines[2])
    assert first["loss"] is None and first["terms"] == {"a": 2.5, "b": [1, None]} and last["step"] == 2


def test_scalars_go_to_tensorboard(tmp_path):
    log = RunLog(tmp_path, {})
    log.scalars("train", 3, {"loss": 0.5, "undefined": float("nan"), "name": "x"})
    log.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    assert b"train/loss" in content and b"undefined" not in content


def test_wandb_is_asked_for_but_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(JaxepiError, match="W&B is not installed"):
        RunLog(tmp_path, {}, wandb_project="x")


def test_every_start_goes_on_with_the_same_run_of_wandb(tmp_path, monkeypatch):
    asked = []
    run = SimpleNamespace(log=lambda *more, **named: None, finish=lambda: None)
    fake = SimpleNamespace(init=lambda **options: asked.append(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for workdir in ("a", "a", "b"):
        (tmp_path / workdir).mkdir(exist_ok=True)
        RunLog(tmp_path / workdir, {"seed": 1}, wandb_project="x").close()
    first, again, other = asked
    assert first == again and first["id"] != other["id"] and first["resume"] == "allow" and first["project"] == "x"
    (tmp_path / "a" / "wandb.json").write_text("{")
    with pytest.raises(JaxepiError, match=r"wandb\.json is damaged, an object with `id` was expected"):
        RunLog(tmp_path / "a", {}, wandb_project="x")


def test_clock_and_plain():
    assert clock(59) == "0:59" and clock(3725) == "1:02:05" and clock(-3) == "0:00"
    assert plain((1, "a", None, True)) == [1, "a", None, True]


def test_an_accelerator_that_is_not_used_is_told(monkeypatch):
    monkeypatch.setattr(startup.glob, "glob", lambda pattern: ["/dev/nvidia0"] if "nvidia" in pattern else [])
    monkeypatch.setattr(startup.jax, "default_backend", lambda: "cpu")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert "has an NVIDIA GPU, but jax computes on the CPU" in startup.unused_accelerator()
    monkeypatch.setattr(startup.jax, "default_backend", lambda: "gpu")
    assert startup.unused_accelerator() is None
    monkeypatch.setattr(startup.jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(startup.glob, "glob", lambda pattern: [])
    assert startup.unused_accelerator() is None


def test_devices_are_described():
    found = startup.describe_devices()
    assert found["count"] >= 1 and found["platform"] and startup.peak_memory()["process"] > 1e6
