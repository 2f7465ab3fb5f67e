"""Chunk files of the original: their order, what they hold, and one sentence for each that is wrong."""

import numpy as np
import pytest

from data_prep.epiformer.chunk_files import ChunkReader, find_chunks, read_headers
from data_prep.epiformer.chunk_recipe import ChunkRecipe
from jaxepi.errors import JaxepiError

h5py = pytest.importorskip("h5py")
LENGTH, TRACKS, BINS = 40, 2, 5


def arrays(first=0, count=3):
    rng = np.random.default_rng(first)
    value = rng.gamma(1, 3, (count, TRACKS, BINS))
    value[0, 0, 0], value[0, 1, 1] = np.nan, 99_999
    return {
        "inputs/seq": ["".join(rng.choice(list("ACGTn"), LENGTH)) for _ in range(count)],
        "inputs/seqcons": rng.random((count, LENGTH)),
        "targets/value": value,
        "segments/name": [f"chr1:{LENGTH * (first + i)}-{LENGTH * (first + i + 1)}" for i in range(count)],
    }


def write(path, content, **packing):
    with h5py.File(path, "w") as file:
        for name, data in content.items():
            if isinstance(data, list):
                file.create_dataset(name, data=data, dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=data, **(packing or {"compression": "gzip"}))
    return path


@pytest.fixture
def folder(tmp_path):
    """Files 0, 1, … 10 of one dataset; those of even number have labels."""
    for number in range(11):
        labels = {"targets/label": np.ones((3, TRACKS, BINS), np.float32)} if number % 2 == 0 else {}
        write(tmp_path / f"human.{number}.h5", arrays(3 * number) | labels)
    return tmp_path


def numbers(paths):
    return [int(path.name.split(".")[1]) for path in paths]


def test_the_order_of_numbers_or_of_text(folder):
    assert numbers(find_chunks([str(folder)], "number", None)) == list(range(11))
    assert numbers(find_chunks([str(folder)], "text", None))[:4] == [0, 1, 10, 2]
    assert numbers(find_chunks([str(folder)], "text", 2)) == [0, 1]
    given = [str(folder / f"human.{number}.h5") for number in (7, 2)]
    assert numbers(find_chunks(given, "number", None)) == [2, 7]


def test_records_in_any_choice_of_windows(folder):
    chunks = read_headers(find_chunks([str(folder)], "number", None))
    chosen = {"train": np.array([0, 2, 3, 5, 30]), "valid": np.array([1])}
    recipe = ChunkRecipe(chunks, chosen, ["a", "b"], None, "nan", {})
    made = recipe.make_block(recipe.blocks()["train"][0])
    records = [record for _, record in made.records]
    assert [record["start"] // LENGTH for record in records] == [0, 2, 3, 5, 30]
    assert made.tally.sums["bins_missing"].tolist() == [3, 0] and made.tally.sums["bins_beyond_float16"].tolist() == [
        0,
        3,
    ]
    want = arrays(3)
    np.testing.assert_array_equal(records[2]["conservation"], want["inputs/seqcons"][0].astype(np.float16))
    np.testing.assert_array_equal(
        records[2]["target"], np.minimum(want["targets/value"][0].T, 65_504).astype(np.float16)
    )
    assert ["ACGTn"[code] for code in records[2]["sequence"]] == list(want["inputs/seq"][0])
    assert records[1]["label"].all() and not records[2]["label"].any(), "a file without labels has no peak"
    assert made.tally.sums["bins_labelled"].tolist() == [15, 15]
    zero = ChunkRecipe(chunks, chosen, ["a", "b"], None, "zero", {}).make_block(recipe.blocks()["valid"][0])
    assert np.isfinite(zero.records[0][1]["target"]).all()


def test_files_that_are_not_there_or_of_several_datasets(folder):
    for given, sentence in [
        (["none"], "none is no file"),
        ([str(folder / "human.1.h5")] * 2, "names a chunk file of human twice"),
    ]:
        with pytest.raises(JaxepiError, match=sentence):
            find_chunks(given, "number", None)
    (folder / "human.4.h5").unlink()
    with pytest.raises(JaxepiError, match="human.4.h5 is missing, though later ones are there"):
        find_chunks([str(folder)], "number", None)
    (folder / "mouse.4.h5").touch()
    with pytest.raises(JaxepiError, match="chunk files of 2 datasets .human, mouse."):
        find_chunks([str(folder)], "number", None)
    (folder / "notes.h5").touch()
    with pytest.raises(JaxepiError, match="notes.h5 has no number before .h5"):
        find_chunks([str(folder)], "number", None)


def without(name):
    return {key: data for key, data in arrays().items() if key != name}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (without("inputs/seqcons"), "has no dataset inputs/seqcons, only inputs, segments, targets"),
        (
            arrays() | {"inputs/seq": ["::chr1:0-40"] * 3},
            "has '::chr1:0-40' in inputs/seq as the sequence of chr1:0-40",
        ),
        (arrays() | {"inputs/seq": ["-" * LENGTH] * 3}, "as the sequence of chr1:0-40: 40 letters were expected"),
        (arrays() | {"inputs/seq": ["ACGT"]}, "n letters, n × bp, n × tracks × bins and n names were expected"),
        (arrays() | {"targets/value": np.zeros((3, BINS))}, "n letters, n × bp, n × tracks × bins"),
        (arrays() | {"targets/value": np.zeros((3, 1, 7))}, "has 7 bins in windows of 40 bp"),
        (arrays() | {"targets/value": np.full((3, 1, 5), np.inf)}, "has inf in targets/value, window 0"),
        (arrays() | {"inputs/seqcons": np.full((3, LENGTH), np.nan)}, "has nan in inputs/seqcons, window 0"),
        (arrays() | {"targets/label": np.full((3, TRACKS, BINS), 2)}, "has a targets/label other than 0 and 1"),
        (arrays() | {"segments/name": ["chr1"] * 3}, "a name in segments/name is wrong, as 'chr1' is no region"),
        (arrays() | {"segments/name": ["chr1:0-50"] * 3}, "calls a window of 40 bp chr1:0-50, which is 50 bp long"),
        (arrays() | {"segments/name": ["chr1:0-40"] * 3}, "both hold chr1:0-40"),
    ],
)
def test_contents_that_cannot_be_right(tmp_path, content, sentence):
    path = write(tmp_path / "x.0.h5", content)
    with pytest.raises(JaxepiError) as problem:
        read_headers([path])
    assert sentence in str(problem.value) and str(path) in str(problem.value)


def test_files_of_different_shapes_and_damaged_ones(tmp_path):
    first, second = write(tmp_path / "x.0.h5", arrays()), tmp_path / "x.1.h5"
    write(second, arrays(3) | {"targets/value": np.zeros((3, 1, BINS))})
    with pytest.raises(JaxepiError, match="x.1.h5 has windows of 40 bp with 1 tracks and 5 bins, but"):
        read_headers([first, second])
    second.write_bytes(first.read_bytes()[:900])
    with pytest.raises(JaxepiError, match="x.1.h5 is truncated or not an HDF5 file"):
        read_headers([second])


def test_a_file_that_needs_the_plugin_says_so(tmp_path, monkeypatch):
    path = write(tmp_path / "x.0.h5", arrays())
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(JaxepiError, match="needs hdf5plugin, and that is not installed: run pip install"):
        read_headers([path])


def test_files_as_the_original_packs_them(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    (chunk,) = read_headers([write(tmp_path / "x.0.h5", arrays(), **hdf5plugin.LZ4())])
    rows = ChunkReader(chunk.path).read(1, 2, LENGTH)
    np.testing.assert_array_equal(rows.value, arrays()["targets/value"][1:].transpose(0, 2, 1))
