"""Sequences/s of full-size Basenji2 beside PyTorch, in turn, on CPU or GPU; one JSON line.

    python benchmarks/basenji_speed.py                       # human head, batch 1
    python benchmarks/basenji_speed.py --set model.dtype=bfloat16 --batch-size 4 --only ours   # on a GPU

Prediction of one head of 5,313 tracks from 131,072 bp, and a training step (Poisson loss, SGD with momentum, each
variable's gradient clipped). Beside ours runs `torch_basenji.py`, which gets the same weights and the same batch, in
eager mode; `error` is the largest difference of predicted values relative to the largest value. Where the package
MultiMolecule (AGPL, `pip install multimolecule`) is installed, its Basenji2 predicts too, with random weights.
`flop_per_s` counts 117 billion multiply-adds a sequence, three times as many for a training step.
"""

import argparse
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from measure import device_peak_mb, interleaved, machine, peak_rss_mb, print_json, ratios
from train_step import Step
from workload import Workload, device_batch, read_config, set_field

from jaxepi.console import one_sentence_errors
from jaxepi.pretrained.table import to_original
from jaxepi.registry import get_system, make_task

WINDOW, CROP, BIN, TRACKS = 131_072, 8_192, 128, 5_313
FLOPS = 2 * 117e9  # of a sequence


def make_workload(size: int, fields: list[str]) -> Workload:
    """The task of the shipped config with the human head alone, and a made-up batch."""
    config = read_config("configs/basenji2.py")
    config.model.heads, config.model.head_names = config.model.heads[:1], config.model.head_names[:1]
    config.model.gelu = "tanh"  # as both others have it
    config.task.reverse_complement, config.task.shift = False, 0
    for field in fields:
        set_field(config, field)
    made = get_system(config.system).toy(0, 0).manifest
    manifest = {
        **made, "window": WINDOW, "crop": CROP, "bin_width": BIN, "bins": (WINDOW - 2 * CROP) // BIN,
        "tracks": [f"track_{k}" for k in range(TRACKS)], "track_descriptions": [""] * TRACKS,
        "strand_pair": list(range(TRACKS)),
    }  # fmt: skip
    random, task = np.random.default_rng(0), make_task(config, manifest)
    record = {
        "key": "", "chrom": "chr1", "start": 0, "sequence": random.integers(0, 4, WINDOW).astype(np.uint8),
        "target": random.gamma(0.5, 2.0, (manifest["bins"], TRACKS)).astype(np.float16),
    }  # fmt: skip
    about = {"batch_size": size, "window": WINDOW, "model": {"dtype": task.model_config.dtype}}
    return Workload(config, task, task.collate([record] * size), about)


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1, help="sequences of a step")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each program")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="as model.dtype=bfloat16")
    parser.add_argument("--only", choices=["ours"], help="without PyTorch")
    parser.add_argument("--no-training", action="store_true", help="prediction alone")
    arguments = parser.parse_args()
    with one_sentence_errors():
        workload = make_workload(arguments.batch_size, arguments.set)
        result = {"benchmark": "basenji_speed", **workload.about, "device": jax.devices()[0].device_kind}
        print_json(result | measure(workload, arguments) | {"machine": machine(), "jax": jax.__version__})


def measure(workload: Workload, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times prediction and training of each in turn."""
    task, size = workload.task, workload.about["batch_size"]
    batch = device_batch(workload)
    model = task.build_model(nnx.Rngs(0))
    graph, weights = nnx.split(model)

    @jax.jit
    def predict(weights: Any, batch: dict[str, jax.Array]) -> jax.Array:
        inputs, _ = task.prepare(batch, jax.random.key(0), train=False)
        return task.values(task.apply(nnx.merge(graph, weights), inputs))

    programs: dict[str, Any] = {"predict": lambda: np.asarray(predict(weights, batch))}
    result: dict[str, Any] = {}
    if not arguments.no_training:
        step = Step(workload)
        step.start()
        programs["train"] = step
        result["compile_s"] = step.compile_s
    if arguments.only is None:
        result |= add_torch(programs, workload, model, jnp.asarray(predict(weights, batch)))
    timings = interleaved(programs, arguments.steps, settle=1)
    for name, passes in (("predict", 1), ("train", 3)):
        if name not in timings:
            continue
        ours = timings[name]
        result[name] = ours.summary(size) | {"flop_per_s": passes * size * FLOPS / statistics.median(ours.wall)}
        for other in ("torch", "multimolecule"):
            theirs = timings.get(f"{name}_{other}")
            if theirs is not None:
                result[name][other] = theirs.summary(size) | ratios(ours, theirs)
    return result | {"peak_rss_mb": peak_rss_mb(), "device_peak_mb": device_peak_mb()}


def add_torch(programs: dict[str, Any], workload: Workload, model: nnx.Module, values: jax.Array) -> dict[str, Any]:
    """Adds the programs of PyTorch, after one prediction to compare."""
    from torch_basenji import Program

    task = workload.task
    table = get_system(workload.config.system).weights.table(model.config)
    arrays = {name: np.asarray(array) for name, array in to_original(model, table).items()}
    inputs, targets = jax.device_get(task.prepare(workload.batch, jax.random.key(0), train=False))
    programs["predict_torch"] = predicting = Program(arrays, inputs["x"], None)
    predicting()
    if "train" in programs:
        programs["train_torch"] = Program(arrays, inputs["x"], targets["target"])
    difference = np.abs(np.asarray(values, np.float32) - predicting.values).max()
    if add_multimolecule(programs, workload.batch["sequence"]):
        return {"error": float(difference / np.abs(predicting.values).max())}
    return {"error": float(difference / np.abs(predicting.values).max()), "multimolecule": "not installed"}


def add_multimolecule(programs: dict[str, Any], codes: np.ndarray) -> bool:
    """Adds the prediction of MultiMolecule's Basenji2 with random weights; whether the package is there."""
    import torch

    try:
        from multimolecule import BasenjiConfig, BasenjiForTokenPrediction
    except ImportError:
        return False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = BasenjiForTokenPrediction(BasenjiConfig()).eval().to(device)
    tokens = torch.from_numpy(codes.astype(np.int64)).to(device)

    def predict() -> None:
        with torch.inference_mode():
            network.postprocess(network(tokens))[0].cpu()

    programs["predict_multimolecule"] = predict
    return True


if __name__ == "__main__":
    main()
