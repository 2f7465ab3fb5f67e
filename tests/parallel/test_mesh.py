import jax
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jaxepi.errors import JaxepiError
from jaxepi.parallel.mesh import AXES, make_mesh, state_shardings


class FakeMesh:
    """Enough of a mesh to decide shardings for more devices than this machine has."""

    def __init__(self, data, fsdp):
        self.shape, self.size = {"data": data, "fsdp": fsdp}, data * fsdp


def test_the_mesh_has_both_axes_and_every_device():
    mesh = make_mesh()
    assert mesh.axis_names == AXES and mesh.size == len(jax.devices())


def test_fsdp_must_divide_the_devices():
    with pytest.raises(JaxepiError, match=r"config\.mesh\.fsdp is 3, but must divide the number of devices"):
        make_mesh(3, devices=jax.devices() * 4)


def test_one_fsdp_device_replicates_everything():
    mesh = Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), AXES)
    tree = {"w": jax.ShapeDtypeStruct((17, 256, 256), np.float32)}
    assert state_shardings(mesh, tree)["w"].spec == PartitionSpec()


def test_the_longest_divisible_axis_is_split(monkeypatch):
    monkeypatch.setattr("jaxepi.parallel.mesh.NamedSharding", lambda mesh, spec: spec)
    tree = {
        "kernel": jax.ShapeDtypeStruct((17, 256, 512), np.float32),
        "odd": jax.ShapeDtypeStruct((17, 255, 511), np.float32),
        "small": jax.ShapeDtypeStruct((256,), np.float32),
    }
    got = state_shardings(FakeMesh(2, 4), tree)
    assert got["kernel"] == PartitionSpec(None, None, "fsdp")
    assert got["odd"] == got["small"] == PartitionSpec()
