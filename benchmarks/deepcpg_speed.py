"""Training samples/s and prediction sites/s of DeepCpG beside PyTorch, step by step in turn; one JSON line.

    python benchmarks/deepcpg_speed.py                                # CnnL2h128, beside MultiMolecule's DNA model
    python benchmarks/deepcpg_speed.py --network JointL2h512_CnnL2h128_RnnL1

Both get the same made-up batch (18 cells, 1001 bp, 50 neighbours, one label in five) and the same weights; the loss is
the mean cross-entropy over the observed labels, the optimizer is Adam, and the penalties of weights are left out, which
the package does not have. `error` is the largest difference of logits before the first step; `loss` and `torch.loss`
are those of the last. MultiMolecule has the DNA network only, so the joint one is our own PyTorch: see `torch.model`.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from measure import interleaved, machine, peak_rss_mb, print_json, ratios
from torch_deepcpg import Program
from train_step import Step
from workload import Workload, device_batch, read_config, set_field

from jaxepi.console import one_sentence_errors
from jaxepi.registry import make_task

CELLS, WINDOW, NEIGHBOURS, OBSERVED = 18, 1001, 50, 0.2


def make_workload(network: str, size: int, fields: list[str]) -> Workload:
    """The task of the shipped config with the package's loss, and a made-up batch."""
    joint = network.lower().startswith("joint")
    config = read_config("configs/deepcpg_joint.py:together" if joint else "configs/deepcpg_dna.py")
    config.model.network = network
    config.model.l1 = config.model.l2 = 0.0
    config.task.masking, config.task.balance_classes = "pooled", False
    config.optimizer.schedule, config.steps, config.unit = "constant", 1_000, "step"
    for field in fields:
        set_field(config, field)
    cells = [f"cell{i:02d}" for i in range(CELLS)]
    manifest = {
        "window": WINDOW, "neighbours": NEIGHBOURS, "max_distance": 25_000, "cells": cells, "statistics": [],
        "binary_cells": [True] * CELLS, "annotations": [], "tracks": [f"cpg/{cell}" for cell in cells],
        "class_counts": {},
    }  # fmt: skip
    random = np.random.default_rng(0)
    task = make_task(config, manifest)
    about = {"network": task.model_config.network, "batch_size": size, "dtype": task.model_config.dtype}
    return Workload(config, task, task.collate([make_record(random) for _ in range(size)]), about)


def make_record(random: np.random.Generator) -> dict[str, Any]:
    """A site as data_prep writes it."""
    cell = np.flatnonzero(random.random(CELLS) < OBSERVED).astype(np.uint16)
    return {
        "sequence": random.choice(5, WINDOW, p=[0.2475] * 4 + [0.01]).astype(np.uint8),
        "state": random.integers(0, 2, (CELLS, NEIGHBOURS)).astype(np.uint8),
        "distance": random.integers(1, 25_000, (CELLS, NEIGHBOURS)).astype(np.uint16),
        "cell": cell,
        "value": random.integers(0, 2, len(cell)).astype(np.uint8),
        "statistics": np.zeros(0, np.float32),
    }


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="CnnL2h128", help="CnnL2h128 or JointL2h512_CnnL2h128_RnnL1")
    parser.add_argument("--batch-size", type=int, default=128, help="sites of a step")
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each program")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as model.dtype=bfloat16")
    arguments = parser.parse_args()
    with one_sentence_errors():
        workload = make_workload(arguments.network, arguments.batch_size, arguments.set)
        result = {"benchmark": "deepcpg_speed", **workload.about, "device": jax.devices()[0].device_kind}
        print_json(result | measure(workload, arguments.steps) | {"machine": machine(), "jax": jax.__version__})


def measure(workload: Workload, repeats: int) -> dict[str, Any]:
    """Times training and prediction of both, four programs in turn."""
    task, size = workload.task, workload.about["batch_size"]
    batch = device_batch(workload)
    step = Step(workload)
    model = task.build_model(nnx.Rngs(0))
    nnx.update(model, jax.tree.map(jnp.copy, step.start().params))  # the step gives its own away
    graph, weights = nnx.split(model)

    @jax.jit
    def predict(weights: Any, batch: dict[str, jax.Array]) -> jax.Array:
        inputs, _ = task.prepare(batch, jax.random.key(0), train=False)
        return task.apply(nnx.merge(graph, weights), inputs).outputs.logits

    inputs = jax.device_get(task.prepare(batch, jax.random.key(0), train=False)[0])
    training, predicting = (Program(model, workload.batch, inputs, train) for train in (True, False))
    logits = np.asarray(jax.block_until_ready(predict(weights, batch)))
    predicting()
    error = float(np.abs(logits - predicting.logits.cpu().numpy()).max())
    programs = {
        "train": step,
        "train_torch": training,
        "predict": lambda: jax.block_until_ready(predict(weights, batch)),
        "predict_torch": predicting,
    }
    timings = interleaved(programs, repeats)
    result: dict[str, Any] = {"compile_s": step.compile_s, "flops_per_step": step.flops, "error": error}
    for name in ("train", "predict"):
        ours, theirs = timings[name], timings[f"{name}_torch"]
        result[name] = ours.summary(size) | {"torch": theirs.summary(size)} | ratios(ours, theirs)
    losses = {"loss": step.loss, "torch": {"model": training.name, "loss": training.loss}}
    return result | losses | {"peak_rss_mb": peak_rss_mb()}


if __name__ == "__main__":
    main()
