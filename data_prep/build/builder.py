"""The TFDS builder that writes any recipe as TFRecord shards, from local processes or as an Apache Beam pipeline.

The only module that imports TensorFlow Datasets; TensorFlow is loaded when the first shard is written.
"""

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, shuffle

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Record, Tally
from jaxepi.errors import JaxepiError

VERSION = "1.0.0"
_BUCKETS_USED = 256  # each is an open file while records are made
_WAITING_BYTES = 64 << 20  # of records in memory; TFDS would keep 1 GiB
# Beam's own DirectRunner looks for a runner program on the network first.
_LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def _connector(feature: Feature) -> tfds.features.FeatureConnector:
    if feature.shape is None:
        return tfds.features.Text()
    dtype = np.dtype(feature.dtype)
    if feature.shape == ():
        return tfds.features.Scalar(dtype=dtype)
    return tfds.features.Tensor(shape=feature.shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)


def features_of(table: Mapping[str, Feature]) -> tfds.features.FeaturesDict:
    """A recipe's features as TFDS knows them."""
    return tfds.features.FeaturesDict({name: _connector(feature) for name, feature in table.items()})


class RecipeBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the records of `splits` (name -> iterable of (key, record), or a Beam transform) with their features."""

    VERSION = tfds.core.Version(VERSION)
    # Nothing is downloaded, and looking for checksums beside the code needs a package that TFDS does not install.
    code_path = None
    name = "recipe"

    def __init__(self, *, features: Mapping[str, Feature], splits: Mapping[str, Any], **kwargs: Any) -> None:
        """`kwargs` go to `tfds.core.GeneratorBasedBuilder` (data_dir)."""
        self._feature_table, self._generators = dict(features), dict(splits)
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        # The order is that of the genome; readers shuffle globally, each epoch anew.
        return tfds.core.DatasetInfo(builder=self, features=features_of(self._feature_table), disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return self._generators

    def _generate_examples(self) -> Iterator[tuple[int, Record]]:
        raise NotImplementedError("the splits carry their generators")


class OrderedSerializer(example_serializer.ExampleSerializer):
    """Serialises the features of a record in the order of their names: protobuf's own order differs between runs."""

    def serialize_example(self, example: Any) -> bytes:
        """The bytes of a `tf.train.Example`."""
        return self.get_tf_example(example).SerializeToString(deterministic=True)


@contextlib.contextmanager
def _our_way() -> Iterator[None]:
    """Two things that TFDS has no argument for: its serialiser, and how much waits in memory before it goes to disk."""
    usual = example_serializer.ExampleSerializer, shuffle.MAX_MEM_BUFFER_SIZE
    example_serializer.ExampleSerializer = OrderedSerializer
    shuffle.MAX_MEM_BUFFER_SIZE = min(_WAITING_BYTES, shuffle.MAX_MEM_BUFFER_SIZE)
    try:
        yield
    finally:
        example_serializer.ExampleSerializer, shuffle.MAX_MEM_BUFFER_SIZE = usual


def write_splits(
    recipe: Recipe, splits: Mapping[str, Any], folder: Path, beam_runner: Any = None, beam_options: Any = None
) -> tuple[Path, dict[str, int]]:
    """Writes all splits below `folder`.

    Returns:
        The folder of the dataset, and the number of shards per split.
    """
    tfds.disable_progress_bar()
    builder_class = type(recipe.name.title(), (RecipeBuilder,), {"name": recipe.name}, skip_registration=True)
    builder = builder_class(features=recipe.features(), splits=splits, data_dir=str(folder), file_format="tfrecord")
    if beam_runner == "DirectRunner":
        beam_runner = _LOCAL_RUNNER
    # TFDS chooses the number of shards: a power of two, 64 to 128 MiB each.
    config = tfds.download.DownloadConfig(beam_runner=beam_runner, beam_options=beam_options, try_download_gcs=False)
    try:
        with _our_way():
            builder.download_and_prepare(download_config=config, download_dir=str(folder / "downloads"))
    except Exception as error:
        reason = _failed_write(error)
        if reason is None:
            raise
        raise OSError(reason) from error
    return Path(builder.data_dir), {name: split.num_shards for name, split in builder.info.splits.items()}


def spread_keys(records: Iterable[tuple[int, Record]], count: int) -> Iterator[tuple[int, Record]]:
    """Keys 0 … count - 1 stretched, in order, over a part of the 128 bits that TFDS sorts by.

    Beyond 64 MiB TFDS keeps records in bucket files, by the leading bits of the key, and sorts one bucket at a time in
    memory. Small keys would all fall into the first bucket: the whole dataset in memory.
    """
    step = (_BUCKETS_USED << 128) // (shuffle.BUCKETS_NUMBER * max(count, 1))
    for key, record in records:
        yield key * step, record


def _failed_write(error: BaseException) -> str | None:
    """Why a file could not be written, if that is what stopped TensorFlow or TFDS; they wrap the reason in others."""
    import tensorflow as tf

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, tf.errors.OpError):
            return cause.message.split(": ")[-1].split("; ")[-1]
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__
    return None


def beam_options(options: Iterable[str]) -> Any:
    """Beam's options from `KEY=VALUE` words. Raises JaxepiError for a value that Beam cannot read."""
    from apache_beam.options.pipeline_options import PipelineOptions

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            read = PipelineOptions([f"--{option.lstrip('-')}" for option in options])
            read.get_all_options()  # Beam looks at a value only when it is asked for
            return read
    except SystemExit as error:
        lines = told.getvalue().strip().splitlines() or ["unknown reason"]
        reason = lines[-1].rpartition("error: ")[2]
        raise JaxepiError(f"--beam-options cannot be read by Apache Beam ({reason}): mend or leave it out") from error


def beam_split(recipe: Recipe, blocks: Iterable[Block], tally_file: Path) -> Any:
    """A Beam transform that makes the records of a split on the workers and leaves the merged counts in `tally_file`.

    Every worker must see the input files and `tally_file`'s folder under the same paths.
    """
    import apache_beam as beam

    class Records(beam.PTransform):
        def expand(self, pipeline: Any) -> Any:
            results = (
                pipeline
                | "Blocks" >> beam.Create(list(blocks))
                | "Spread" >> beam.Reshuffle()
                | "MakeBlock" >> beam.Map(recipe.make_block)
            )
            _ = (
                results
                | "Tally" >> beam.Map(lambda result: result.tally)
                | "Merge" >> beam.CombineGlobally(merge_tallies)
                | "WriteTally" >> beam.Map(write_tally, str(tally_file))
            )
            return results | "Records" >> beam.FlatMap(records_of)

    return Records()


def records_of(result: BlockResult) -> list[tuple[int, Record]]:
    """The keyed records of a result."""
    return result.records


def merge_tallies(tallies: Iterable[Tally]) -> Tally:
    """One tally from many."""
    merged = Tally()
    for tally in tallies:
        merged.merge(tally)
    return merged


def write_tally(tally: Tally, path: str) -> None:
    """Writes a tally as JSON."""
    sums = {name: np.asarray(count).tolist() for name, count in tally.sums.items()}
    Path(path).write_text(json.dumps({"sums": sums, "maxima": tally.maxima}))


def read_tally(path: Path) -> Tally:
    """Reads what `write_tally` wrote."""
    stored = json.loads(path.read_text())
    return Tally({name: np.asarray(count) for name, count in stored["sums"].items()}, stored["maxima"])
