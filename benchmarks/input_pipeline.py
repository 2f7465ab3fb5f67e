"""Throughput of the input pipeline: records on disk to collated batches on the host. Prints one JSON line.

python benchmarks/input_pipeline.py [--dataset DIR] [--readers N]

Without --dataset a seeded synthetic dataset with the records of Melody-MT (10 kb, 39 tracks) is written to a temporary
directory first. The timed part is what training does: shuffled random access, checksums, decoding, collation.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import tensorflow_datasets as tfds

from jaxepi.data import BatchStream, Dataset, open_dataset
from jaxepi.data.tfrecord import frame, index_shard
from jaxepi.errors import JaxepiError
from jaxepi.registry import make_task

SITES = (30, 300)  # CpGs of a synthetic 10-kb window; the human genome has about 100 on average


def synthetic_records(count: int, tracks: int, window: int, seed: int) -> Iterator[dict[str, Any]]:
    """Windows as data_prep melody writes them, with random sequence, sites and values; one in ten values is missing."""
    random = np.random.default_rng(seed)
    for number in range(count):
        sites = int(random.integers(*SITES) * window / 10_000) + 1
        value = random.random((sites, tracks), np.float32)
        value[random.random((sites, tracks)) < 0.1] = np.nan
        yield {
            "key": f"chr1:{number * window}-{(number + 1) * window}",
            "chrom": "chr1",
            "start": number * window,
            "sequence": random.integers(0, 4, window, np.uint8),
            "position": np.sort(random.choice(window // 2, sites, replace=False).astype(np.uint16) * 2),
            "width": np.full(sites, 2, np.uint8),
            "value": value,
        }


def write_synthetic_dataset(
    path: Path, splits: dict[str, Sequence[int]], tracks: int = 39, window: int = 10_000, seed: int = 0
) -> None:
    """Writes a dataset directory with the given records per shard of each split, without TensorFlow."""
    features = _features(tracks, window)
    path.mkdir(parents=True)
    infos, index, most = [], {}, 0
    for split_number, (split, shards) in enumerate(splits.items()):
        files = tfds.core.ShardedFileTemplate(
            data_dir=path, dataset_name="melody", split=split, filetype_suffix="tfrecord"
        )
        records = synthetic_records(sum(shards), tracks, window, seed + split_number)
        for shard, length in enumerate(shards):
            file = Path(files.sharded_filepath(shard_index=shard, num_shards=len(shards)))
            with file.open("wb") as out:
                for _, record in zip(range(length), records, strict=False):
                    most = max(most, len(record["position"]))
                    out.write(frame(features.serialize_example(record)))
            index[file.name] = index_shard(file)
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=list(shards), num_bytes=0, filename_template=files))
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="melody", version=tfds.core.Version("1.0.0"), data_dir=str(path), module_name=__name__
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    info.set_splits(tfds.core.splits.SplitDict(infos))
    info.write_to_directory(path)
    np.savez(path / "record_index.npz", **index)
    manifest = {
        "system": "melody",
        "fingerprint": f"synthetic-{seed}",
        "window": window,
        "tracks": [f"track_{track}" for track in range(tracks)],
        "splits": {split: {"records": sum(shards), "shards": len(shards)} for split, shards in splits.items()},
        "max_sites": most,
        "max_cpg_letters": 2 * most,
    }
    (path / "manifest.json").write_text(json.dumps(manifest))


def _features(tracks: int, window: int) -> tfds.features.FeaturesDict:
    def array(shape: tuple[int | None, ...], dtype: Any) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")

    return tfds.features.FeaturesDict(
        {
            "key": tfds.features.Text(),
            "chrom": tfds.features.Text(),
            "start": tfds.features.Scalar(np.int64),
            "sequence": array((window,), np.uint8),
            "position": array((None,), np.uint16),
            "width": array((None,), np.uint8),
            "value": array((None, tracks), np.float32),
        }
    )


def measure(dataset: Dataset, split: str, batch_size: int, readers: int, seconds: float) -> dict[str, Any]:
    """Streams shuffled batches for `seconds` after one warm-up batch, without end over epochs."""
    config = ml_collections.ConfigDict({"system": dataset.manifest["system"], "model": {}, "task": {}, "dataset": {}})
    collate = make_task(config, dataset.manifest).collate
    records = dataset.split(split)
    disk = sum(file.stat().st_size for file in dataset.path.glob(f"*-{split}.*"))
    with BatchStream(records, collate, batch_size, readers=readers, remainder="pad") as stream:
        next(stream)
        windows, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            next(stream)
            windows += batch_size
        elapsed = time.perf_counter() - start
    return {
        "benchmark": "input_pipeline",
        "windows_per_s": round(windows / elapsed, 1),
        "mb_per_s": round(windows / elapsed * disk / len(records) / 1e6, 1),
        "records": len(records),
        "bytes_per_record": round(disk / len(records)),
        "tracks": len(dataset.manifest["tracks"]),
        "window": dataset.manifest["window"],
        "batch_size": batch_size,
        "readers": readers,
        "seconds": round(elapsed, 2),
        "peak_rss_mb": round(_peak_rss() / 1e6),
        "tensorflow_imported": "tensorflow" in sys.modules,
        "machine": f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }


def _peak_rss() -> int:
    """Bytes; the system call counts in bytes on macOS and in KiB elsewhere."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, help="a prepared dataset; without it a synthetic one is made")
    parser.add_argument("--split", default="train", help="the split to stream")
    parser.add_argument("--records", type=int, default=4000, help="records of the synthetic dataset")
    parser.add_argument("--tracks", type=int, default=39, help="tracks of the synthetic dataset")
    parser.add_argument("--window", type=int, default=10_000, help="window of the synthetic dataset in bp")
    parser.add_argument("--batch_size", type=int, default=32, help="windows a batch")
    parser.add_argument("--readers", type=int, default=4, help="reader threads; 0: none")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to stream")
    parser.add_argument("--seed", type=int, default=0, help="seed of the synthetic dataset")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = options.dataset
            if path is None:
                path = Path(scratch) / "dataset"
                shards = [options.records // 4] * 3 + [options.records - options.records // 4 * 3]
                write_synthetic_dataset(path, {options.split: shards}, options.tracks, options.window, options.seed)
            dataset = open_dataset(path)
            print(json.dumps(measure(dataset, options.split, options.batch_size, options.readers, options.seconds)))
    except JaxepiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
