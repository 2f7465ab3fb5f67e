"""Memory and traffic of a sharded training step, from the compiled program alone. Prints one JSON line per mesh.

    python benchmarks/sharding.py
    python benchmarks/sharding.py --config configs/deepcpg_dna.py --window 1001 --batch-size 1016 --mesh 8x1 --mesh 1x8
    python benchmarks/sharding.py --topology v5e:4x4 --config configs/deepcpg_dna.py --window 1001 --batch-size 2032 \\
        --mesh 16x1 --mesh 1x16

Without --config every registered system takes its turn with its toy data and a widened toy model. A mesh is data x
fsdp. Devices are eight made-up CPU devices (another number by XLA_FLAGS=--xla_force_host_platform_device_count), or
those of a TPU topology for which libtpu compiles ahead of time: no TPU is needed, `pip install jax[tpu]` is. Nothing
runs.

`whole_state_mb` is the size of the training state, `state_mb` what a device keeps of it between steps, `temporary_mb`
what a step needs besides. `moved_mb` counts each collective's whole array once: what all-gathers make, what reductions
reduce. XLA's CPU compiler writes a reduce-scatter as all-reduce and slice, its TPU compiler often does. `ratio` is all
of it over the bytes of the parameters. `batch_mb` is what of it carries the batch: collectives whose number of elements
is a multiple of the rows of a device, where no array of the state has such a number (else null). It needs an odd number
of rows, so the default is a prime for each device, and 127 does where 128 is meant.
"""

import argparse
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

CPU_DEVICES = 8
ROWS = 37  # of a device; a prime that divides no size of the toy models
LARGEST = 4  # collectives to print, those that carry the batch if there are any
WIDER = 16  # times the toy models' widths, so that their kernels are large enough to be split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    from workload import add_arguments

    add_arguments(parser)
    parser.set_defaults(config=None)
    parser.add_argument("--mesh", action="append", help="data x fsdp, such as 2x4; may be given several times")
    parser.add_argument("--topology", help="TPU devices to compile for, such as v5e:4x4; default: CPU devices")
    parser.add_argument("--evaluate", action="store_true", help="the evaluation step instead of the training step")
    arguments = parser.parse_args()
    import jax
    from measure import print_json

    if arguments.topology:
        from jax.experimental.topologies import get_topology_desc

        devices = get_topology_desc(platform="tpu", topology_name=arguments.topology).devices
    else:
        devices = jax.devices()
    count = len(devices)
    for name, task, optimizer, batch in workloads(arguments, ROWS * count):
        for mesh in arguments.mesh or [f"{count}x1", f"{count // 4}x4", f"1x{count}"]:
            data, fsdp = map(int, mesh.split("x"))
            measured = measure(task, optimizer, batch, list(devices)[: data * fsdp], fsdp, arguments.evaluate)
            device = {"device": devices[0].device_kind, "mesh": mesh}
            print_json({"system": name, **device, "rows": len(next(iter(batch.values()))), **measured})


def workloads(arguments: argparse.Namespace, rows: int) -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """(name, task, optimizer's config, collated batch) of the config, or of every system's toy, widened."""
    from workload import make_workload

    from jaxepi.config import from_section
    from jaxepi.optimizer_config import OptimizerConfig
    from jaxepi.registry import get_system, known_systems, task_of

    if arguments.config:
        workload = make_workload(arguments)
        optimizer = from_section(OptimizerConfig, workload.config.optimizer, "config.optimizer")
        yield workload.config.system, workload.task, optimizer, workload.batch
        return
    for name in known_systems():
        toy = get_system(name).toy(0, arguments.batch_size or rows)
        task = task_of(get_system(name), widened(toy.model), toy.task, toy.manifest)
        yield name, task, OptimizerConfig(ema_decay=0.99), task.collate(toy.records)


def widened(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """A model's sizes with larger widths, also those of the blocks that some models list."""
    made: dict[str, Any] = {}
    for field, size in sizes.items():
        words = ("width", "hidden", "inner", "embed_size", "feedforward")
        wide = any(word in field for word in words) or field in ("filters", "filters_init")
        blocks = isinstance(size, list | tuple) and all(isinstance(block, Mapping) for block in size)
        made[field] = [widened(block) for block in size] if blocks else size * WIDER if wide else size
    return made


def measure(
    task: Any, optimizer: Any, batch: dict[str, Any], devices: list[Any], fsdp: int, evaluate: bool
) -> dict[str, Any]:
    """Compiles the step for these devices and reads what it needs and moves."""
    import jax
    import numpy as np
    from measure import compiled_memory_mb

    from jaxepi.parallel.collectives import bytes_moved, collectives
    from jaxepi.parallel.mesh import batch_sharding, make_mesh
    from jaxepi.train.state import make_steps

    mesh = make_mesh(fsdp, devices=devices)
    steps = make_steps(task, optimizer, 10, 0, mesh)
    state = steps.abstract()
    rows = {
        name: jax.ShapeDtypeStruct(
            np.shape(array), jax.dtypes.canonicalize_dtype(array.dtype), sharding=batch_sharding(mesh)
        )
        for name, array in batch.items()
    }
    if evaluate:
        compiled = steps.evaluate.lower(state.best_params, state.rest, rows).compile()
    else:
        compiled = steps.train.lower(state, rows).compile()
    found = collectives(compiled.as_text())
    told = carrying(len(next(iter(batch.values()))) // len(devices), found, state)
    largest = sorted(told or found, key=lambda one: -one.bytes * one.times)[:LARGEST]
    parameters, moved = bytes_of(state.params), bytes_moved(found)
    return {
        "parameters_mb": megabytes(parameters),
        "whole_state_mb": megabytes(bytes_of(state)),
        "state_mb": megabytes(sum(on_one_device(leaf) for leaf in jax.tree.leaves(state))),
        **compiled_memory_mb(compiled),
        "moved_mb": {kind: megabytes(count) for kind, count in moved.items()},
        "ratio": round(sum(moved.values()) / parameters, 3),
        "batch_mb": None if told is None else megabytes(sum(bytes_moved(told).values())),
        "largest": [f"{one.kind} {one.dtype}{list(one.shape)} x{one.times}" for one in largest],
    }


def carrying(rows: int, found: list[Any], state: Any) -> list[Any] | None:
    """The collectives that carry rows of the batch; None if arrays of the state cannot be told from them."""
    import jax

    if any(leaf.size % rows == 0 for leaf in jax.tree.leaves(state)):
        return None
    return [one for one in found if math.prod(one.shape) % rows == 0]


def bytes_of(tree: Any) -> int:
    """Of all arrays of a tree."""
    import jax

    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def on_one_device(leaf: Any) -> int:
    """Bytes of an array's shard."""
    size = leaf.dtype.itemsize
    for axis in leaf.sharding.shard_shape(leaf.shape):
        size *= axis
    return size


def megabytes(count: float) -> float:
    """Rounded to kilobytes."""
    return round(count / 1e6, 3)


if __name__ == "__main__":
    # before jax starts
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        flag = f"--xla_force_host_platform_device_count={CPU_DEVICES}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
