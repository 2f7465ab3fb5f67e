"""The files of an attention job over windows: the maps of the network, all of it or nothing."""

import dataclasses

import h5py
import numpy as np
import pytest
from flax import nnx

from jaxepi.data.subset import choose_records
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.registry import capability, get_system, task_of
from jaxepi.sequence import one_hot

EPIFORMER = get_system("epiformer")
TOY = EPIFORMER.toy(0, 5)


@dataclasses.dataclass(frozen=True)
class Data:
    """The toy's records as an opened dataset."""

    manifest = TOY.manifest
    fingerprint, path = "toy", "toy"
    splits = {"test": 5}

    def split(self, name):
        return TOY.records


def test_maps_of_every_window_layer_and_head(tmp_path):
    task = task_of(EPIFORMER, TOY.model | {"queries": 6}, TOY.task, TOY.manifest)
    model = task.build_model(nnx.Rngs(0))
    predictor = Predictor(model, EPIFORMER, task, source="toy")
    attend, chosen = capability(EPIFORMER, "attention"), choose_records(Data())
    told = attend(predictor, chosen, tmp_path / "out", figures=2, batch_size=3, progress=False)
    assert told["windows"] == 5 and len(list((tmp_path / "out" / "figures").glob("*.png"))) == 2
    codes, conservation = (np.stack([r[name] for r in TOY.records]) for name in ("sequence", "conservation"))
    seen = nnx.jit(lambda m, x, c: m(x, c, intermediates=True))(model, one_hot(codes, n_value=0.0), conservation)
    with h5py.File(tmp_path / "out" / "attention.h5") as file:
        assert file["attention"].shape == (5, 1, 2, 16, 16) and file.attrs["bin"] == 4 and file.attrs["crop"] == 2
        np.testing.assert_allclose(file["attention"][:, 0], seen.intermediates["attention_0"], atol=1e-3)
        np.testing.assert_allclose(file["attention"][:].sum(axis=-1, dtype=np.float32), 1, atol=5e-3)
        np.testing.assert_allclose(file["prediction"], seen.values, rtol=1e-4, atol=1e-5)
        assert [key.decode() for key in file["key"]] == [record["key"] for record in TOY.records]
    before = (tmp_path / "out" / "attention.h5").stat().st_mtime_ns
    assert attend(predictor, chosen, tmp_path / "out", figures=2, progress=False)["windows"] == 5
    assert (tmp_path / "out" / "attention.h5").stat().st_mtime_ns == before
    with pytest.raises(JaxepiError, match="--figures is -1"):
        attend(predictor, chosen, tmp_path / "other", figures=-1)
