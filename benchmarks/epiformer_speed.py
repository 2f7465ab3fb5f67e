"""Windows/s and memory of full-size Epiformer beside PyTorch, in turn, on CPU or GPU; one JSON line.

    python benchmarks/epiformer_speed.py --steps 3                 # prediction and training step, batch 1, float32
    python benchmarks/epiformer_speed.py --only ours --set model.remat=True --set model.dtype=bfloat16
    python benchmarks/epiformer_speed.py --memory                  # compiled programs: switches, and bins of attention

One track from 98,304 bp with conservation (54.8 million parameters), and a training step (Poisson loss, Adam, gradient
clipped, dropout on). Beside ours runs `torch_epiformer.py`, which gets the same weights and the same batch, in eager
mode; `error` is the largest difference of predicted values relative to the largest value. `peak_rss_mb` is of the whole
process, so that of ours alone needs --only ours. With --memory nothing runs: `step` is what a compiled training step
needs by its switches, `attention` the temporary memory of the gradient of one layer's attention by the number of bins,
with all rows of scores at once and 256 at a time.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from measure import compiled_memory_mb, device_peak_mb, interleaved, machine, peak_rss_mb, print_json, ratios
from train_step import Step
from workload import Workload, device_batch, read_config, set_field

from jaxepi.console import one_sentence_errors
from jaxepi.layers.torch_like import sinusoid
from jaxepi.pretrained.table import to_original
from jaxepi.registry import get_system, make_task
from jaxepi.systems.epiformer.attention import SelfAttention

WINDOW, BIN = 98_304, 128
BINS = (768, 1_536, 3_072)
SWITCHES = ((), ("model.remat=True",), ("model.dtype=bfloat16",), ("model.remat=True", "model.dtype=bfloat16"))


def make_workload(size: int, fields: list[str]) -> Workload:
    """The task of the shipped config for one cell type, and a made-up batch, of which each step takes all at once."""
    config = read_config("configs/epiformer.py")
    config.optimizer.accumulate, config.dataset.tracks = 1, ()
    config.unit, config.steps = "update", 1_000
    config.optimizer.schedule, config.optimizer.warmup_steps = "constant", 0
    for field in fields:
        set_field(config, field)
    made = get_system(config.system).toy(0, 0).manifest
    manifest = {**made, "window": WINDOW, "bin_width": BIN, "bins": WINDOW // BIN, "crop": 0, "tracks": ["MGC"]}
    random, task = np.random.default_rng(0), make_task(config, manifest)
    record = {
        "key": "", "chrom": "chr1", "start": 0, "sequence": random.integers(0, 4, WINDOW).astype(np.uint8),
        "target": random.gamma(0.5, 1.0, (WINDOW // BIN, 1)).astype(np.float16),
        "conservation": (random.random(WINDOW) ** 2).astype(np.float16),
    }  # fmt: skip
    about = {"batch_size": size, "window": WINDOW, "set": fields}
    return Workload(config, task, task.collate([record] * size), about)


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1, help="windows of a step")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each program")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as model.dtype=bfloat16")
    parser.add_argument("--only", choices=["ours"], help="without PyTorch")
    parser.add_argument("--no-training", action="store_true", help="prediction alone")
    parser.add_argument("--no-prediction", action="store_true", help="the training step alone")
    parser.add_argument("--memory", action="store_true", help="what compiled programs need; nothing runs")
    arguments = parser.parse_args()
    with one_sentence_errors():
        result: dict[str, Any] = {"benchmark": "epiformer_speed", "device": jax.devices()[0].device_kind}
        if arguments.memory:
            result |= {"batch_size": arguments.batch_size, **memory(arguments.batch_size)}
        else:
            workload = make_workload(arguments.batch_size, arguments.set)
            result |= workload.about | measure(workload, arguments)
        print_json(result | {"machine": machine(), "jax": jax.__version__})


def measure(workload: Workload, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times prediction and training of each in turn."""
    task, size = workload.task, workload.about["batch_size"]
    batch, model = device_batch(workload), workload.task.build_model(nnx.Rngs(0))
    graph, weights = nnx.split(model)

    @jax.jit
    def predict(weights: Any, batch: dict[str, jax.Array]) -> jax.Array:
        inputs, _ = task.prepare(batch, jax.random.key(0), train=False)
        return task.values(task.apply(nnx.merge(graph, weights), inputs))

    programs: dict[str, Any] = {}
    result: dict[str, Any] = {}
    if not arguments.no_prediction:
        programs["predict"] = lambda: np.asarray(predict(weights, batch))
    if not arguments.no_training:
        programs["train"] = step = Step(workload)
        step.start()
        result["compile_s"] = step.compile_s
    if arguments.only is None:
        result |= add_torch(programs, workload, model, np.asarray(predict(weights, batch)))
    timings = interleaved(programs, arguments.steps, settle=1)
    for name in ("predict", "train"):
        if name in timings:
            result[name] = timings[name].summary(size)
            if theirs := timings.get(f"{name}_torch"):
                result[name]["torch"] = theirs.summary(size) | ratios(timings[name], theirs)
    return result | {"peak_rss_mb": peak_rss_mb(), "device_peak_mb": device_peak_mb()}


def add_torch(programs: dict[str, Any], workload: Workload, model: nnx.Module, values: np.ndarray) -> dict[str, Any]:
    """Adds the programs of PyTorch, after one prediction to compare."""
    from torch_epiformer import Program

    task, config = workload.task, model.config
    weights = to_original(model, get_system(workload.config.system).weights.table(config))
    inputs, targets = jax.device_get(task.prepare(workload.batch, jax.random.key(0), train=False))
    positions = sinusoid(WINDOW // config.stride, config.embed_size)
    predicting = Program(config, weights, inputs, positions, None)
    predicting()
    if "predict" in programs:
        programs["predict_torch"] = predicting
    if "train" in programs:
        programs["train_torch"] = Program(config, weights, inputs, positions, targets["target"])
    theirs = predicting.values.swapaxes(1, 2)
    return {"error": float(np.abs(values - theirs).max() / np.abs(theirs).max())}


def memory(size: int) -> dict[str, Any]:
    """What compiled programs need, in MB."""
    step = {}
    for switches in SWITCHES:
        name = ", ".join(switches) or "float32"
        step[name] = compiled_memory_mb(Step(make_workload(size, list(switches))).compiled)
    attention = {str(bins): {str(rows): attention_mb(bins, rows, size) for rows in (bins, 256)} for bins in BINS}
    return {"step": step, "attention": attention}


def attention_mb(bins: int, rows: int, size: int) -> float:
    """Temporary memory of the gradient of one layer's attention, so many rows of scores at a time."""
    width, heads = 768, 4
    layer = SelfAttention(width, heads, "relative_key", 0.4, rows, dtype=jnp.float32, rngs=nnx.Rngs(0))
    layer.distance.set_value(jnp.zeros((2 * bins - 1, width // heads)))  # distances as far as there are bins
    graph, weights = nnx.split(layer)

    def total(weights: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        return nnx.merge(graph, weights)(x, key)[0].sum()

    x = jax.ShapeDtypeStruct((size, bins, width), jnp.float32)
    compiled = jax.jit(jax.grad(total)).lower(weights, x, jax.random.key(0)).compile()
    return compiled_memory_mb(compiled)["temporary_mb"]


if __name__ == "__main__":
    main()
