import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

import jaxepi
from configs.melody_mt import get_config
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.registry import get_system, task_of
from jaxepi.sequence import decode, one_hot, reverse_complement, shift
from jaxepi.storage.atomic import plain
from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.task import Views
from jaxepi.train.state import TrainState


@pytest.fixture(scope="module")
def codes(predictor) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, (5, predictor.window)).astype(np.uint8)


def test_strings_codes_and_one_hot_agree_with_the_model(predictor, codes):
    expected = jax.nn.sigmoid(predictor.model(one_hot(codes)).logits)
    for kind in (codes, codes.astype(np.int64), one_hot(codes), [decode(row) for row in codes]):
        values = predictor.predict(kind, batch_size=8)
        assert values.shape == (5, predictor.window, 2) and values.dtype == np.float32
        np.testing.assert_allclose(values, expected, atol=5e-6)


def test_the_batch_size_changes_nothing_and_single_windows_are_a_batch(predictor, codes):
    whole = predictor.predict(codes, batch_size=5)
    np.testing.assert_allclose(predictor.predict(codes, batch_size=2), whole, atol=5e-6)
    np.testing.assert_allclose(predictor.predict(decode(codes[3])), whole[3:4], atol=5e-6)
    np.testing.assert_allclose(predictor.predict(codes[3]), whole[3:4], atol=5e-6)
    assert predictor.predict([]).shape == (0, predictor.window, 2)


def test_some_positions_only(predictor, codes):
    offsets = np.array([[0, 5, 1999], [7, 7, 7], [1, 2, 3], [4, 5, 6], [9, 8, 7]], np.int32)
    dense = predictor.predict(codes, batch_size=5)
    np.testing.assert_allclose(
        predictor.at(codes, offsets), np.take_along_axis(dense, offsets[:, :, None], 1), atol=5e-6
    )


@pytest.mark.parametrize(
    ("windows", "sentence"),
    [
        (["A" * 2000, "A" * 1999], "Sequence 1 has 1999 bp, but this model takes 2000 bp"),
        (np.zeros((2, 1000), np.uint8), r"shape \(2, 1000\)"),
        (np.zeros((2, 2000), np.float32), r"shape \(2, 2000\) and type float32"),
        (np.full((2, 2000), 7), "Base codes reach from 7 to 7"),
    ],
)
def test_unfitting_input_is_one_sentence(predictor, windows, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        predictor.predict(windows)


def test_names_of_tracks(weights):
    assert jaxepi.load(weights).tracks == ["liver", "B cells/naive"]
    assert jaxepi.load(weights, tracks=["a", "b"]).tracks == ["a", "b"]
    with np.load(weights) as arrays:
        bare = {name: arrays[name] for name in arrays.files if name != "tracks"}
    assert jaxepi.load(bare).tracks == ["track_0", "track_1"]
    with pytest.raises(JaxepiError, match="predicts 2 tracks, but 3 names"):
        jaxepi.load(weights, tracks=["a", "b", "c"])
    with pytest.raises(JaxepiError, match=r"names of tracks are \[1, 2\], but texts"):
        jaxepi.load(weights, tracks=[1, 2])


def test_window_and_source(weights, tmp_path):
    assert jaxepi.load(weights).window == 10_000
    with pytest.raises(JaxepiError, match="There is no run and no file of weights at .*none"):
        jaxepi.load(tmp_path / "none")
    with pytest.raises(JaxepiError, match="task is 'x', but a mapping"):
        jaxepi.load(weights, task="x")
    with pytest.raises(JaxepiError, match="multiple of 2000"):
        jaxepi.load(weights, window=2100).predict("A" * 2100)
    with pytest.raises(JaxepiError, match="which knows its sizes: leave out system, width"):
        jaxepi.load(tmp_path, system="melody", width=3)


def save_run(workdir, predictor) -> None:
    """What a run of this model leaves behind."""
    config = get_config("smoke")
    config.model.width = 4
    config.dataset.tracks = ("b", "a")
    manifest = {"system": "melody", "tracks": ["a", "b", "c"], "window": 2000, "max_sites": 4, "max_cpg_letters": 8}
    _, params, rest = nnx.split(predictor.model, nnx.Param, ...)
    state = TrainState(jnp.zeros((), jnp.int32), params, rest, (), None, jnp.zeros(2, jnp.uint32))
    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.save(1, state, {"config": json.dumps(plain(config)), "manifest": manifest})
    checkpoints.close()


def test_a_run_predicts_in_three_lines(predictor, codes, tmp_path):
    save_run(tmp_path, predictor)
    restored = jaxepi.load(tmp_path)
    values = restored.predict(codes, batch_size=8)
    assert (restored.tracks, restored.window, restored.source) == (["b", "a"], 2000, str(tmp_path))
    assert restored.digest() == predictor.digest()
    np.testing.assert_array_equal(values, predictor.predict(codes, batch_size=8))


def test_the_digest_tells_weights_apart(weights, predictor):
    other = jaxepi.load(weights, window=predictor.window)
    assert other.digest() == predictor.digest()
    bias = other.model.head_signal.convs[1].bias
    bias.set_value(bias[...] + 1e-3)
    assert other.digest() != predictor.digest()


SHARDED = """
import sys, numpy as np, jax, jaxepi
p = jaxepi.load(sys.argv[1], window=2000)
x = np.random.default_rng(0).integers(0, 5, (5, 2000)).astype(np.uint8)
assert jax.device_count() == 8 and p.rows(5) == 8
np.save(sys.argv[2], p.predict(x))
"""


def test_eight_devices_give_the_same(predictor, codes, weights, tmp_path):
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu", "PATH": ""}
    path = ":".join(filter(None, sys.path))
    command = [sys.executable, "-c", SHARDED, str(weights), str(tmp_path / "y.npy")]
    subprocess.run(command, check=True, env={**environment, "PYTHONPATH": path})
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), predictor.predict(codes), atol=5e-6)


def test_importing_the_package_is_light():
    code = (
        "import sys, jaxepi; jaxepi.__version__; "
        "heavy = {'jax', 'flax', 'torch', 'tensorflow', 'numpy'} & set(sys.modules); assert not heavy, heavy; "
        "jaxepi.from_pretrained, jaxepi.export, jaxepi.load; "
        "heavy = {'torch', 'tensorflow', 'h5py'} & set(sys.modules); assert not heavy, heavy"
    )
    path = ":".join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path, "PATH": ""})


def flip_bits(checkpoint, seed):
    """Flips a bit in every array of a checkpoint as its storage would hand it out: other values, sound files."""
    reader, folder = ocp.PyTreeCheckpointer(), checkpoint / "state"
    tree = reader.restore(folder)
    random = np.random.default_rng(seed)

    def flipped(leaf):
        array = np.array(leaf)
        flat = array.reshape(-1).view(np.uint8)
        flat[random.integers(flat.size)] ^= 1 << random.integers(7)
        return array

    changed = {name: jax.tree.map(flipped, part) if name in ("params", "rest") else part for name, part in tree.items()}
    shutil.rmtree(folder)
    reader.save(folder, changed)


DAMAGED = (
    r"Checkpoint .*checkpoints/1 is damaged \(its (params|rest|state) does not match its checksum\): restore it from"
)


def test_a_flipped_bit_is_told(predictor, tmp_path):
    save_run(tmp_path, predictor)
    flip_bits(tmp_path / "checkpoints" / "1", 0)
    with pytest.raises(JaxepiError, match=DAMAGED):
        jaxepi.load(tmp_path)


def test_checkpoints_without_checksums_of_their_parts_are_checked_as_a_whole(predictor, tmp_path):
    save_run(tmp_path, predictor)
    path = tmp_path / "checkpoints" / "1" / "meta" / "metadata"
    meta = json.loads(path.read_text())
    assert {"params", "rest"} <= set(meta.pop("checksums")) and meta.pop("meta_checksum")
    path.write_text(json.dumps(meta))
    assert jaxepi.load(tmp_path).digest() == predictor.digest()
    path.write_text(json.dumps({**meta, "checksum": meta["checksum"] ^ 1}))
    with pytest.raises(JaxepiError, match=DAMAGED):
        jaxepi.load(tmp_path)


def test_damaged_files_of_the_newest_checkpoint_are_told_and_not_passed_over(predictor, tmp_path):
    save_run(tmp_path, predictor)
    shutil.copytree(tmp_path / "checkpoints" / "1", tmp_path / "checkpoints" / "2")
    files = [file for file in (tmp_path / "checkpoints" / "2" / "state").rglob("d/*") if file.stat().st_size > 100]
    for file in files:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 8
        file.write_bytes(data)
    assert files
    with pytest.raises(JaxepiError, match=r"checkpoints/2 is damaged .*move this folder away to use the checkpoint be"):
        jaxepi.load(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "2")
    assert jaxepi.load(tmp_path).digest() == predictor.digest()


def test_a_generator_is_read_and_ragged_sequences_are_padded_on_demand(predictor, codes):
    expected = predictor.predict(codes[:2], batch_size=2)
    texts = [decode(row) for row in codes[:2]]
    np.testing.assert_allclose(predictor.predict((text for text in texts), batch_size=2), expected, atol=5e-6)
    longer = ["A" + texts[0] + "C", texts[1]]
    np.testing.assert_allclose(predictor.predict(longer, batch_size=2, pad="N"), expected, atol=5e-6)
    with pytest.raises(JaxepiError, match=r'Sequence 0 has 2002 bp.*pad="N"'):
        predictor.predict(longer)
    with pytest.raises(JaxepiError, match="pad='A' is not known"):
        predictor.predict(longer, pad="A")


@pytest.mark.parametrize("size", [0, -3, 2.5, "8", True, None])
def test_batch_sizes_are_checked(predictor, codes, size):
    with pytest.raises(JaxepiError, match="batch_size is .* but must be a whole number of at least 1"):
        predictor.predict(codes, batch_size=size)


def test_a_region_of_a_genome(predictor, fasta):
    genome = Genome(fasta)
    found = predictor.predict_region("chr1:1,000-6,000", fasta, batch_size=4)
    assert found.starts.tolist() == [1000, 3000, 4000] and found.values.shape == (3, 2000, 2)
    assert found.chrom == "chr1" and found.positions[:, [0, -1]].tolist() == [[1000, 2999], [3000, 4999], [4000, 5999]]
    direct = predictor.predict(genome.codes("chr1", 3000, 5000), batch_size=4)
    np.testing.assert_allclose(found.values[1], direct[0], atol=5e-6)
    assert predictor.predict_region("short:0-700", fasta).values.shape == (1, 2000, 2)
    with pytest.raises(JaxepiError, match="reaches beyond short, 700 bp"):
        predictor.predict_region("short:0-701", fasta)
    with pytest.raises(JaxepiError, match="chrX"):
        predictor.predict_region("chrX:0-701", fasta)


def test_a_predictor_tells_what_it_is(predictor):
    told = repr(predictor)
    for part in ("melody", "tiny.npz", "width=4", "['liver', 'B cells/naive']", "2000 bp", "Grid(at='cpg'"):
        assert part in told


def test_precision_and_device_are_chosen_when_loading(weights, predictor, codes, tmp_path):
    half = jaxepi.load(weights, window=2000, dtype="bf16", device="cpu")
    assert half.model.config.dtype == "bfloat16"
    np.testing.assert_allclose(
        half.predict(codes[:2], batch_size=2), predictor.predict(codes[:2], batch_size=2), atol=0.1
    )
    save_run(tmp_path, predictor)
    run = jaxepi.load(tmp_path, dtype="bfloat16", device=jax.devices()[0])
    assert run.model.config.dtype == run.task.model_config.dtype == "bfloat16"
    with pytest.raises(JaxepiError, match="dtype is 'float99'.*must be one of"):
        jaxepi.load(weights, dtype="float99")
    with pytest.raises(JaxepiError, match="There is no device 'abacus' here: use 'cpu'"):
        jaxepi.load(weights, device="abacus")


def test_files_are_found_at_home_and_recognised(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(weights, tmp_path / "w.npz")
    assert jaxepi.load("~/w.npz").system.name == "melody"
    assert jaxepi.from_pretrained("~/w.npz").config.width == jaxepi.from_pretrained(weights).config.width == 4
    jaxepi.export(jaxepi.from_pretrained(weights), "~/again.npz")
    assert (tmp_path / "again.npz").exists()
    systems = jaxepi.list_systems()
    assert systems == sorted(systems) and {"basenji", "chromoformer", "deepcpg", "melody"} <= {*systems}
    with pytest.raises(JaxepiError, match=r"from_pretrained\('melody'\) lacks the source"):
        jaxepi.from_pretrained("melody")
    for source in (3, None, b"w"):
        with pytest.raises(JaxepiError, match="a path or a mapping of arrays was expected"):
            jaxepi.load(source)


def test_progress_is_shown_where_it_is_wanted(predictor, codes, capsys, monkeypatch):
    monkeypatch.setattr("jaxepi.predictor.PATIENCE", 0.0)
    predictor.predict(codes, batch_size=5)
    assert capsys.readouterr().err == ""  # no terminal
    predictor.predict(codes, batch_size=5, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_features_are_the_trunk(predictor, codes):
    expected = predictor.model(one_hot(codes), intermediates=True).intermediates["trunk"]
    np.testing.assert_allclose(predictor.features(codes, batch_size=5), expected, atol=2e-5)


def test_what_else_a_notebook_mistypes(weights, predictor, fasta):
    for window in (0, "8", 2.5):
        with pytest.raises(JaxepiError, match="window is .* but must be a whole number of at least 1"):
            jaxepi.load(weights, window=window)
    with pytest.raises(JaxepiError, match="There is no precision 'most' of products: .*highest"):
        jaxepi.load(weights, precision="most")
    with pytest.raises(JaxepiError, match="predicts 2 tracks, but 1 names"):
        jaxepi.load(weights, tracks="liver")
    with pytest.raises(JaxepiError, match="Unknown size 'widht' of melody .did you mean 'width'"):
        jaxepi.load(weights, widht=4)
    for fasta_ in (3, None):
        with pytest.raises(JaxepiError, match="was given as a genome, but the path of a FASTA file was expected"):
            predictor.predict_region("chr1:0-10", fasta_)
    for region in (b"chr1:0-10", 3, ("chr1", 0, 10), "chr1"):
        with pytest.raises(JaxepiError, match="is no region: expected chrom:start-end"):
            predictor.predict_region(region, fasta)


def test_a_prediction_is_the_mean_over_strands_and_shifts(predictor, codes):
    """For values at bases: the reverse complement's are turned back, those of shifted windows are not moved back."""
    both = predictor.predict(codes, rc=True)
    turned = predictor.predict(reverse_complement(codes))[:, ::-1]
    np.testing.assert_allclose(both, (predictor.predict(codes) + turned) / 2, rtol=1e-4, atol=1e-5)
    moved = predictor.predict(shift(codes, 3))
    np.testing.assert_allclose(predictor.predict(codes, shifts=(3,)), moved, rtol=1e-4, atol=1e-5)


def test_models_without_sequence_refuse_strands_and_shifts():
    system = get_system("chromoformer")
    toy = system.toy(0, 0)
    task = task_of(system, toy.model, toy.task, toy.manifest)
    with pytest.raises(JaxepiError, match="toy reads no sequence, so that rc and shifts have no meaning"):
        Views(reverse_complement=True).check(task, "toy")
    Views().check(task, "toy")
