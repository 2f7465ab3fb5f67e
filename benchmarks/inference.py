"""Speed and memory of prediction for any config, on CPU or GPU. Prints one JSON line.

    python benchmarks/inference.py --config configs/melody_mt.py --batch-size 2 --compare torch

A call takes a collated batch (base codes), makes the one-hot input on the device and runs the model with all its heads.
With --compare torch, a PyTorch twin takes the same batch, already one-hot, under `inference_mode`.
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

from jaxepi.console import one_sentence_errors


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    with one_sentence_errors():
        workload = make_workload(arguments)
        result = {"benchmark": "inference", **workload.about, "device": jax.devices()[0].device_kind}
        result |= run(workload, arguments)
        print_json({**result, "machine": machine(), "jax": jax.__version__})


def run(workload: Workload, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compiles and times the forward pass, in turn with the PyTorch twin if asked."""
    task, size = workload.task, workload.about["batch_size"]
    model = task.build_model(nnx.Rngs(0))
    graph, weights = nnx.split(model)

    def predict(weights: Any, batch: dict[str, jax.Array]) -> Any:
        inputs, _ = task.prepare(batch, jax.random.key(0), train=False)
        return task.apply(nnx.merge(graph, weights), inputs)

    batch = device_batch(workload)
    lowered = jax.jit(predict).lower(weights, batch)
    flops = (lowered.cost_analysis() or {}).get("flops")
    start = time.perf_counter()
    compiled = lowered.compile()
    result: dict[str, Any] = {"compile_s": round(time.perf_counter() - start, 1), "flops_per_call": flops}
    programs = {"jax": lambda: jax.block_until_ready(compiled(weights, batch))}
    if arguments.compare:
        from torch_twin import PredictTwin

        programs["torch"] = PredictTwin(workload, model)
    else:
        programs["jax"]()
        result["peak_rss_mb"] = peak_rss_mb()
    timings = interleaved(programs, arguments.steps)
    result |= timings["jax"].summary(size)
    result |= {"memory": compiled_memory_mb(compiled), "device_peak_mb": device_peak_mb()}
    result |= share_of_peak(flops, timings["jax"], workload.about["model"].get("dtype", "float32"))
    if arguments.compare:
        result |= {"torch": timings["torch"].summary(size) | programs["torch"].about()}
        result |= ratios(timings["jax"], timings["torch"])
    return result


if __name__ == "__main__":
    main()
