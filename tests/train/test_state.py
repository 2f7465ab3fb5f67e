"""The state over several devices; what a step computes is tested with every system in tests/contract."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np


def test_a_split_state_goes_on_on_any_other_mesh(tmp_path):
    program = Path(__file__).with_name("other_devices.py")
    flags = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "run")],
        env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    losses = json.loads(done.stdout.splitlines()[-1])
    first = losses.pop("2x4")
    assert len(first) == 3 and first[2] < first[0] and losses.keys() == {"1x1", "8x1", "1x8"}
    for mesh, after in losses.items():
        np.testing.assert_allclose(after, first[2:], rtol=2e-5, err_msg=mesh)
