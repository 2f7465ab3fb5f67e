"""Program for test_contract.py: losses of two updates of every system on one and eight devices, as one JSON line.

Its argument names systems beside the registered ones: name -> package, as JSON.
"""

import json
import sys

import jax

from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel import mesh as meshes
from jaxepi.parallel.mesh import batch_sharding, make_mesh
from jaxepi.registry import SYSTEMS, get_system, known_systems, task_of
from jaxepi.train.state import make_steps

UPDATES = 2


def losses(name: str, devices: int, fsdp: int) -> list[float]:
    """Loss before each update, and after the last."""
    system = get_system(name)
    toy = system.toy(0, 8)
    task = task_of(system, toy.model, toy.task, toy.manifest)
    mesh = make_mesh(fsdp, devices=jax.devices()[:devices])
    steps = make_steps(task, OptimizerConfig(learning_rate=1e-2), UPDATES, 0, mesh)
    state, found = steps.initial(), []
    batch = jax.device_put(task.collate(toy.records), batch_sharding(mesh))
    for _ in range(UPDATES):
        state, scalars = steps.train(state, batch)
        found.append(float(scalars["loss"]))
    return found


if __name__ == "__main__":
    SYSTEMS.update(json.loads(sys.argv[1]))
    meshes.SMALLEST_SPLIT = 64  # so that the toys' small arrays are split too
    tried = {"1x1": (1, 1), "2x4": (8, 4)}
    print(json.dumps({n: {m: losses(n, *mesh) for m, mesh in tried.items()} for n in known_systems()}))
