import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxepi.parallel.collectives import Collective, bytes_moved, collectives
from jaxepi.registry import known_systems

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

HLO = """HloModule jit_train, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%inner (x: bf16[8,2]) -> bf16[8,2] {
  %x = bf16[8,2]{1,0} parameter(0)
  ROOT %all-to-all.1 = bf16[8,2]{1,0:T(8,128)(2,1)} all-to-all(%x), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
}

%body (s: (s32[], bf16[8,2])) -> (s32[], bf16[8,2]) {
  %s = (s32[], bf16[8,2]{1,0}) parameter(0)
  %v = bf16[8,2]{1,0} get-tuple-element(%s), index=1
  %moved = bf16[8,2]{1,0} fusion(%v), kind=kCustom, calls=%inner
  ROOT %out = (s32[], bf16[8,2]{1,0}) tuple(%i, %moved)
}

ENTRY %main (p: f32[4,3], q: f32[16]) -> f32[16,3] {
  %p = f32[4,3]{1,0} parameter(0)
  %all-gather-start.1 = (f32[4,3]{1,0}, f32[16,3]{1,0}) all-gather-start(%p), replica_groups=[2,4]<=[8], dimensions={0}
  %all-gather-done.1 = f32[16,3]{1,0} all-gather-done(%all-gather-start.1)
  %all-reduce.1 = (f32[], s8[5]{0}) all-reduce(%loss, %count), replica_groups={{0,1},{2,3}}, to_apply=%add
  %rs = f32[2]{0:T(256)} reduce-scatter(%q), replica_groups=[1,8]<=[8], dimensions={0}, to_apply=%add
  %part.1 = f32[6]{0} all-gather(%q), channel_id=7, replica_groups={{0,1}}, dimensions={0}
  %part.2 = f32[6]{0:T(256)S(1)} all-gather(%part.1), channel_id=7, replica_groups={{0,1}}, dimensions={0}
  %rs.2 = f32[3] reduce-scatter(%q), channel_id=8, replica_groups=mesh['a'=2,'b'=4] {'b'}, to_apply=%add
  %loop = (s32[], bf16[8,2]{1,0}) while(%t), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %used = f32[] add(%all-reduce.1, %all-reduce.1)
}
"""


def test_each_collective_is_read_once_with_what_it_moves_in_all():
    assert collectives(HLO) == [
        Collective("all-to-all", "bf16", (8, 2), 32, 5),
        Collective("all-gather", "f32", (16, 3), 192, 1),
        Collective("all-reduce", "f32", (), 4, 1),
        Collective("all-reduce", "s8", (5,), 5, 1),
        Collective("reduce-scatter", "f32", (2,), 64, 1),
        Collective("all-gather", "f32", (6,), 24, 1),
        Collective("reduce-scatter", "f32", (3,), 48, 1),
    ]
    assert bytes_moved(collectives(HLO)) == {
        "all-to-all": 160, "all-gather": 216, "all-reduce": 9, "reduce-scatter": 112,
    }  # fmt: skip


def compiled(*options):
    """System -> mesh -> what benchmarks/sharding.py prints of it, on eight made-up devices."""
    flags = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "sharding.py"), *options],
        env=environment, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {}
    for line in map(json.loads, done.stdout.splitlines()):
        found.setdefault(line["system"], {})[line["mesh"]] = line
    return found


@pytest.fixture(scope="module")
def training():
    return compiled("--mesh=1x8")


@pytest.fixture(scope="module")
def alone():
    return compiled("--mesh=8x1")


@pytest.fixture(scope="module")
def evaluation():
    return compiled("--evaluate", "--mesh=8x1", "--mesh=1x8")


@pytest.mark.parametrize("name", known_systems())
def test_fsdp_moves_parameters_and_no_activations(training, name):
    """Each parameter comes to every device and each gradient is summed; rows stay where they are."""
    assert_only_parameters_move(training[name]["1x8"], split=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", known_systems())
def test_data_parallel_training_moves_gradients_alone(alone, name):
    assert_only_parameters_move(alone[name]["8x1"], split=False)


@pytest.mark.slow
def test_four_devices_a_copy_move_the_same_and_hold_less():
    for one in (meshes["2x4"] for meshes in compiled("--mesh=2x4").values()):
        assert_only_parameters_move(one, split=True)


def assert_only_parameters_move(one, split):
    assert one["batch_mb"] == 0, one["largest"]
    assert "all-to-all" not in one["moved_mb"] and "collective-permute" not in one["moved_mb"]
    assert one["ratio"] <= 3.5
    if split:
        assert 0.8 <= one["moved_mb"]["all-gather"] / one["parameters_mb"] <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", known_systems())
def test_fsdp_adds_parameters_alone_to_what_an_evaluation_moves(evaluation, name):
    """Predictions that are counted into the bins of a metric are shared with and without it."""
    alone, split = evaluation[name]["8x1"], evaluation[name]["1x8"]
    assert split["batch_mb"] <= alone["batch_mb"] < 0.2, split["largest"]
    assert "all-to-all" not in split["moved_mb"] and "collective-permute" not in split["moved_mb"]
    assert 0.8 <= split["moved_mb"]["all-gather"] / split["parameters_mb"] <= 1
    assert split["arguments_mb"] < alone["arguments_mb"]


@pytest.mark.parametrize("name", known_systems())
def test_the_state_of_a_device_is_an_eighth_with_fsdp(training, name):
    one = training[name]["1x8"]
    assert one["state_mb"] < 0.28 * one["whole_state_mb"]


@pytest.mark.slow
@pytest.mark.parametrize("name", known_systems())
def test_memory_of_a_step_falls_with_fsdp(alone, training, name):
    one, eight = alone[name]["8x1"], training[name]["1x8"]
    assert eight["whole_state_mb"] == one["whole_state_mb"] == one["state_mb"]
    assert eight["arguments_mb"] < one["arguments_mb"]
    assert eight["total_mb"] < one["total_mb"]
