"""Signals that come while the main thread is in Python, and while it is in a library that does not come back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxepi.parallel.signals import collected, handling

ROOT = Path(__file__).parents[2]
# As a compiler does: C code that holds no lock of Python and hears no signal, for minutes.
STUCK = """
import hashlib, signal
from jaxepi.parallel.signals import collected, handling
print("ready", flush=True)
with {block}:
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


SWALLOWED = """
import contextlib, signal, time
from jaxepi.parallel import signals
signals.CLEANING = 0.5
with signals.handling([signal.SIGINT], signal.default_int_handler, lambda came: True):
    with contextlib.suppress(KeyboardInterrupt):  # as a callback from a library may do
        print("ready", flush=True)
        time.sleep(60)
    time.sleep(60)
"""


def test_a_handler_runs_in_python_and_the_former_one_comes_back():
    before, heard = signal.getsignal(signal.SIGINT), []
    with handling((signal.SIGINT,), lambda number, frame: heard.append(number), may_leave=lambda came: True):
        os.kill(os.getpid(), signal.SIGINT)
        while not heard:
            time.sleep(0.001)
    assert heard == [signal.SIGINT] and signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_the_first_signal_is_collected_and_the_second_interrupts(capsys):
    with pytest.raises(KeyboardInterrupt), collected(lambda: False) as seen:
        os.kill(os.getpid(), signal.SIGTERM)
        while not seen:
            time.sleep(0.001)
        assert seen == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert "stopping after this step" in capsys.readouterr().err


def test_the_first_signal_interrupts_where_nothing_is_lost(capsys):
    with pytest.raises(KeyboardInterrupt), collected(lambda: True) as seen:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert not seen and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("program", "signals"),
    [
        (STUCK.format(block="handling((signal.SIGINT,), signal.default_int_handler, lambda came: True)"), 1),
        (STUCK.format(block="collected(lambda: True)"), 1),
        (STUCK.format(block="collected(lambda: False)"), 2),
        (SWALLOWED, 1),
    ],
)
def test_a_process_that_cannot_hear_ends_at_once(program, signals):
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    for _ in range(signals):
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err and time.monotonic() - began < 10
