"""Parity of windows, bins and files with what the original's data programs made of the same small genome."""

import json
import shlex
import shutil
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.build.options import parse_options
from data_prep.coverage.command import check_options, make_recipe
from data_prep.coverage.options import parser
from data_prep.coverage.original_folder import FolderStyle, example_bytes, features_of, write_folder, write_shard
from data_prep.coverage.placement import chosen_sequences
from data_prep.coverage.targets import read_targets
from data_prep.sources.genome import Genome
from jaxepi.data.tfrecord import stream_records

PARITY = ["--transform", "original", "--lost-contig", "parity", "--no-progress", "--processes", "1"]
CASES = {"pct": "targets.txt", "chr": "targets.txt", "peaks": "targets_peaks.txt"}


@pytest.fixture(scope="module")
def world(golden_path, tmp_path_factory):
    """A writable copy of the golden inputs: an index file is made beside the FASTA."""
    folder = tmp_path_factory.mktemp("golden") / "data_small"
    shutil.copytree(golden_path("basenji", "data_small"), folder, copy_function=shutil.copyfile)
    return folder


@pytest.fixture(scope="module", params=CASES)
def case(request, world, tmp_path_factory):
    """One run with the options of a golden file: expected arrays, options, recipe and the folder that was written."""
    monkey = pytest.MonkeyPatch()
    monkey.chdir(world)
    want = np.load(world / f"expected_{request.param}.npz")
    out = tmp_path_factory.mktemp(request.param)
    words = ["--fasta", "genome.fa", "--targets", CASES[request.param], "--out", str(out), "--layout", "original-exact"]
    args, typed = parse_options(parser(), [*words, *PARITY, *shlex.split(str(want["in:options"]))])
    check_options(args, typed)
    genome, table = Genome(args.fasta), read_targets(world / args.targets)
    contigs, sequences = chosen_sequences(args, genome, table)
    recipe = make_recipe(args, genome, table, contigs, sequences, out)
    made = out / "made"
    made.mkdir()
    write_folder(recipe, made, FolderStyle(args.per_file, parity=True), 1, SimpleNamespace(update=lambda size: None))
    monkey.undo()
    return SimpleNamespace(name=request.param, want=want, args=args, recipe=recipe, made=made, world=world)


def test_contigs_sequences_and_statistics_are_the_same_text(case):
    for name in ("contigs.bed", "sequences.bed", "statistics.json"):
        assert (case.made / name).read_text() == str(case.want[f"out:text/{name}"]), name
    assert (case.made / "targets.txt").read_text() == (case.world / CASES[case.name]).read_text()


def test_the_mask_of_unmappable_bins(case):
    if "out:mseqs_unmap" not in case.want:
        assert not (case.made / "mseqs_unmap.npy").exists()
        return
    mask = np.load(case.made / "mseqs_unmap.npy")
    assert mask.dtype == bool and np.array_equal(mask, case.want["out:mseqs_unmap"]) and mask.any()


def test_the_bins_of_every_track(case):
    bins = case.recipe.store.read(0, len(case.recipe.sequences))
    for track in range(bins.shape[2]):
        np.testing.assert_array_equal(bins[:, :, track], case.want[f"out:seqs_cov/{track}"], f"track {track}")


def decoded(path, shapes):
    """Arrays of a TFRecord file."""
    from tensorflow_datasets.proto import tf_example_pb2

    found = {}
    for payload in stream_records([zlib.decompress(path.read_bytes())], path):
        example = tf_example_pb2.Example.FromString(payload)
        for name, feature in example.features.feature.items():
            values = np.frombuffer(feature.bytes_list.value[0], np.float16 if name == "target" else np.uint8)
            found.setdefault(name, []).append(values.reshape(shapes[name]))
    return {name: np.stack(arrays) for name, arrays in found.items()}


def test_the_records_of_every_file(case):
    files = {key.split("/")[0].removeprefix("out:") for key in case.want.files if key.endswith("/count")}
    assert {path.name for path in (case.made / "tfrecords").iterdir()} == {f"{name}.tfr" for name in files}
    for name in files:
        want = {key.split("/")[1]: case.want[key] for key in case.want.files if key.startswith(f"out:{name}/")}
        count = want.pop("count")
        got = decoded(case.made / "tfrecords" / f"{name}.tfr", {key: array.shape[1:] for key, array in want.items()})
        assert got.keys() == want.keys()
        for key, array in want.items():
            assert len(array) == count
            np.testing.assert_array_equal(got[key], array, f"{name} {key}")


def test_files_are_the_same_bytes(case):
    """Three raw files; the order of the features in an example is by chance there, so it is taken from each file."""
    if case.name != "pct":
        pytest.skip("raw files are of this case")
    slices = case.recipe.slices(case.args.per_file)
    for path in sorted((case.world / "tfrecords_pct").glob("*.tfr")):
        split, _, number = path.stem.partition("-")
        first = next(stream_records([zlib.decompress(path.read_bytes())], path))
        order = sorted(
            ("sequence", "target", "umap"), key=lambda name: first.find(b"\n" + bytes([len(name)]) + name.encode())
        )
        records = [record for _, record in case.recipe.make_block(slices[split][int(number)]).records]
        features = [features_of(record) for record in records]
        again = case.made / "again.tfr"
        write_shard(again, (example_bytes({name: own[name] for name in order}) for own in features))
        assert again.read_bytes() == path.read_bytes(), path.name


def test_options_are_those_of_the_case(case):
    assert json.loads(str(case.want["out:text/statistics.json"]))["seq_length"] == case.args.window
