"""The shipped configs, shrunk, on a small dataset of genes: train, evaluate, report."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import jaxepi
from jaxepi import cli
from jaxepi.data.tfrecord import frame, index_shard
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import weights_of
from jaxepi.train.checkpoint import restore_model
from jaxepi.train.evaluation import evaluate_run
from jaxepi.train.loop import train

ROOT = Path(__file__).parents[2]
MARKS, RESOLUTION, WIDTH = ["H3K4me3", "H3K27ac"], 100, 2000


def gene(number):
    """A gene whose first contact tells its expression."""
    random = np.random.default_rng(number)
    contacts = 1 + number % 3
    lengths = random.integers(300, WIDTH, contacts).astype(np.int32)
    level = number % 2
    sums = random.integers(0, 50, (int((-(-lengths // RESOLUTION)).sum()), 2)).astype(np.float32)
    sums[: -(-lengths[0] // RESOLUTION)] += 2000 * level
    return {
        "key": f"gene{number}",
        "chrom": f"chr{number % 4}",
        "start": 10_000 + number,
        "minus": np.uint8(number // 2 % 2),
        "fold": 1 + number % 4,
        "expression": np.float32(8 * level + random.random()),
        "label": level,
        "promoter_sum": random.integers(0, 50, (WIDTH // RESOLUTION, 2)).astype(np.float32),
        "promoter_span": np.array([0, WIDTH], np.int32),
        "pcre_length": lengths,
        "pcre_sum": sums,
        "score": np.linspace(2, 1.5, contacts, dtype=np.float32),
        "neighbors": ";".join(f"chr1:{100 * i}-{100 * i + length}" for i, length in enumerate(lengths)),
    }


@pytest.fixture(scope="module")
def genes(tmp_path_factory) -> Path:
    """Four folds of twelve genes each, as data_prep writes them."""

    def array(shape, dtype=np.float32):
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")

    path = tmp_path_factory.mktemp("genes") / "dataset"
    path.mkdir()
    texts = {name: tfds.features.Text() for name in ("key", "chrom", "neighbors")}
    scalars = {"start": np.int64, "minus": np.uint8, "fold": np.int64, "expression": np.float32, "label": np.int64}
    arrays = {
        "promoter_sum": array((WIDTH // RESOLUTION, 2)),
        "promoter_span": array((2,), np.int32),
        "pcre_length": array((None,), np.int32),
        "pcre_sum": array((None, 2)),
        "score": array((None,)),
    }
    features = tfds.features.FeaturesDict(
        texts | {name: tfds.features.Scalar(dtype) for name, dtype in scalars.items()} | arrays
    )
    infos, index = [], {}
    for fold in range(1, 5):
        template = tfds.core.ShardedFileTemplate(
            data_dir=path, dataset_name="chromoformer", split=f"fold{fold}", filetype_suffix="tfrecord"
        )
        file = Path(template.sharded_filepath(shard_index=0, num_shards=1))
        numbers = range(100 * fold, 100 * fold + 12)
        file.write_bytes(b"".join(frame(features.serialize_example(gene(number))) for number in numbers))
        index[file.name] = index_shard(file)
        infos.append(
            tfds.core.SplitInfo(name=f"fold{fold}", shard_lengths=[12], num_bytes=0, filename_template=template)
        )
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="chromoformer", version=tfds.core.Version("1.0.0"), data_dir=str(path), module_name=__name__
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    info.set_splits(tfds.core.splits.SplitDict(infos))
    info.write_to_directory(path)
    np.savez(path / "record_index.npz", **index)
    manifest = {
        "system": "chromoformer", "fingerprint": "genes", "marks": MARKS, "resolution": RESOLUTION,
        "window": WIDTH, "promoter_length": WIDTH, "tracks": ["expression"], "max_pcres": 3,
        "splits": {f"fold{fold}": {"records": 12, "shards": 1} for fold in range(1, 5)},
    }  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def config_file(name):
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(f"configs.{name}")
    finally:
        sys.path.remove(str(ROOT))


def shrunk(name, variant, genes, cache):
    config = config_file(name).get_config(variant)
    config.dataset.path, config.compilation_cache = str(genes), str(cache)
    config.batch_size = config.eval_batch_size = 8
    config.model.bin_sizes, config.model.width, config.model.head_width = (500, 100), 8, 8
    config.model.regulation_layers, config.model.regulation_inner, config.model.regulation_heads = 1, 8, 2
    config.model.pairwise_layers = 1
    config.task.promoter_width = config.task.region_width = WIDTH
    config.task.max_pcres = 3
    config.optimizer.learning_rate = 3e-3
    return config


def lines(workdir, kind):
    return [r for r in map(json.loads, (workdir / "log.jsonl").read_text().splitlines()) if r["kind"] == kind]


@pytest.mark.parametrize(("name", "metric"), [("chromoformer_clf", "auc"), ("chromoformer_reg", "pearson")])
def test_train_evaluate_and_report(name, metric, genes, compilation_cache, tmp_path):
    config = shrunk(name, "fold2", genes, compilation_cache)
    config.log_every, config.steps = 1, 6
    assert train(config, tmp_path) == "finished"
    batches = 36 // 8
    steps = lines(tmp_path, "train")
    assert steps[-1]["step"] == 6 * batches and steps[-1]["loss"] < steps[0]["loss"]
    rates = [record["terms"]["learning_rate"] for record in steps]
    epochs = np.arange(6 * batches) // batches
    np.testing.assert_allclose(rates, 3e-3 * 0.87**epochs, rtol=1e-5)
    evaluations = lines(tmp_path, "eval")
    assert [record["step"] for record in evaluations] == [batches * (epoch + 1) for epoch in range(6)]
    assert evaluations[0]["split"] == "fold2"
    results = evaluate_run(tmp_path, None, None, "last")
    assert list(results) == ["fold2"] and results["fold2"].records == 12
    summary = results["fold2"].summary
    assert summary[f"{metric}_gene_per_track_mean"] == evaluations[-1]["metrics"][f"{metric}_gene_per_track_mean"]
    assert 0 < summary["loss_gene_flat"] < 100 and -1 <= summary["spearman_gene_per_track_mean"] <= 1
    assert results["fold2"].windows == []
    assert "gene" in (tmp_path / "report" / "report.html").read_text()


def test_a_run_predicts_its_genes_and_tells_what_it_attends_to(genes, compilation_cache, tmp_path):
    config, run = shrunk("chromoformer_clf", "fold1", genes, compilation_cache), tmp_path / "run"
    config.steps = 1
    train(config, run)
    options = {"checkpoint": "best", "regions": None, "overlap": "once", "tracks": None}
    cli.predict(run, None, fasta=None, split="fold1", out=tmp_path / "predictions", **options)
    lines = (tmp_path / "predictions" / "genes.tsv").read_text().splitlines()
    assert len(lines) == 1 + 12 and lines[1].split("\t")[:4] == ["gene100", "chr0", "10100", "+"]
    task = {"split": "fold1+fold2", "most_genes": None, "figures": 1}
    cli.attention(run, None, "best", tmp_path / "attention", genes=["gene102", "gene201"], **task)
    rows = [line.split("\t") for line in (tmp_path / "attention" / "contacts.tsv").read_text().splitlines()]
    assert [row[:2] for row in rows[1:]] == [["gene102", "1"], ["gene201", "1"]]
    assert len(list((tmp_path / "attention" / "figures").iterdir())) == 2
    predicted = {line.split("\t")[0]: line.split("\t")[7] for line in lines[1:]}
    again = (tmp_path / "attention" / "genes.tsv").read_text().splitlines()[1].split("\t")
    assert float(again[7]) == pytest.approx(float(predicted["gene102"]), rel=1e-4)
    jaxepi.export(restore_model(run).model, tmp_path / "genes.npz")
    with pytest.raises(JaxepiError, match="--config is needed here, such as --config configs/chromoformer_clf.py"):
        cli.attention(tmp_path / "genes.npz", None, "best", tmp_path / "x", genes=None, **task)
    with pytest.raises(JaxepiError, match="predicts the genes of a dataset: leave out --fasta"):
        cli.predict(run, None, fasta="x.fa", split=None, out=tmp_path / "x", **options)
    with pytest.raises(JaxepiError, match=r"there is no split 'fold9' \(did you mean"):
        cli.predict(run, None, fasta=None, split="fold9", out=tmp_path / "x", **options)
    with pytest.raises(JaxepiError, match=r"has no gene 'gene999' \(did you mean"):
        cli.attention(run, None, "best", tmp_path / "x", genes=["gene999"], **task)


def test_what_nothing_reads_is_neither_trained_nor_decayed(genes, compilation_cache, tmp_path):
    config = shrunk("chromoformer_clf", "fold1", genes, compilation_cache)
    config.steps, config.eval_every = 1, 0
    train(config, tmp_path)
    weights = weights_of(restore_model(tmp_path, "last").model)
    np.testing.assert_array_equal(weights["embedding.0.transformer.layers.0.bias_weight"][...], 1)
    np.testing.assert_array_equal(weights["pairwise.1.kept_scale"][...], 1)
    assert np.all(np.asarray(weights["regulation.0.transformer.layers.0.bias_weight"][...]) != 1)


def test_variants_hold_out_their_fold():
    for name in ("chromoformer_clf", "chromoformer_reg"):
        module = config_file(name)
        for fold in range(1, 5):
            data = module.get_config(f"fold{fold}").dataset
            assert data.validation_split == f"fold{fold}"
            assert sorted(data.train_split.split("+")) == [f"fold{f}" for f in range(1, 5) if f != fold]
        assert module.get_config("modern").task.centre_tss
        with pytest.raises(JaxepiError, match=r"Unknown variant 'fold5' \(did you mean 'fold"):
            module.get_config("fold5")


def test_a_new_unit_or_a_split_named_twice_is_refused(genes, compilation_cache, tmp_path):
    config = shrunk("chromoformer_clf", "fold1", genes, compilation_cache)
    config.unit = "epochs"
    with pytest.raises(JaxepiError, match="config.unit is 'epochs', but must be 'step' or 'epoch'"):
        train(config, tmp_path)
    config.dataset.train_split = "fold2+fold2"
    with pytest.raises(JaxepiError, match="names the split 'fold2' twice"):
        train(config, tmp_path)
    config.dataset.train_split = "fold2+fold9"
    with pytest.raises(JaxepiError, match=r"there is no split 'fold9' \(did you mean"):
        train(config, tmp_path)
