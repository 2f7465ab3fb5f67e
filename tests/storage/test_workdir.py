"""The folder of a run, where it cannot be written."""

import errno

import pytest

from jaxepi.errors import JaxepiError
from jaxepi.storage import workdir
from jaxepi.storage.workdir import locked


def test_a_disk_that_is_full_at_the_lock_is_told(tmp_path, monkeypatch):
    def full(*more):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(workdir.os, "write", full)
        with pytest.raises(JaxepiError, match="Cannot write to --workdir .*x: No space left on device; make room"):
            locked(tmp_path / "x").__enter__()
    with locked(tmp_path / "x"):
        assert " on " in (tmp_path / "x" / "lock").read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxepiError, match="Cannot write to --workdir .*file"):
        locked(tmp_path / "file").__enter__()
