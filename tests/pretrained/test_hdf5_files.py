import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.sources import read_source

h5py = pytest.importorskip("h5py")


def write_keras(file, root: str) -> None:
    """Two layers whose names sort otherwise than they follow each other, and one without weights."""
    group = file.require_group(root) if root else file
    group.attrs["layer_names"] = [b"dense_10", b"relu", b"dense_9"]
    for layer, names in (("dense_10", ["dense_10/kernel:0", "dense_10/bias:0"]), ("relu", []), ("dense_9", ["w:0"])):
        part = group.require_group(layer)
        part.attrs["weight_names"] = [name.encode() for name in names]
        for i, name in enumerate(names):
            part[name] = np.full((2, i + 1), i, np.float32)


@pytest.mark.parametrize("root", ["model_weights", ""])
def test_keras_weights_come_in_layer_order_without_the_optimizer(tmp_path, root):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        write_keras(file, root)
        file["optimizer_weights/adam/m"] = np.zeros(3)
    prefix = f"{root}/" if root else ""
    read = read_source(tmp_path / "m.h5", [])
    assert list(read.arrays) == [
        f"{prefix}dense_10/dense_10/kernel:0",
        f"{prefix}dense_10/dense_10/bias:0",
        f"{prefix}dense_9/w:0",
    ]
    np.testing.assert_array_equal(list(read.arrays.values())[1], np.ones((2, 2)))


def test_other_hdf5_files_give_every_dataset(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/b"], file["c"] = np.arange(3), np.float32(2)
    assert {name: array.tolist() for name, array in read_source(tmp_path / "m.h5", []).arrays.items()} == {
        "a/b": [0, 1, 2],
        "c": 2.0,
    }


def test_data_outside_the_file_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(8))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["a"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("a", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)])
    for name in ("link.h5", "external.h5"):
        with pytest.raises(JaxepiError, match=f"{name} was refused"):
            read_source(tmp_path / name, [])


def test_text_and_damage_are_named(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a"] = "text"
    with pytest.raises(JaxepiError, match=r"m\.h5: a holds object"):
        read_source(tmp_path / "m.h5", [])
    (tmp_path / "m.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:100])
    with pytest.raises(JaxepiError, match=r"m\.h5 is not a readable HDF5"):
        read_source(tmp_path / "m.h5", [])
