"""Prefetch to devices: order, layout over 8 devices, shutdown, errors."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxepi.data import BatchStream, check_batch, check_batch_size, device_batches
from jaxepi.errors import JaxepiError


class Numbers:
    """`count` records that hold nothing but their own number, one of them broken."""

    def __init__(self, count: int, broken: int | None = None):
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Any]:
        if number == self.broken:
            raise JaxepiError(f"shard: record {number} is corrupt")
        return {"number": number}


def collate_numbers(records: list[dict[str, Any] | None]) -> dict[str, np.ndarray]:
    """number (B,) and row_mask (B,); padding is -1 with mask 0."""
    return {
        "number": np.array([-1 if record is None else record["number"] for record in records]),
        "row_mask": np.array([record is not None for record in records], np.float32),
    }


@pytest.fixture
def sharding() -> NamedSharding:
    return NamedSharding(jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",)), PartitionSpec("data"))


def _stream(records: Any = None, **arguments: Any) -> BatchStream:
    return BatchStream(records or Numbers(53), collate_numbers, 8, remainder="pad", **{"epochs": 1, **arguments})


def _threads() -> int:
    return sum(thread.name == "device-batches" for thread in threading.enumerate())


@pytest.mark.parametrize("buffer", [1, 2, 20])
def test_batches_arrive_unchanged_and_in_order(sharding: NamedSharding, buffer: int) -> None:
    with device_batches(_stream(), sharding, buffer) as batches:
        arrived = list(batches)
    assert len(arrived) == 7
    for ours, theirs in zip(arrived, _stream(), strict=True):
        assert isinstance(ours["number"], jax.Array) and ours["number"].sharding == sharding
        np.testing.assert_array_equal(ours["number"], theirs["number"])
        np.testing.assert_array_equal(ours["row_mask"], theirs["row_mask"])


def test_state_counts_what_was_handed_out(sharding: NamedSharding) -> None:
    with device_batches(_stream(epochs=None, start=2), sharding, buffer=3) as batches:
        assert batches.state() == {"batch": 2}
        next(batches)
        time.sleep(0.2)  # time for the prefetch to run ahead
        assert batches.state() == {"batch": 3}
        second = np.asarray(next(batches)["number"])
    np.testing.assert_array_equal(second, next(_stream(start=3))["number"])


def test_closing_stops_the_thread(sharding: NamedSharding) -> None:
    batches = device_batches(_stream(epochs=None), sharding)
    next(batches)
    assert _threads() == 1
    batches.close()
    assert _threads() == 0
    with pytest.raises(StopIteration):
        next(batches)


def test_dropping_the_iterator_stops_the_thread(sharding: NamedSharding) -> None:
    batches = device_batches(_stream(epochs=None), sharding)
    next(batches)
    del batches
    assert _threads() == 0


def test_errors_surface_once_after_the_batches_before_them(sharding: NamedSharding) -> None:
    batches = device_batches(_stream(Numbers(53, broken=21), shuffle=False), sharding)
    assert [int(next(batches)["number"][0]) for _ in range(2)] == [0, 8]
    with pytest.raises(JaxepiError) as error:
        next(batches)
    assert str(error.value) == "shard: record 21 is corrupt"
    with pytest.raises(StopIteration):
        next(batches)
    assert _threads() == 0


def test_a_stream_of_another_process_is_refused(sharding: NamedSharding) -> None:
    stream = _stream(process_index=1, process_count=2)
    with pytest.raises(JaxepiError, match="hold rows 0 to 7 of a batch of 8, but the process reads rows 4 to 7"):
        device_batches(stream, sharding)
    with pytest.raises(JaxepiError, match="buffer is 0"):
        device_batches(_stream(), sharding, buffer=0)


PROGRAM = """
import jax, numpy as np, pytest
from jax.sharding import NamedSharding, PartitionSpec
from jaxepi.data import BatchStream, check_batch, device_batches
from jaxepi.errors import JaxepiError

records = [{"x": np.full(3, i)} for i in range(64)]
stack = lambda rows: {"x": np.stack([row["x"] for row in rows])}
mesh = jax.make_mesh((4, 2), ("data", "fsdp"))
sharding = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
batches = device_batches(BatchStream(records, stack, 16, epochs=1), sharding)
for ours, theirs in zip(batches, BatchStream(records, stack, 16, epochs=1), strict=True):
    assert len(ours["x"].addressable_shards) == 8 and ours["x"].addressable_shards[0].data.shape == (2, 3)
    np.testing.assert_array_equal(ours["x"], theirs["x"])
with pytest.raises(JaxepiError, match="is 12, but must be a multiple of 8 .8 device.s.*nearest that works is 16"):
    check_batch(12, sharding)
next(device_batches(BatchStream(records, stack, 16), sharding))  # left open: the program must end all the same
print("done")
"""


def test_eight_devices_share_a_batch_and_an_open_iterator_does_not_hang_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_size() -> None:
    with pytest.raises(JaxepiError, match=r"batch_size is 30, but must be a multiple of 8 .*nearest .* is 32"):
        check_batch_size(30, 8)
    with pytest.raises(JaxepiError, match=r"config\.batch_size is 40, .* multiple of 32 .*4 accumulation steps"):
        check_batch_size(40, 8, accumulate=4, name="config.batch_size")
    with pytest.raises(JaxepiError, match="batch_size is 0, .* nearest that works is 8"):
        check_batch_size(0, 8)
    check_batch_size(32, 8, accumulate=4)


def test_check_batch_accepts_what_fits(sharding: NamedSharding) -> None:
    check_batch(5, sharding)


TWO_PROCESSES = """
import sys
import jax, numpy as np
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from jax.sharding import NamedSharding, PartitionSpec
from jaxepi.data import BatchStream, device_batches

records = [{"x": np.full(3, i)} for i in range(20)]
stack = lambda rows: {"x": np.stack([np.full(3, -1) if row is None else row["x"] for row in rows])}
host = {"process_index": jax.process_index(), "process_count": 2}
sharding = NamedSharding(jax.make_mesh((4,), ("data",)), PartitionSpec("data"))
batches = device_batches(BatchStream(records, stack, 8, epochs=2, remainder="pad", **host), sharding)
alone = BatchStream(records, stack, 8, epochs=2, remainder="pad")
for ours, theirs in zip(batches, alone, strict=True):
    assert ours["x"].shape == (8, 3)
    for shard in ours["x"].addressable_shards:
        np.testing.assert_array_equal(shard.data, theirs["x"][shard.index])
    assert int(jax.jit(lambda x: x.sum())(ours["x"])) == theirs["x"].sum()
print("done")
"""


def test_two_processes_form_the_batches_of_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, address, str(process)],
            cwd=Path(__file__).parents[2],
            env={
                "PATH": "/usr/bin:/bin",
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    try:
        for process in processes:
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 0 and output.endswith("done\n"), errors
    finally:
        for process in processes:
            process.kill()
