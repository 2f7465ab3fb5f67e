"""Checkpoints, logs and files of results are compared with the checksums that they carry."""

import gzip
import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.storage.verify import Finding, verify_checkpoints, verify_file


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


def test_checkpoints_without_their_model(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=5)
    for step in (1, 2, 3, 4):
        state = {"params": {"w": jnp.full((64, 64), step, jnp.bfloat16)}, "ema": None, "step": jnp.asarray(step)}
        checkpoints.save(step, state, {"note": "n"})
    checkpoints.close()
    folder = tmp_path / "checkpoints"
    assert [finding.state for finding in verify_checkpoints(folder)] == ["whole"] * 4
    meta = folder / "4" / "meta" / "metadata"
    meta.write_text(meta.read_text().replace('"n"', '"m"'))
    told = json.loads((folder / "3" / "meta" / "metadata").read_text())
    del told["meta_checksum"]
    (folder / "3" / "meta" / "metadata").write_text(json.dumps(told))
    told["step"], told["checksums"]["params"] = 2, 7
    (folder / "2" / "meta" / "metadata").write_text(json.dumps(told))
    for file in (folder / "1" / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:10])
    (folder / "9.orbax-checkpoint-tmp").mkdir()
    four, three, two, one, half = verify_checkpoints(folder)
    assert str(four) == f"{folder}/4: damaged: its description does not match its checksum"
    assert str(three) == f"{folder}/3: whole (state; earlier versions sign no description)"
    assert two.about == "its params does not match its checksum" and one.state == "damaged"
    assert (half.place.name, half.state) == ("9.orbax-checkpoint-tmp", "left over")


@pytest.mark.parametrize("name", ["x.json", "x.npz", "x.tsv.gz", "x.h5"])
def test_files_of_results(tmp_path, name):
    path = tmp_path / name
    if name == "x.npz":
        np.savez_compressed(path, a=np.arange(1000))
    elif name == "x.h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file.create_dataset("g/a", data=np.random.default_rng(0).random((50, 9)), compression="gzip")
            file["scalar"] = 3
    else:
        content = json.dumps({"a": list(range(200))}).encode()
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert verify_file(path).state == "whole"
    if name == "x.json":
        path.write_text(path.read_text()[:-2])
    else:
        data = path.read_bytes()
        middle = data.find(b"x\x5e") + 20 if name == "x.h5" else len(data) // 2
        flip(path, middle)
    found = verify_file(path)
    assert found.state == "damaged" and "\n" not in str(found), found
    assert verify_file(tmp_path / "x.bw") is None


def test_lines_of_a_log_that_a_kill_cut_short_are_no_damage(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = ['{"kind": "start"}', '{"kind": "tra', '{"kind": "resume"}', '{"kind": "train"}', '{"kin']
    path.write_text("\n".join(lines))
    assert verify_file(path) == Finding(path, "whole", "5 lines, 2 of them cut short by a kill")
    lines[3] = '{"kind: "train"}'
    path.write_text("\n".join([*lines[:4], '{"kind": "train"}']))
    assert str(verify_file(path)) == f"{path}: damaged: line 4 is no JSON object"
