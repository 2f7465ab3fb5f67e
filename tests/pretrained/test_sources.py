import gzip
from pathlib import Path

import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.sources import read_source, write_source

ARRAYS = {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.float32([0.1, -0.0])}
REAL = Path(__file__).parents[3] / "shared" / "data" / "real" / "checkpoints" / "cs282a_linear_probe_first_full_run.pth"


def same(read) -> bool:
    return set(read.arrays) == set(ARRAYS) and all(
        read.arrays[n].tobytes() == a.tobytes() and read.arrays[n].dtype == a.dtype for n, a in ARRAYS.items()
    )


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".npz", ".safetensors"])
@pytest.mark.parametrize("tracks", [None, ["liver", "B <cells>"]])
def test_each_format_gives_back_the_same_bits_and_tracks(tmp_path, suffix, tracks):
    path = tmp_path / f"w{suffix}"
    write_source(path, ARRAYS, "model_state_dict", tracks)
    read = read_source(path, ["model_state_dict"])
    assert same(read)
    assert read.tracks == (None if tracks is None else tuple(tracks))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_the_content_tells_the_format_and_gzip_is_unpacked(tmp_path, suffix):
    write_source(tmp_path / f"w{suffix}", ARRAYS, "net", None)
    renamed = tmp_path / "weights.bin.gz"
    renamed.write_bytes(gzip.compress((tmp_path / f"w{suffix}").read_bytes()))
    assert same(read_source(renamed, ["net"]))


def test_mappings_bare_or_wrapped_also_with_tensors():
    torch = pytest.importorskip("torch")
    assert same(read_source(ARRAYS, ["state_dict"]))
    assert same(
        read_source({"epoch": 3, "state_dict": {n: torch.from_numpy(a) for n, a in ARRAYS.items()}}, ["state_dict"])
    )


def test_what_is_no_tensor_is_named_with_what_the_file_has():
    with pytest.raises(JaxepiError, match=r"'epoch' is no tensor.*'model_state_dict'.*'epoch', 'weights'"):
        read_source({"epoch": "x", "weights": ARRAYS}, ["model_state_dict"])


def test_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", a=np.array([{}], object))
    with pytest.raises(JaxepiError, match=r"bad\.npz was refused.*execute code"):
        read_source(tmp_path / "bad.npz", [])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_truncated_files_are_named(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    write_source(path, {"a": np.random.default_rng(0).normal(size=1000)}, "net", None)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(JaxepiError, match=path.name):
        read_source(path, ["net"])


def test_a_flipped_bit_in_a_torch_file_is_told(tmp_path):
    path = tmp_path / "w.pth"
    write_source(path, {"a": np.random.default_rng(0).normal(size=1000)}, "net", None)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4  # inside the tensor, which torch maps without a look at its checksum
    path.write_bytes(bytes(data))
    with pytest.raises(JaxepiError, match=r"w\.pth is damaged: .* does not match its checksum"):
        read_source(path, ["net"])


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(JaxepiError, match=r"no file .*none\.pth"):
        read_source(tmp_path / "none.pth", [])
    (tmp_path / "text.pth").write_text("hello, this is no checkpoint")
    with pytest.raises(JaxepiError, match="no known kind of weights"):
        read_source(tmp_path / "text.pth", [])
    (tmp_path / "bad.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(JaxepiError, match=r"bad\.gz is a damaged gzip"):
        read_source(tmp_path / "bad.gz", [])


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    with pytest.raises(JaxepiError, match="suffix"):
        write_source(tmp_path / "w.bin", ARRAYS, "net", None)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(JaxepiError, match="No space left"):
        write_source(tmp_path / "w.npz", ARRAYS, "net", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not REAL.exists(), reason="real checkpoint is not here")
def test_a_real_released_file():
    read = read_source(REAL, ["state_dict"])
    assert {name: array.shape for name, array in read.arrays.items()} == {
        "conv_layer.weight": (18, 1536, 1),
        "conv_layer.bias": (18,),
    }
