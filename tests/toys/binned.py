"""The toy system as counts: bins of which the outer ones are cropped, of any number of tracks, with descriptions."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.metrics.standard import regression_metrics
from jaxepi.predictor import Predictor
from jaxepi.task import Grid, Options
from toys.windowsum import SYSTEM
from toys.windowsum.task import WindowSumTask

WINDOW, BIN, CROP = 200, 10, 30  # bp: 14 bins are predicted
MOST = 50.0  # counts of a bin


class CountsTask(WindowSumTask):
    """Counts up to MOST; `task.factor` of the manifest scales them."""

    options = Options(region="bin", label_threshold=None, unit="counts", system="windowsum", windows=2)

    def __init__(self, sizes, objective, manifest, tracks=()):
        super().__init__(sizes, objective, manifest, tracks)
        self.grid = Grid("bin", bin=self.grid.bin, crop=int(manifest.get("crop", 0)))

    def values(self, outputs):
        cut = self.grid.crop // self.grid.bin
        return MOST * nnx.sigmoid(outputs[:, cut : outputs.shape[1] - cut])

    def collate(self, records):
        cut = self.grid.crop // self.grid.bin
        shape = (len(records), self.window // self.grid.bin - 2 * cut, len(self.tracks))
        batch = {"sequence": np.full((len(records), self.window), 4, np.uint8), "target": np.zeros(shape, np.float32)}
        for row, record in enumerate(records):
            if record is not None:
                batch["sequence"][row], batch["target"][row] = record["sequence"], record["target"]
        return batch | {"row_mask": np.array([record is not None for record in records], np.float32)}

    def predictions(self, outputs, targets):
        values = self.values(outputs)
        offset = self.grid.crop + self.grid.bin * jnp.arange(values.shape[1])
        return {"prediction": values, "offset": jnp.broadcast_to(offset, values.shape[:2]), **targets}

    def metrics(self, outputs, targets):
        return regression_metrics(self.values(outputs), targets["target"], targets["mask"])


COUNTS = dataclasses.replace(SYSTEM, task=CountsTask, datasets=("windowsum",))


def counts_manifest(tracks: int = 3, window: int = WINDOW) -> dict:
    """Of a dataset of so many tracks, named and described as of two assays."""
    names = [f"track-{k}" for k in range(tracks)]
    about = [f"{('CAGE', 'DNASE')[k % 2]}:tissue {k}" for k in range(tracks)]
    sizes = {"window": window, "bin": BIN, "crop": CROP}
    return {"kind": "windowsum", "tracks": names, "track_descriptions": about, "fingerprint": "counts", **sizes}


def counts_predictor(tracks: int = 3, seed: int = 0, window: int = WINDOW) -> Predictor:
    """A model that nobody trained, whose head makes tracks differ."""
    task = CountsTask({"width": 4}, {}, counts_manifest(tracks, window))
    model = task.build_model(nnx.Rngs(seed))
    model.head.bias.set_value(jnp.linspace(-3.0, 1.0, tracks))
    return Predictor(model, COUNTS, task, source="counts")


class CountsDataset:
    """Splits in memory of records whose targets follow what a model says, with noise of several decades."""

    fingerprint, path = "counts", Path("counts")

    def __init__(self, predictor: Predictor, counts: dict[str, int], seed: int = 0):
        self.manifest, self.splits = counts_manifest(len(predictor.tracks), predictor.window), counts
        random = np.random.default_rng(seed)
        self._records = {}
        for split, count in counts.items():
            codes = random.integers(0, 4, (count, predictor.window)).astype(np.uint8)
            values = predictor.predict(codes, batch_size=8)
            noisy = np.maximum(values * random.lognormal(0, 0.7, values.shape) - 0.2, 0).astype(np.float32)
            self._records[split] = [
                {"key": f"chr1:{1000 * n}", "chrom": "chr1", "start": 1000 * n, "sequence": code, "target": target}
                for n, (code, target) in enumerate(zip(codes, noisy, strict=True))
            ]

    def split(self, name):
        return CountsSplit(self._records[name], self.manifest)


class CountsSplit(list):
    """Records by number, with the manifest of their dataset."""

    def __init__(self, records, manifest):
        super().__init__(records)
        self.manifest = manifest
