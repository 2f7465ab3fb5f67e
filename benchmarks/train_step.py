"""Speed and memory of a training step for any config, on CPU or GPU. Prints one JSON line.

    python benchmarks/train_step.py --config configs/melody_mt.py --batch-size 1 --compare torch
    python benchmarks/train_step.py --config configs/melody_mt.py --batch-size 32 --compile-only --set model.remat=True

A step is what training runs: densify and one-hot on the device, model, losses, gradients, optimizer. FLOPs are those of
the program before XLA's own optimization; share_of_peak divides by the device's data sheet, or on the CPU by a matrix
product of the same run, both per second of CPU time. With --compare torch, a PyTorch twin takes the same batch, already
dense and one-hot, with the same losses and optimizer, from the same initial weights; `ratio` is its time over ours.
"""

import argparse
import time
from typing import Any

import jax
from flax import nnx
from measure import (
    compiled_memory_mb,
    device_peak_mb,
    interleaved,
    machine,
    peak_rss_mb,
    print_json,
    ratios,
    share_of_peak,
)
from workload import Workload, add_arguments, device_batch, make_workload

from jaxepi.config import from_section
from jaxepi.console import one_sentence_errors
from jaxepi.parallel.mesh import make_mesh
from jaxepi.train.optimizer import OptimizerConfig
from jaxepi.train.state import TrainState, make_steps


class Step:
    """The compiled training step and the state that it moves on."""

    def __init__(self, workload: Workload):
        optimizer = from_section(OptimizerConfig, workload.config.optimizer, "config.optimizer")
        mesh = make_mesh(devices=jax.devices()[:1])
        steps = make_steps(workload.task, optimizer, workload.config.steps, workload.config.seed, mesh)
        self.batch = device_batch(workload)
        lowered = steps.train.lower(steps.abstract(), self.batch)
        self.flops = (lowered.cost_analysis() or {}).get("flops")
        start = time.perf_counter()
        self.compiled = lowered.compile()
        self.compile_s = round(time.perf_counter() - start, 1)
        self._initial = steps.initial
        self.state: TrainState | None = None
        self.loss = float("nan")

    def start(self) -> TrainState:
        """Makes the initial state."""
        self.state = jax.block_until_ready(self._initial())
        return self.state

    def __call__(self) -> None:
        """One update; returns when it is done."""
        self.state, scalars = jax.block_until_ready(self.compiled(self.state, self.batch))
        self.loss = float(scalars["loss"])


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--compile-only", action="store_true", help="memory and FLOPs, without running a step")
    arguments = parser.parse_args()
    with one_sentence_errors():
        workload = make_workload(arguments)
        step = Step(workload)
        result = {"benchmark": "train_step", **workload.about, "device": jax.devices()[0].device_kind}
        memory = {**compiled_memory_mb(step.compiled), "saved_for_backward_mb": saved_for_backward_mb(workload)}
        result |= {"compile_s": step.compile_s, "flops_per_step": step.flops, "memory": memory}
        if not arguments.compile_only:
            result |= run(workload, step, arguments)
        print_json({**result, "machine": machine(), "jax": jax.__version__})


def saved_for_backward_mb(workload: Workload) -> float:
    """What the forward pass keeps for the backward pass, parameters included, before XLA has its say.

    Shows what remat saves on every platform: XLA's CPU compiler merges recomputed work with the original again.
    """
    task = workload.task
    graph, params, rest = nnx.split(nnx.eval_shape(lambda: task.build_model(nnx.Rngs(0))), nnx.Param, ...)

    def backward(params: Any, rest: Any, batch: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            inputs, targets = task.prepare(batch, jax.random.key(0), train=True)
            model = nnx.merge(graph, params, rest, copy=True)  # layers may write statistics
            model.train()
            return task.loss(task.apply(model, inputs), targets)[0]

        return jax.vjp(loss, params)[1]

    kept = jax.tree.leaves(jax.eval_shape(backward, params, rest, workload.batch))
    return round(sum(leaf.size * leaf.dtype.itemsize for leaf in kept) / 1e6, 1)


def run(workload: Workload, step: Step, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times the step, in turn with the PyTorch twin if asked."""
    size = workload.about["batch_size"]
    state = step.start()
    twin = None
    if arguments.compare:
        from torch_twin import TrainTwin

        model = workload.task.build_model(nnx.Rngs(0))
        nnx.update(model, state.params)
        twin = TrainTwin(workload, model)
    result: dict[str, Any] = {}
    if twin is None:  # with PyTorch in the process, its memory would count too
        step()
        result["peak_rss_mb"] = peak_rss_mb()
    programs = {"jax": step} if twin is None else {"jax": step, "torch": twin}
    timings = interleaved(programs, arguments.steps)
    result |= timings["jax"].summary(size) | {"device_peak_mb": device_peak_mb(), "loss": step.loss}
    result |= share_of_peak(step.flops, timings["jax"], workload.about["model"].get("dtype", "float32"))
    if twin is not None:
        result |= {"torch": timings["torch"].summary(size) | twin.about(), **ratios(timings["jax"], timings["torch"])}
    return result


if __name__ == "__main__":
    main()
