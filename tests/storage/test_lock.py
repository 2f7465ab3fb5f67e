"""Locks end with their file or their process."""

import subprocess
import sys

import pytest

from jaxepi.storage.lock import hold

HOLD = "import sys; from pathlib import Path; from jaxepi.storage.lock import hold; held = hold(Path(sys.argv[1])); "


def test_one_holder_at_a_time(tmp_path):
    with hold(tmp_path / "lock"), pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
    hold(tmp_path / "lock").close()


def test_a_lock_ends_with_its_process_and_can_be_waited_for(tmp_path):
    program = HOLD + "print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
    process.kill()
    hold(tmp_path / "lock", wait=True).close()
    process.communicate()


def test_what_a_holder_wrote_stays(tmp_path):
    with hold(tmp_path / "lock") as file:
        file.write("17 on a host")
    hold(tmp_path / "lock").close()
    assert (tmp_path / "lock").read_text() == "17 on a host"
