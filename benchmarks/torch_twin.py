"""The PyTorch side of a speed comparison: the same batch, weights, losses and optimizer as ours. Melody only."""

import dataclasses
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx
from torch_melody import TorchMelody, total_loss
from workload import Workload

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import to_original
from jaxepi.systems.melody.model import Melody
from jaxepi.systems.melody.task import MelodyTask
from jaxepi.systems.melody.weights import table

_LOSS_FIELDS = ("any_cpg_weight", "low_cpg_weight", "count_weight", "average_weight", "count_bin_width")


class Twin:
    """The model in PyTorch with our weights and our batch, on a CUDA device if there is one.

    Raises:
      JaxepiError: the twin does not compute what the config asks for.
    """

    def __init__(self, workload: Workload, model: nnx.Module):
        task = workload.task
        if not (isinstance(task, MelodyTask) and isinstance(model, Melody)):
            raise JaxepiError(f"--compare torch knows Melody only, but the config is for {workload.config.system!r}.")
        goal = task.objective
        if goal.focal != "fixed" or goal.target != "beta" or goal.focal_gamma:
            raise JaxepiError("--compare torch has the fixed focal loss on soft labels only; set task.focal=fixed.")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.benchmark = True  # let it choose its fastest convolutions
        self.model = TorchMelody(model.config.width, model.config.tracks, model.config.count_classes)
        weights = to_original(model, table(model.config))
        self.model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        self.model.to(self.device)
        inputs, targets = jax.jit(lambda batch: task.prepare(batch, jax.random.key(0), False))(workload.batch)
        self.x, self.beta = (self._channels_first(array) for array in (inputs["x"], targets["beta"]))
        self.settings = {name: value for name, value in dataclasses.asdict(goal).items() if name in _LOSS_FIELDS}

    def _channels_first(self, array: jax.Array) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).transpose(1, 2).contiguous().to(self.device)

    def wait(self) -> None:
        """Returns when the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def about(self) -> dict[str, Any]:
        """Version, threads and device for the JSON line."""
        return {"version": torch.__version__, "threads": torch.get_num_threads(), "device": str(self.device)}


class TrainTwin(Twin):
    """One update of Adam per call."""

    def __init__(self, workload: Workload, model: nnx.Module):
        super().__init__(workload, model)
        settings = workload.config.optimizer
        if settings.name != "adam" or settings.clip_norm is not None or settings.accumulate != 1:
            raise JaxepiError("--compare torch has plain Adam only; set optimizer.name=adam and clip_norm=None.")
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), settings.learning_rate, (settings.b1, settings.b2), settings.epsilon
        )
        self.loss = float("nan")

    def __call__(self) -> None:
        """One update; returns when it is done."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = total_loss(self.model(self.x), self.x, self.beta, **self.settings)
        loss.backward()
        self.optimizer.step()
        self.loss = loss.item()
        self.wait()

    def about(self) -> dict[str, Any]:
        """Adds the last loss, which should follow ours."""
        return super().about() | {"loss": self.loss}


class PredictTwin(Twin):
    """One forward pass per call."""

    def __call__(self) -> None:
        """Returns when the outputs are there."""
        with torch.inference_mode():
            self.model(self.x)
        self.wait()
