"""Files that claim more than they hold, or hold what is not read: one sentence each, before anything is unpacked."""

import gzip
import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.pretrained import limits
from jaxepi.pretrained.sources import read_source


def npy(shape, data=b"") -> bytes:
    """An array's file whose header claims a shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


@pytest.mark.parametrize("shape", [(10**6, 10**6), (3,), (-1,)])
def test_headers_of_npz_members_are_compared_with_what_follows(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", npy(shape, bytes(8)))
    with pytest.raises(JaxepiError, match=r"w\.npz was refused: a\.npy claims the shape .* but holds 8 bytes"):
        read_source(tmp_path / "w.npz", [])


@pytest.mark.parametrize("kind", ["gz", "npz", "h5", "pth"])
def test_what_would_unpack_to_far_more_than_its_size_is_refused_unread(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(limits, "HARMLESS", 1_000_000)
    path, zeros = tmp_path / f"w.{kind}", np.zeros(10_000_000, np.uint8)
    if kind == "gz":
        path.write_bytes(gzip.compress(zeros.tobytes()))
    elif kind == "npz":
        np.savez_compressed(path, a=zeros)
    elif kind == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file.create_dataset("a", (10**12,), "f4", chunks=(1024,))
    else:
        torch = pytest.importorskip("torch")
        torch.save({"state_dict": {"a": torch.zeros(1).expand(10**12)}}, path)
    del zeros
    tracemalloc.start()
    with pytest.raises(JaxepiError, match=rf"w\.{kind} was refused: .* claims to hold [\d,]+ bytes"):
        read_source(path, ["state_dict"])
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_gzip_within_gzip(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    (tmp_path / "w.gz").write_bytes(gzip.compress(gzip.compress((tmp_path / "w.npz").read_bytes())))
    with pytest.raises(JaxepiError, match=r"w\.gz is gzipped more than once"):
        read_source(tmp_path / "w.gz", [])


@pytest.mark.parametrize("source", [None, 3, b"w.npz", ["w.npz"], "", object()])
def test_sources_of_other_types(source):
    with pytest.raises(JaxepiError, match="given as weights, but a path or a mapping of arrays was expected"):
        read_source(source, [])


def test_folders_and_home(tmp_path, monkeypatch):
    with pytest.raises(JaxepiError, match="There is no file"):
        read_source(tmp_path, [])
    np.savez(tmp_path / "w.npz", a=np.arange(3))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_source("~/w.npz", []).arrays["a"].tolist() == [0, 1, 2]


def safetensors_file(path, kind, data, shape):
    header = json.dumps({"a": {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def test_bfloat16_of_safetensors_is_read_and_float8_is_told(tmp_path):
    pytest.importorskip("safetensors")
    values = np.float32([1.5, -2.0, 0.0, 3e38])
    data = (values.view(np.uint32) >> 16).astype(np.uint16)
    safetensors_file(tmp_path / "w.safetensors", "BF16", data.tobytes(), [2, 2])
    read = read_source(tmp_path / "w.safetensors", []).arrays["a"]
    assert read.dtype == np.float32 and read.shape == (2, 2)
    np.testing.assert_array_equal(read.ravel(), (data.astype(np.uint32) << 16).view(np.float32))
    safetensors_file(tmp_path / "f8.safetensors", "F8_E4M3", bytes(4), [4])
    with pytest.raises(JaxepiError, match=r"f8\.safetensors holds a as F8_E4M3, which is not read here"):
        read_source(tmp_path / "f8.safetensors", [])


def test_kinds_of_torch_tensors_that_numpy_lacks(tmp_path):
    torch = pytest.importorskip("torch")
    ones = torch.ones(2, 2)
    for name, tensor in {
        "float8_e4m3fn": ones.to(torch.float8_e4m3fn),
        "sparse_coo": ones.to_sparse(),
        "qint8": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "meta": torch.empty(2, 2, device="meta"),
    }.items():
        with pytest.raises(JaxepiError, match=f"the given mapping: layer.weight is a tensor of a kind .*{name}"):
            read_source({"layer.weight": tensor}, [])
        if name != "meta":
            torch.save({"state_dict": {"layer.weight": tensor}}, tmp_path / "w.pth")
            with pytest.raises(JaxepiError, match=r"w\.pth"):
                read_source(tmp_path / "w.pth", [])


def test_torchscript_is_told_without_torchs_advice(tmp_path):
    torch = pytest.importorskip("torch")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    with pytest.raises(JaxepiError, match=r"script\.pt is a TorchScript archive.*save the state dict") as told:
        read_source(tmp_path / "script.pt", [])
    assert "weights_only" not in str(told.value)


def test_keras_3_is_told(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/conv1d/vars/0"] = np.zeros(3)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(tmp_path / "m.weights.h5", "model.weights.h5")
    for name in ("m.weights.h5", "m.keras"):
        with pytest.raises(JaxepiError, match=rf"{name} is in the format of Keras 3.*model\.save\('model\.h5'\)"):
            read_source(tmp_path / name, [])
