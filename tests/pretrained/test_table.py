import numpy as np
import pytest
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import (
    IDENTITY,
    TORCH_CONV1D,
    TORCH_LINEAR,
    Entry,
    Unused,
    load_into,
    original_shapes,
    permute,
    strip_prefixes,
    to_original,
    weights_digest,
)


class Toy(nnx.Module):
    """Something with parameters, statistics and a random stream, as other systems' models have them."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(4, 5, (3,), rngs=rngs)
        self.norm = nnx.BatchNorm(5, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(5, 2, rngs=rngs)])


TABLE = [
    Entry("conv.weight", "conv.kernel", TORCH_CONV1D),
    Entry("conv.bias", "conv.bias"),
    Entry("bn.weight", "norm.scale"),
    Entry("bn.bias", "norm.bias"),
    Entry("bn.running_mean", "norm.mean"),
    Entry("bn.running_var", "norm.var"),
    Unused("bn.num_batches_tracked", np.int64(0)),
    Entry("fc.0.weight", "layers.0.kernel", TORCH_LINEAR),
    Entry("fc.0.bias", "layers.0.bias"),
]
SHAPES = {
    **{"conv.weight": (5, 4, 3), "conv.bias": (5,), "bn.weight": (5,), "bn.bias": (5,), "bn.running_mean": (5,)},
    **{"bn.running_var": (5,), "bn.num_batches_tracked": (), "fc.0.weight": (2, 5), "fc.0.bias": (2,)},
}


def toy_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return {**arrays, "bn.num_batches_tracked": np.int64(0)}


def test_shapes_are_those_of_the_original_in_its_order():
    assert list(original_shapes(Toy(nnx.Rngs(0)), TABLE).items()) == list(SHAPES.items())


def test_round_trip_keeps_every_bit_including_statistics():
    model, arrays = Toy(nnx.Rngs(0)), toy_arrays()
    load_into(model, arrays, TABLE)
    back = to_original(model, TABLE)
    assert list(back) == list(SHAPES)
    assert all(back[name].tobytes() == arrays[name].tobytes() for name in SHAPES)
    np.testing.assert_array_equal(model.conv.kernel[...][2, 3], arrays["conv.weight"][:, 3, 2])
    np.testing.assert_array_equal(model.norm.var[...], arrays["bn.running_var"])


def test_an_unused_tensor_may_be_absent():
    arrays = toy_arrays()
    del arrays["bn.num_batches_tracked"]
    load_into(Toy(nnx.Rngs(0)), arrays, TABLE)


def test_every_problem_is_named_in_one_error_and_the_model_stays_as_it_was():
    model, arrays = Toy(nnx.Rngs(0)), toy_arrays()
    before = np.asarray(model.conv.bias[...])
    arrays["conv.wieght"] = arrays.pop("conv.weight")
    arrays["extra"] = np.zeros(1)
    arrays["fc.0.weight"] = arrays["fc.0.weight"].T
    arrays["bn.bias"] = np.array(list("abcde"))
    arrays["bn.weight"] = np.full(5, np.nan, np.float32)
    with pytest.raises(JaxepiError) as told:
        load_into(model, arrays, TABLE, "toy.pth")
    message = str(told.value)
    assert "toy.pth" in message
    assert "missing 1: conv.weight (did you mean 'conv.wieght'?)" in message
    assert "unexpected 2: conv.wieght (did you mean 'conv.weight'?), extra" in message
    assert "fc.0.weight is (5, 2) where (2, 5) was expected" in message
    assert "bn.weight (holds NaN or infinity)" in message and "bn.bias (<U1)" in message
    np.testing.assert_array_equal(model.conv.bias[...], before)


def test_a_weight_of_the_model_that_no_line_fills_is_an_error():
    arrays = {name: array for name, array in toy_arrays().items() if not name.startswith("fc")}
    with pytest.raises(JaxepiError, match=r"lacks 2: layers\.0\.bias, layers\.0\.kernel"):
        load_into(Toy(nnx.Rngs(0)), arrays, TABLE[:-2])


def test_many_problems_are_counted():
    arrays = {f"x{i}": np.zeros(1) for i in range(25)}
    with pytest.raises(JaxepiError, match=r"unexpected 25: x0, .*x9 and 15 more"):
        load_into(Toy(nnx.Rngs(0)), {**toy_arrays(), **arrays}, TABLE)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_float32(dtype):
    model, arrays = Toy(nnx.Rngs(0)), {name: array.astype(dtype) for name, array in toy_arrays().items()}
    load_into(model, arrays, TABLE)
    assert model.conv.kernel.dtype == np.float32
    np.testing.assert_array_equal(model.conv.bias[...], arrays["conv.bias"].astype(np.float32))


def test_transforms_are_undone_by_their_inverse():
    array = np.arange(24).reshape(2, 3, 4)
    for transform in (IDENTITY, TORCH_CONV1D, permute(1, 2, 0), permute(2, 0, 1)):
        np.testing.assert_array_equal(transform.inverse(transform.forward(array)), array)
    assert permute(1, 2, 0).forward(array).shape == (3, 4, 2)


def test_prefixes_are_stripped_only_if_all_names_have_them():
    assert strip_prefixes(["module._orig_mod.a", "module._orig_mod.b"], ["_orig_mod.", "module."]) == {
        "module._orig_mod.a": "a",
        "module._orig_mod.b": "b",
    }
    assert strip_prefixes(["module.a", "b"], ["module."]) == {"module.a": "module.a", "b": "b"}
    assert strip_prefixes([], ["module."]) == {}


def test_a_digest_tells_bits_and_places_apart():
    model = Toy(nnx.Rngs(0))
    before = weights_digest(model)
    assert weights_digest(Toy(nnx.Rngs(0))) == before
    model.norm.mean.set_value(model.norm.mean[...] + 1e-7)
    moved = weights_digest(model)
    model.norm.mean.set_value(model.norm.mean[...] * 0)
    model.norm.bias.set_value(model.norm.bias[...] + 1e-7)
    assert len({before, moved, weights_digest(model)}) == 3
