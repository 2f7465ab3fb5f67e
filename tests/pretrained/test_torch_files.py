import collections
import datetime
import os
import pickle

import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.pretrained import torch_files
from jaxepi.pretrained.torch_files import as_array, read_torch

torch = pytest.importorskip("torch")


class Malicious:
    """Unpickling this runs a command."""

    def __init__(self, marker):
        self.command = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-1.6"])
def test_what_training_scripts_put_beside_the_weights_is_read(tmp_path, zipped):
    now = datetime.datetime.now(datetime.UTC)
    content = {
        "step": 3,
        "model_state_dict": collections.OrderedDict(a=torch.arange(6.0).reshape(2, 3)),
        "rng_state": torch.get_rng_state(),
        "loss_history": [np.asarray(np.float32(1.5)), np.float64(2.5), np.int64(3), np.bool_(True)],
        "array": np.arange(4),
        "start_time": now,
        "elapsed": datetime.timedelta(seconds=9),
    }
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    read = read_torch(tmp_path / "a.pth", "a.pth")
    np.testing.assert_array_equal(as_array(read["model_state_dict"]["a"]), np.arange(6.0).reshape(2, 3))
    assert read["start_time"] == now and read["elapsed"].seconds == 9
    assert read["loss_history"] == [1.5, 2.5, 3, True]
    np.testing.assert_array_equal(read["array"], np.arange(4))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-1.6"])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, zipped):
    marker, file = tmp_path / "executed", tmp_path / "bad.pth"
    torch.save(
        {"state_dict": {"a": torch.ones(2)}, "x": Malicious(marker)}, file, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(JaxepiError, match=r"bad\.pth was refused.*system"):
        read_torch(file, str(file))
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))  # the attack is real: this is what an ordinary loader does
    assert marker.exists()


def test_a_malicious_plain_pickle_and_object_arrays_are_refused(tmp_path):
    marker, file = tmp_path / "executed", tmp_path / "bad.pth"
    for protocol in (0, 2, 4):
        file.write_bytes(pickle.dumps(Malicious(marker), protocol))
        with pytest.raises(JaxepiError, match="bad.pth"):
            read_torch(file, str(file))
    torch.save({"x": np.array([Malicious(marker)], object)}, file)
    with pytest.raises(JaxepiError, match=r"refused.*ObjectDType|refused.*system"):
        read_torch(file, str(file))
    assert not marker.exists()


def test_a_whole_pickled_module_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(JaxepiError, match=r"torch\.nn\.modules\.linear\.Linear.*state dict"):
        read_torch(tmp_path / "module.pt", "module.pt")


def test_errors_never_advise_to_switch_the_protection_off(tmp_path):
    for damage in (b"\x80\x04junk", b"\x80\x02c__builtin__\nprint\n."):
        (tmp_path / "x.pth").write_bytes(damage)
        with pytest.raises(JaxepiError) as told:
            read_torch(tmp_path / "x.pth", "x.pth")
        assert "weights_only" not in str(told.value) and "add_safe_globals" not in str(told.value)


def test_a_truncated_file_is_named(tmp_path):
    torch.save({"a": torch.randn(1000)}, tmp_path / "a.pth")
    data = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(JaxepiError, match=r"a\.pth is not a readable torch file"):
        read_torch(tmp_path / "a.pth", "a.pth")


def test_without_torch_one_is_told_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(torch_files.importlib, "import_module", missing)
    with pytest.raises(JaxepiError, match=r"pip install 'jaxepi\[convert\]'"):
        read_torch(tmp_path / "a.pth", "a.pth")


def test_a_torch_whose_restricted_loader_has_a_hole_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(JaxepiError, match=r"2\.6 or newer.*2\.5\.1"):
        read_torch(tmp_path / "a.pth", "a.pth")


def test_bfloat16_tensors_keep_their_values():
    np.testing.assert_array_equal(as_array(torch.tensor([1.5, -2.0], dtype=torch.bfloat16)), np.float32([1.5, -2.0]))
    assert as_array("no tensor") is None
