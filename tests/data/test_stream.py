"""Batch streams: same batches for any readers, hosts and starting point; padding; shutdown; errors."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxepi.data import BatchStream, open_dataset
from jaxepi.errors import JaxepiError


class Numbers:
    """`count` records that hold nothing but their own number, one of them broken; counts how many were read."""

    def __init__(self, count: int, broken: int | None = None):
        self.count, self.broken, self.reads = count, broken, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Any]:
        if number == self.broken:
            raise JaxepiError(f"shard: record {number} is corrupt")
        self.reads += 1
        return {"number": number}


def collate_numbers(records: list[dict[str, Any] | None]) -> dict[str, np.ndarray]:
    """number (B,) and row_mask (B,); padding is -1 with mask 0."""
    return {
        "number": np.array([-1 if record is None else record["number"] for record in records]),
        "row_mask": np.array([record is not None for record in records], np.float32),
    }


def _numbers(**arguments: Any) -> list[list[int]]:
    arguments = {"batch_size": 8, "epochs": 2, "seed": 4, **arguments}
    with BatchStream(Numbers(53), collate_numbers, **arguments) as stream:
        return [batch["number"].tolist() for batch in stream]


def _reader_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("grain-prefetch")}


@pytest.mark.parametrize("readers", [1, 2, 7])
@pytest.mark.parametrize("remainder", ["drop", "pad"])
def test_readers_do_not_change_the_batches(readers: int, remainder: str) -> None:
    alone = _numbers(readers=0, remainder=remainder)
    assert len(alone) == (12 if remainder == "drop" else 14)
    assert _numbers(readers=readers, remainder=remainder) == alone
    assert _numbers(readers=readers, remainder=remainder, prefetch=1) == alone


@pytest.mark.parametrize("start", [0, 3, 7, 14])
def test_starting_at_a_batch_gives_the_tail(start: int) -> None:
    assert _numbers(start=start, remainder="pad") == _numbers(remainder="pad")[start:]


def test_state_is_the_start_of_the_rest() -> None:
    whole = _numbers()
    with BatchStream(Numbers(53), collate_numbers, 8, epochs=2, seed=4) as stream:
        for _ in range(5):
            next(stream)
        assert len(stream) == 7
        assert _numbers(start=stream.state()["batch"]) == whole[5:]


def test_a_late_start_reads_nothing_before_it() -> None:
    records = Numbers(10_000_000)
    with BatchStream(records, collate_numbers, 8, start=12_345_678, readers=0) as stream:
        next(stream)
    assert records.reads == 8


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_together_give_the_batches_of_one(hosts: int) -> None:
    shares = [_numbers(process_index=host, process_count=hosts, remainder="pad") for host in range(hosts)]
    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == _numbers(remainder="pad")


def test_padding_rows_are_masked() -> None:
    with BatchStream(Numbers(10), collate_numbers, 4, epochs=1, shuffle=False, remainder="pad") as stream:
        batches = list(stream)
    assert batches[-1]["number"].tolist() == [8, 9, -1, -1]
    assert batches[-1]["row_mask"].tolist() == [1, 1, 0, 0]
    assert sum(batch["row_mask"].sum() for batch in batches) == 10


def test_without_end_epochs_differ_and_are_complete() -> None:
    with BatchStream(Numbers(12), collate_numbers, 4) as stream:
        epochs = [np.concatenate([next(stream)["number"] for _ in range(3)]).tolist() for _ in range(3)]
        with pytest.raises(TypeError, match="no length"):
            len(stream)
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_dataset_streams_every_record_once(dataset_dir: Path) -> None:
    split = open_dataset(dataset_dir).split("train")
    starts = lambda records: {"start": np.array([record["start"] for record in records if record])}  # noqa: E731
    with BatchStream(split, starts, 4, epochs=1, remainder="pad", readers=3) as stream:
        seen = np.concatenate([batch["start"] for batch in stream])
    assert sorted(seen) == [2000 * number for number in range(23)]


def test_prefetch_is_bounded() -> None:
    records = Numbers(10_000)
    with BatchStream(records, collate_numbers, 10, readers=2, prefetch=3) as stream:
        next(stream)
        time.sleep(0.3)
        assert 10 <= records.reads <= 40  # the batch delivered and three ahead


def test_readers_stop_when_the_consumer_does() -> None:
    before = _reader_threads()
    stream = BatchStream(Numbers(10_000), collate_numbers, 8, readers=3)
    next(stream)
    readers = _reader_threads() - before
    assert readers
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
    for reader in readers:
        reader.join(timeout=10)
        assert not reader.is_alive()


def test_errors_of_readers_surface_and_end_the_stream() -> None:
    with BatchStream(Numbers(53, broken=21), collate_numbers, 8, shuffle=False, epochs=1, readers=2) as stream:
        assert [next(stream)["number"][0], next(stream)["number"][0]] == [0, 8]
        with pytest.raises(JaxepiError) as error:
            next(stream)
        assert str(error.value) == "shard: record 21 is corrupt"
        with pytest.raises(StopIteration):
            next(stream)


PROGRAM = """
import sys, time
from jaxepi.data import BatchStream

class Slow:
    def __len__(self): return 1000
    def __getitem__(self, number): time.sleep(0.01); return {}

stream = BatchStream(Slow(), lambda records: {"rows": records}, 10, readers=4)
next(stream)
print("streaming", flush=True)
while len(sys.argv) == 1:
    next(stream)
"""


def test_interrupt_ends_the_program() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "streaming\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors


def test_a_program_may_end_with_an_open_stream() -> None:
    program = [sys.executable, "-c", PROGRAM, "stop"]
    done = subprocess.run(program, cwd=Path(__file__).parents[2], timeout=30, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"readers": -1}, "readers is -1"),
        ({"start": 15, "remainder": "pad"}, "start is 15, but must be from 0 to 14"),
        ({"process_count": 3}, "3 processes cannot share evenly"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(JaxepiError, match=words):
        _numbers(**arguments)
