"""Two processes give the evaluation of one, with a mesh over both and with each its own rows."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jaxepi.evaluate import evaluator
from jaxepi.storage.atomic import plain
from jaxepi.task import Options

PROGRAM = Path(__file__).with_name("two_hosts.py")


@pytest.mark.parametrize("mode", ["mesh", "own"])
def test_two_processes_equal_one(mode, split, run):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    paths = os.pathsep.join([str(Path(evaluator.__file__).parents[2]), str(PROGRAM.parents[1])])
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": paths}
    runs = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), address, str(process), mode],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], outputs
    found = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert found[0] == found[1]
    alone = run(split, options=Options(sample_positions=100))
    windows = [(w.window.record, w.window.choice) for w in alone.windows]
    assert [tuple(window[:2]) for window in found[0]["windows"]] == windows
    assert found[0]["records"] == split.records
    expected = plain(alone.summary)
    assert found[0]["summary"].keys() == expected.keys()
    for name, value in expected.items():
        assert found[0]["summary"][name] == pytest.approx(value, rel=1e-5, abs=1e-7), name
