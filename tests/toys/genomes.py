"""Two small genomes with coverage of bins in the original's own layout, with different tracks."""

import json
import zlib
from pathlib import Path

import numpy as np

from jaxepi.data.tfrecord import frame
from jaxepi.systems.basenji.toy import TRUNK, toy

HEAD = {"name": "final", "activation": "softplus"}
BINS = 16


def write_coverage(path: Path, seed: int, tracks: int, counts: dict[str, int], umap: bool = False) -> Path:
    """A folder with so many records a split; with `umap` the first bin of every record is unmappable."""
    from tensorflow_datasets.proto import tf_example_pb2

    (path / "tfrecords").mkdir(parents=True)
    manifest = toy(seed, 0, bins=BINS, tracks=tracks).manifest
    sizes = {
        "num_targets": tracks, "seq_length": manifest["window"], "seq_1hot": True, "target_length": BINS,
        "pool_width": manifest["bin_width"], "crop_bp": manifest["crop"],
    }  # fmt: skip
    (path / "statistics.json").write_text(json.dumps(sizes | {f"{name}_seqs": n for name, n in counts.items()}))
    rows = [f"{k}\t{path.name}_{k}\tx\tCAGE:{path.name}" for k in range(tracks)]
    (path / "targets.txt").write_text("\n".join(["\tidentifier\tfile\tdescription", *rows]) + "\n")
    for number, (split, count) in enumerate(counts.items()):
        framed = b""
        for record in toy(10 * seed + number, count, bins=BINS, tracks=tracks).records:
            example = tf_example_pb2.Example()
            values = {"sequence": record["sequence"], "target": record["target"]}
            values |= {"umap": np.arange(BINS) < 1} if umap else {}
            for name, value in values.items():
                example.features.feature[name].bytes_list.value.append(value.tobytes())
            framed += frame(example.SerializeToString())
        (path / "tfrecords" / f"{split}-0.tfr").write_bytes(zlib.compress(framed))
    return path


def genomes_config(paths, **fields):
    """Both genomes through a head each, by the smallest network that has every kind of layer."""
    from configs.base import get_base

    config = get_base()
    config.system = "basenji"
    config.model = {"trunk": TRUNK, "heads": (json.dumps(HEAD),) * len(paths)}
    config.model.head_names = tuple(path.name for path in paths)
    config.task = {"loss": "poisson", **fields}
    config.dataset.paths = tuple(map(str, paths))
    config.batch_size = config.eval_batch_size = 2
    config.steps, config.log_every, config.eval_every, config.save_every = 4, 1, 2, 2
    config.optimizer.name, config.optimizer.b1, config.optimizer.learning_rate = "sgd", 0.9, 0.05
    config.report = False
    return config
