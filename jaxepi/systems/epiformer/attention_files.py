"""Attention of an Epiformer over windows of a dataset as files: what the verb attention does.

Letters: N windows, I encoder layers, H heads, P positions of the encoder, T of which are predicted, K tracks.
"""

import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxepi import __version__
from jaxepi.data.subset import Subset
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.storage.atomic import plain, write_atomically, write_json
from jaxepi.storage.job import file_names, finished, fresh_folder, require_h5py
from jaxepi.systems.epiformer.model import Epiformer
from jaxepi.systems.epiformer.task import EpiformerTask
from jaxepi.task import Batch

ARRAYS, FIGURES, SUMMARY = "attention.h5", "figures", "attention.json"
AT_ONCE = 4  # windows, at most: the maps of one full-size window are 75 MB
SIZE = 2.2  # inches of a map in a figure


def attend(model: Epiformer, task: EpiformerTask, batch: Batch) -> dict[str, jax.Array]:
    """`attention` (B, I, H, P, P), rows are queries that add up to 1, and `prediction` (B, T, K); traceable."""
    inputs, _ = task.prepare(batch, jax.random.key(0), False)
    outputs = model(inputs["x"], inputs.get("conservation"), intermediates=True)
    layers = [outputs.intermediates[f"attention_{layer}"] for layer in range(model.config.num_encoder_layers)]
    return {"attention": jax.numpy.stack(layers, axis=1), "prediction": outputs.values}


def attend_windows(
    predictor: Predictor,
    chosen: Subset,
    out_dir: str | os.PathLike[str],
    *,
    figures: int = 20,
    batch_size: int = AT_ONCE,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `out_dir` with `attention.h5`, `figures/<window>.png` and `attention.json`.

    All of it or nothing; a finished job is not repeated. `attention.h5` holds of every window `key`, `chrom`, `start`,
    `attention` (N, I, H, P, P) float16 and `prediction` (N, T, K), and as attributes `bin`, bp of a position, and
    `crop`, positions without a prediction at either end.

    Args:
      predictor: from `jaxepi.load`.
      chosen: which windows of which dataset.
      out_dir: a folder that does not exist yet.
      figures: so many windows, the first ones, get a figure of all maps.
      batch_size: windows at a time, at most `AT_ONCE`.
      progress: show a progress line.

    Returns: the content of `attention.json`: the number of `windows`, and the arguments.

    Raises:
      JaxepiError: a dataset that does not fit the model, told before any work; or the disk is full.
    """
    h5py = require_h5py()
    if figures < 0:
        raise JaxepiError(f"--figures is {figures}: 0 or a positive number was expected.")
    whole = len(chosen) == len(chosen.dataset.split(chosen.split))
    arguments = {
        "model": predictor.digest(), "task": plain(predictor.task.settled()), "dataset": chosen.dataset.fingerprint,
        "split": chosen.split, "windows": "all" if whole else chosen.numbers, "figures": figures,
    }  # fmt: skip
    out = Path(out_dir).absolute()
    if (done := finished(out, SUMMARY, arguments, "attention job")) is not None:
        return done
    task = predictor.for_dataset(chosen.dataset.manifest)
    names = file_names([record["key"] for record, _ in zip(chosen.records, range(figures), strict=False)])
    bar = tqdm(total=len(chosen), unit="window", desc="attention", disable=not progress, file=sys.stderr)
    with fresh_folder(out) as folder:
        (folder / FIGURES).mkdir()
        with bar, h5py.File(folder / ARRAYS, "w") as file:
            file.attrs.update(bin=task.grid.bin, crop=predictor.model.config.crop_size, tracks=task.tracks)
            low = 0
            for records, found in predictor.over(chosen.records, task, attend, min(batch_size, AT_ONCE)):
                _append(file, low, len(chosen), records, found)
                for record, maps in zip(records, found["attention"], strict=True):
                    if names:
                        _draw(maps, record, task, folder / FIGURES / f"{names.pop(0)}.png")
                low += len(records)
                bar.update(len(records))
        summary = {"windows": len(chosen), "jaxepi_version": __version__, "source": predictor.source}
        write_json(folder / SUMMARY, {"arguments": arguments, **summary})
    return {"arguments": arguments, **summary}


def _append(file: Any, low: int, count: int, records: list[Any], found: dict[str, np.ndarray]) -> None:
    """The next rows of all datasets of the file, from row `low` of `count`; the first ones make the datasets."""
    rows: dict[str, Any] = {name: [str(record[name]) for record in records] for name in ("key", "chrom")}
    rows["start"] = np.array([int(record["start"]) for record in records], np.int64)
    rows |= {"attention": found["attention"].astype(np.float16), "prediction": found["prediction"]}
    for name, values in rows.items():
        texts = isinstance(values, list)
        if name not in file:
            shape = (count,) if texts else (count, *values.shape[1:])
            chunk = {} if len(shape) < 3 else {"chunks": (1,) * (len(shape) - 2) + shape[-2:], "compression": "gzip"}
            file.create_dataset(name, shape, require_h5py().string_dtype() if texts else values.dtype, **chunk)
        file[name][low : low + len(records)] = values


def _draw(maps: np.ndarray, record: Any, task: EpiformerTask, path: Path) -> None:
    """The maps (I, H, P, P) of a window, a row a layer and a column a head, each up to its own 99th percentile."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # matplotlib is slow to import
    from matplotlib.figure import Figure

    layers, heads = maps.shape[:2]
    figure = Figure(figsize=(SIZE * heads, SIZE * layers + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    start, end = int(record["start"]) / 1e3, (int(record["start"]) + task.window) / 1e3
    axes = figure.subplots(layers, heads, squeeze=False, sharex=True, sharey=True)
    for layer, head in np.ndindex(layers, heads):
        own, shown = axes[layer, head], maps[layer, head].astype(np.float32)
        most = max(float(np.quantile(shown, 0.99)), 1e-12)
        own.imshow(shown, vmin=0, vmax=most, cmap="Greys", extent=(start, end, end, start), interpolation="none")
        own.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=7)
        own.tick_params(labelsize=6)
    figure.suptitle(f"{record['chrom']}, kb: rows attend to columns", fontsize=9)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120, metadata={"Software": None}))
