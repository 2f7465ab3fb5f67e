"""The task: records of DNA and a fraction per bin and track, see `toy.py`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import from_section
from jaxepi.metrics.standard import regression_metrics, summarize
from jaxepi.sequence import N, one_hot, reverse_complement
from jaxepi.task import Grid, Options, Task, choose_tracks
from jaxepi.windows import as_windows, hot
from toys.windowsum.losses import cross_entropy
from toys.windowsum.model import WindowSum, WindowSumConfig


@dataclasses.dataclass(frozen=True)
class WindowSumObjective:
    """How records become inputs and targets."""

    reverse_complement: bool = True  # flip half of the training windows


class WindowSumTask(Task):
    monitor = "pearson_bin_per_track_mean"
    options = Options(region="bin", label_threshold=None, unit="fraction", system="windowsum")

    def __init__(self, sizes, objective, manifest, tracks=()):
        self.manifest, self.window, self.grid = manifest, int(manifest["window"]), Grid("bin", bin=int(manifest["bin"]))
        self.tracks, self.columns = choose_tracks(manifest["tracks"], tracks)
        self.chosen = tuple(self.tracks) if tracks else ()
        decided = {"tracks": len(self.tracks), "bin": self.grid.bin}
        self.model_config = from_section(WindowSumConfig, sizes, "config.model", **decided)
        self.objective = from_section(WindowSumObjective, objective, "config.task")

    def build_model(self, rngs):
        return WindowSum(self.model_config, rngs=rngs)

    def collate(self, records):
        """Sequence (B, L) uint8, target (B, T, K) float32, row_mask (B,); a record that is None is padding."""
        shape = (len(records), self.grid.values(self.window), len(self.tracks))
        batch = {"sequence": np.full((len(records), self.window), N, np.uint8), "target": np.zeros(shape, np.float32)}
        for row, record in enumerate(records):
            if record is not None:
                batch["sequence"][row], batch["target"][row] = record["sequence"], record["target"][:, self.columns]
        return batch | {"row_mask": np.array([record is not None for record in records], np.float32)}

    def prepare(self, batch, rng, train):
        codes, target = batch["sequence"], batch["target"]
        if train and self.objective.reverse_complement:
            flip = jax.random.bernoulli(rng, 0.5, (len(codes),))
            codes = jnp.where(flip[:, None], reverse_complement(codes), codes)
            target = jnp.where(flip[:, None, None], target[:, ::-1], target)
        mask = jnp.broadcast_to(batch["row_mask"][:, None, None] > 0, target.shape)
        return {"x": one_hot(codes)}, {"target": target, "mask": mask}

    def accept(self, x, **further):
        return {"x": as_windows(x, self.window)}

    def expand(self, accepted):
        return {"x": hot(accepted["x"])}

    def apply(self, model, inputs):
        return model(inputs["x"])

    def values(self, outputs):
        return nnx.sigmoid(outputs)

    def features(self, model, inputs):
        return model.trunk(inputs["x"])

    def loss(self, outputs, targets):
        entropy = cross_entropy(outputs, targets["target"], targets["mask"])
        return entropy, {"entropy": entropy}

    def predictions(self, outputs, targets):
        offset = jnp.broadcast_to(self.grid.bin * jnp.arange(outputs.shape[1]), outputs.shape[:2])
        return {"prediction": self.values(outputs), "offset": offset, **targets}

    def metrics(self, outputs, targets):
        return regression_metrics(self.values(outputs), targets["target"], targets["mask"], region="bin")

    def summarize(self, metrics):
        return summarize(metrics)
