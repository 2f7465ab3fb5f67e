"""Records of every kind of dataset: what is written is read bit by bit, NaN, nothing at all and extremes included."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, from_dtype
from toys.texts import file_of

from data_prep.build.builder import OrderedSerializer, features_of
from data_prep.chromoformer.recipe import ChromoformerRecipe
from data_prep.deepcpg.recipe import DeepCpGRecipe, Layout, Statistics
from data_prep.melody.recipe import MelodyRecipe
from jaxepi.data.dataset import Split
from jaxepi.data.tfrecord import RecordFile, frame

pytest.importorskip("tensorflow")


def melody(window, tracks, binary):
    return MelodyRecipe(None, [None] * tracks, {}, window, value_dtype="float32" if binary else "float16")


def deepcpg(window, cells, binary):
    store = type("Store", (), {"__len__": lambda self: cells, "binary": binary, "cells": ()})()
    return DeepCpGRecipe(store, None, {}, Layout(window, 4, statistics=Statistics(site=("mean",))), {"a": None})


def chromoformer(window, marks, binary):
    source = SimpleNamespace(marks=("x",) * marks)
    return ChromoformerRecipe(source, (), 20 * window, 10, "uint16" if binary else "float32")


KINDS = {"melody": melody, "deepcpg": deepcpg, "chromoformer": chromoformer}


@st.composite
def values(draw, feature, free):
    """Anything that the feature can hold; `free` is the size of an axis without one of its own."""
    if feature.shape is None:
        return draw(st.text(max_size=8))
    dtype = np.dtype(feature.dtype)
    elements = from_dtype(dtype, allow_nan=True, allow_infinity=True) if dtype.kind == "f" else from_dtype(dtype)
    if feature.shape == ():
        return draw(elements)
    shape = tuple(free if size is None else size for size in feature.shape)
    return draw(arrays(dtype, shape, elements=elements, fill=draw(st.sampled_from([st.nothing(), elements]))))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_record_is_read_as_it_was_written(kind, data):
    recipe = KINDS[kind](data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)), data.draw(st.booleans()))
    features = features_of(recipe.features())
    records = [
        {name: data.draw(values(feature, data.draw(st.integers(0, 3)))) for name, feature in recipe.features().items()}
        for _ in range(2)
    ]
    serializer = OrderedSerializer(features.get_serialized_info())
    content = b"".join(frame(serializer.serialize_example(features.encode_example(record))) for record in records)
    with file_of(content) as path:
        read = Split("train", [RecordFile(path)], features, {})
        for number, record in enumerate(records):
            found = read[number]
            assert found.keys() == record.keys()
            for name, value in record.items():
                if not isinstance(value, np.ndarray):  # a scalar comes back as a number of Python
                    assert found[name] == value or value != value and np.isnan(found[name])
                else:
                    assert found[name].dtype == value.dtype and found[name].shape == value.shape
                    assert found[name].tobytes() == value.tobytes(), name
