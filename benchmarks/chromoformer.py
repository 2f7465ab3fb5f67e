"""Chromoformer's training and inference, ours beside the package `chromoformer` on PyTorch, in one run.

python benchmarks/chromoformer.py [--batch-size N] [--steps N] [--config configs/chromoformer_clf.py] [--alone]

Needs `pip install chromoformer==1.1.3 --no-deps` (GPL: for this comparison only) unless --alone. Both sides have the
same weights, genes, loss and optimizer and take turns. Ours starts from the records of a batch and makes features and
masks in the timed step; theirs gets them ready-made. Peak memory is of one process for each side, after one step of
training. Prints one JSON line.
"""

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from flax import nnx
from measure import interleaved, machine, peak_rss_mb, print_json, ratios
from workload import read_config

from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.parallel.mesh import make_mesh
from jaxepi.pretrained.table import to_original
from jaxepi.systems.chromoformer import SYSTEM
from jaxepi.systems.chromoformer.model import INPUTS, ChromoformerConfig
from jaxepi.systems.chromoformer.task import ChromoformerTask
from jaxepi.train.optimizer import OptimizerConfig
from jaxepi.train.state import make_steps
from jaxepi.verbs.command import one_sentence_errors

MARKS = 7
RESOLUTION = 100
MANIFEST = {
    "system": "chromoformer",
    "marks": [f"mark_{k}" for k in range(MARKS)],
    "resolution": RESOLUTION,
    "promoter_length": 40_000,
}


def made_up_genes(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Records with random read depth and eight contacts of 2 to 30 kb, about as long as in real data."""
    random = np.random.default_rng(seed)

    def depth(length: int) -> np.ndarray:
        stretches = -(-length // RESOLUTION)
        return random.gamma(0.5, 4.0 * RESOLUTION, (stretches, MARKS)).round().astype(np.float32)

    genes = []
    for number in range(count):
        lengths = np.clip(random.lognormal(np.log(5300), 0.5, 8), 1800, 30_000).astype(int)
        genes.append(
            {
                "key": f"gene{number}",
                "minus": number % 2,
                "expression": float(random.exponential(5)),
                "label": int(random.integers(2)),
                "promoter_sum": depth(40_000),
                "promoter_span": np.array([0, 40_000]),
                "pcre_length": lengths,
                "pcre_sum": np.concatenate([depth(int(length)) for length in lengths]),
                "score": np.sort(random.uniform(1.5, 4, 8))[::-1].astype(np.float32),
            }
        )
    return genes


class Ours:
    """Our training step and prediction on one batch of records; `compile` comes before `train`."""

    def __init__(self, config: Any, batch_size: int):
        self.task = ChromoformerTask(config, MANIFEST)
        self.batch = jax.device_put(self.task.collate(made_up_genes(batch_size)))
        self.optimizer = from_section(OptimizerConfig, config.optimizer, "config.optimizer")
        # the learning rate of the first epoch throughout
        constant = dataclasses.replace(self.optimizer, schedule="constant", warmup_steps=0)
        self.steps = make_steps(self.task, constant, 1, config.seed, make_mesh(devices=jax.devices()[:1]))
        self.graph = nnx.split(nnx.eval_shape(lambda: self.task.build_model(nnx.Rngs(0))))[0]
        self.predict_values = jax.jit(self._predict)
        self.scalars: dict[str, Any] = {}

    def compile(self) -> float:
        """Makes the initial state and the program of a step; returns the seconds of the latter."""
        self.state = jax.block_until_ready(self.steps.initial())
        begin = time.perf_counter()
        self.step = self.steps.train.lower(self.state, self.batch).compile()
        return round(time.perf_counter() - begin, 1)

    def _predict(self, params: Any, rest: Any, batch: Any) -> jax.Array:
        inputs, _ = self.task.prepare(batch, jax.random.key(0), train=False)
        return self.task.apply(nnx.merge(self.graph, params, rest), inputs).values

    def train(self) -> None:
        self.state, self.scalars = jax.block_until_ready(self.step(self.state, self.batch))

    def predict(self) -> jax.Array:
        return jax.block_until_ready(self.predict_values(self.state.params, self.state.rest, self.batch))

    def weights(self) -> dict[str, np.ndarray]:
        """Under the names of the original."""
        model = nnx.merge(self.graph, self.state.params, self.state.rest)
        return to_original(model, SYSTEM.weights.table(model.config))

    def inputs(self) -> tuple[dict[str, Any], np.ndarray]:
        """What the original's model takes, and the target."""
        task = ChromoformerTask.__new__(ChromoformerTask)
        task.__dict__ |= self.task.__dict__
        task.model_config = dataclasses.replace(self.task.model_config, full_evaluation=True)
        inputs, targets = jax.jit(lambda batch: task.prepare(batch, jax.random.key(0), train=False))(self.batch)
        return jax.tree.map(np.array, inputs), np.array(targets["value"])


class Theirs:
    """The package's model with our weights, its own optimizer and loss."""

    def __init__(self, ours: Ours, weights: dict[str, np.ndarray] | None):
        """Without `weights` the package's own initial ones."""
        net, torch = import_package()
        self.torch = torch
        torch.Tensor.cuda = lambda tensor: tensor  # the package sends its positional encoding to a GPU, always
        check_sizes(ours.task.model_config)
        classes = ours.task.objective.target == "label"
        self.model = net.ChromoformerClassifier() if classes else net.ChromoformerRegressor()
        if weights is not None:
            self.model.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in weights.items()})
        inputs, target = ours.inputs()
        tensors = jax.tree.map(torch.from_numpy, inputs)
        self.inputs = [tensors[name] for name in INPUTS]
        self.target = torch.from_numpy(target.astype(np.int64) if classes else target[:, None])
        self.criterion = torch.nn.CrossEntropyLoss() if classes else torch.nn.MSELoss()
        settings = ours.optimizer
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.loss = float("nan")

    def train(self) -> None:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(*self.inputs), self.target)
        loss.backward()
        self.optimizer.step()
        self.loss = float(loss.detach())

    def predict(self) -> np.ndarray:
        with self.torch.no_grad():
            return self.model(*self.inputs).numpy()


def import_package() -> tuple[ModuleType, ModuleType]:
    """The package's models, and torch.

    Raises:
      JaxepiError: one of them is not installed.
    """
    here = Path(__file__).resolve().parent
    before, sys.path = (
        sys.path,
        [place for place in sys.path if Path(place).resolve() != here],
    )  # it has this file's name
    try:
        return importlib.import_module("chromoformer.net"), importlib.import_module("torch")
    except ImportError:
        raise JaxepiError(
            "The comparison needs `pip install chromoformer==1.1.3 --no-deps` and PyTorch; --alone leaves it out."
        ) from None
    finally:
        sys.path = before


def check_sizes(config: ChromoformerConfig) -> None:
    """Raises JaxepiError unless the sizes are those of the published model, which the package builds."""
    published = ChromoformerConfig(outputs=config.outputs, empty_rows=config.empty_rows)
    if config != published:
        raise JaxepiError("The comparison has the published sizes in float32 only; --alone measures any config.")


def peak_of(side: str, arguments: argparse.Namespace) -> float:
    """Peak resident memory in MB of a process that does one training step of one side."""
    command = [sys.executable, __file__, "--config", arguments.config, "--batch-size", str(arguments.batch_size)]
    done = subprocess.run([*command, "--peak-of", side], capture_output=True, text=True, check=False)
    if done.returncode:
        raise JaxepiError(f"The process that measures the memory of {side} failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)["peak_rss_mb"]


def measure_peak(side: str, ours: Ours) -> None:
    """One training step of one side, and the peak memory of this process."""
    if side == "jax":
        ours.compile()
        ours.train()
    else:
        Theirs(ours, None).train()
    print_json({"peak_rss_mb": peak_rss_mb()})


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints."""
    names = ["jax"] if arguments.alone else ["jax", "torch"]
    # before anything else: a process starts with the peak of the one that made it
    peaks = {} if arguments.peak_of else {name: peak_of(name, arguments) for name in names}
    ours = Ours(read_config(arguments.config), arguments.batch_size)
    if arguments.peak_of:
        measure_peak(arguments.peak_of, ours)
        return
    sides: dict[str, Ours | Theirs] = {"jax": ours}
    result: dict[str, Any] = {"benchmark": "chromoformer", "config": arguments.config, "compile_s": ours.compile()}
    result |= {"batch_size": arguments.batch_size, "device": jax.devices()[0].device_kind, "peak_rss_mb": peaks}
    if not arguments.alone:
        theirs = sides["torch"] = Theirs(ours, ours.weights())
        apart = float(np.abs(np.asarray(ours.predict()) - theirs.predict()).max())
        result["largest_difference_of_outputs"] = float(f"{apart:.2g}")
    for kind in ("train", "predict"):
        programs: dict[str, Callable[[], Any]] = {name: getattr(side, kind) for name, side in sides.items()}
        timings = interleaved(programs, arguments.steps)
        result[kind] = {name: genes_per_second(t.summary(arguments.batch_size)) for name, t in timings.items()}
        if not arguments.alone:
            result[kind] |= ratios(timings["jax"], timings["torch"])
        if kind == "train" and not arguments.alone:
            result["loss_after_steps"] = {"jax": float(ours.scalars["loss"]), "torch": theirs.loss}
    print_json({**result, "machine": machine(), "jax": jax.__version__})


def genes_per_second(summary: dict[str, float]) -> dict[str, float]:
    """The summary with the sample's name."""
    return {name.replace("samples_per_s", "genes_per_s").replace("sample", "gene"): v for name, v in summary.items()}


def main() -> None:
    """Parses the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/chromoformer_clf.py")
    parser.add_argument("--batch-size", type=int, default=16, help="theirs needs about 150 MB a gene")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each side")
    parser.add_argument("--alone", action="store_true", help="ours only")
    parser.add_argument("--peak-of", choices=["jax", "torch"], help=argparse.SUPPRESS)
    with one_sentence_errors():
        run(parser.parse_args())


if __name__ == "__main__":
    main()
