"""Jobs over sites that are killed: run again, they leave the bytes of a job that was not."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.runs.impute import impute_run
from jaxepi.runs.mutagenesis import effects_run
from jaxepi.storage.job import finished
from jaxepi.storage.site_store import SiteStore

HERE = Path(__file__).parent
JOB = """
import os, signal, sys
folder, mode, out, where = sys.argv[1:]
sys.path.insert(0, folder)
from test_site_store import run_job
from jaxepi.storage import site_store

site_store.SYNC_SECONDS = 0
append = site_store.SiteStore.append_sites

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def append_or_die(store, *sites, **columns):
    append(store, *sites, **columns)
    if store.sites >= 8:
        store._files["sites"].write(b"half a si")
        store._files["sites"].flush()
        die()

if where == "batch":
    site_store.SiteStore.append_sites = append_or_die
else:
    site_store.SiteStore.publish = die
run_job(mode, out)
"""


def run_job(mode, out):
    """Imputation, or effects, of 11 sites in batches of two (exact effects: one by one)."""
    sys.path.insert(0, str(HERE.parent / "runs"))
    try:
        from test_site_run import make_run
    finally:
        sys.path.remove(str(HERE.parent / "runs"))
    run = make_run(counts={"train": 2, "test": 9})
    if mode == "impute":
        impute_run(run, Path(out), batch_size=2)
    else:
        effects_run(run, Path(out), method=mode, width=7, batch_size=2)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("mode", "where"), [("impute", "batch"), ("gradient", "batch"), ("exact", "batch"), ("gradient", "end")]
)
def test_kill_and_rerun_gives_the_same_bytes(tmp_path, mode, where):
    command = [sys.executable, "-c", JOB, str(HERE), mode, str(tmp_path / "out"), where]
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path)), "JAX_PLATFORMS": "cpu"}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out").exists()
    left = (tmp_path / "out.partial" / "progress.json").read_text()
    assert f'"sites": {8 if where == "batch" else 11},' in left
    run_job(mode, tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()
    run_job(mode, tmp_path / "whole")
    made = files_of(tmp_path / "whole")
    assert files_of(tmp_path / "out") == made
    names = {path.name for path in made}
    assert names >= ({"imputed.h5", "impute.json"} if mode == "impute" else {"effects.h5", "effects.json"})
    assert not any(name.endswith((".raw", "lock")) or name == "progress.json" for name in names)


def store(out, **arguments):
    return SiteStore(out, {"n": 1, **arguments}, {"value": (np.float32, (2,))}, {"seen": 0})


def test_what_was_appended_comes_back_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxepi.storage.site_store._BLOCK_BYTES", 40)
    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    with store(tmp_path / "out") as one:
        one.append_sites(["chr2"] * 4, np.arange(4), value=values[:4])
        one.state["seen"] = 4
        one.sync()
        one.append_sites(["chr1"], np.array([9]), value=values[4:5])  # not made to last
    with store(tmp_path / "out") as again:
        assert (again.sites, again.chroms, again.state) == (4, ["chr2"], {"seen": 4})
        again.append_sites(["chr2", "chr1", "chr1"], np.array([2**31, 5, 6]), value=values[4:])
        again.sync()
        blocks = list(again.site_blocks())
        assert len(blocks) == 4
        assert np.concatenate([b[0] for b in blocks]).tolist() == ["chr2"] * 5 + ["chr1"] * 2
        assert np.concatenate([b[1] for b in blocks]).tolist() == [0, 1, 2, 3, 2**31, 5, 6]
        np.testing.assert_array_equal(np.concatenate([b[2]["value"] for b in blocks]), values)
        again.publish("done.json", {"sites": 7})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"done.json"}


def test_another_job_and_a_busy_folder_are_refused(tmp_path):
    with store(tmp_path / "out") as one:
        one.sync()
        with pytest.raises(JaxepiError, match="Another process is writing"):
            store(tmp_path / "out")
    with pytest.raises(JaxepiError, match="out.partial was left by a job with n 1, not 2: remove it"):
        store(tmp_path / "out", n=2)
    (tmp_path / "file").touch()
    with pytest.raises(JaxepiError, match=r"Cannot make .*file/out.partial \(Not a directory\): choose another --out"):
        store(tmp_path / "file" / "out")
    store(tmp_path / "out").close()  # the refused ones let go of it


@pytest.mark.parametrize("last", ["sites.raw", "lock"])
def test_a_kill_while_the_raw_files_are_removed_costs_nothing(tmp_path, monkeypatch, last):
    with store(tmp_path / "out") as one:
        one.append_sites(["1"], np.array([3]), value=np.ones((1, 2)))
        one.sync()
        remove = Path.unlink

        def dying(path, **options):
            remove(path, **options)
            if path.name == last:
                raise RuntimeError("killed")

        monkeypatch.setattr(Path, "unlink", dying)
        with pytest.raises(RuntimeError, match="killed"):
            one.publish("done.json", {"sites": 1})
        monkeypatch.undo()
    shutil.copytree(tmp_path / "out.partial", tmp_path / "other.partial")
    assert finished(tmp_path / "out", "done.json", {"n": 1}, "job") == {"arguments": {"n": 1}, "sites": 1}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["done.json"]
    assert not (tmp_path / "out.partial").exists()
    # Another job begins anew there, and its files are not taken for those of the first.
    assert finished(tmp_path / "other", "done.json", {"n": 2}, "job") is None
    with store(tmp_path / "other", n=2) as again:
        assert again.sites == 0
    assert finished(tmp_path / "other", "done.json", {"n": 1}, "job") is None
