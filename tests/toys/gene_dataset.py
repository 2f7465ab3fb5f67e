"""A small dataset of genes whose first contact tells their expression, and the shipped configs shrunk to fit it."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from jaxepi.data.tfrecord import frame, index_shard

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


def write_genes(path: Path) -> Path:
    """Four folds of twelve genes each, as data_prep writes them."""

    def array(shape, dtype=np.float32):
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")

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
