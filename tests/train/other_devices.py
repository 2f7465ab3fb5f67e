"""Program for test_state.py: a state that was saved on one mesh goes on on others; losses as one JSON line.

Its argument is an empty folder. The loss is that of each of three updates; all meshes but the first begin behind the
second one, from what the first mesh saved.
"""

import json
import sys
from pathlib import Path

import jax

from jaxepi.optimizer_config import OptimizerConfig
from jaxepi.parallel import mesh as meshes
from jaxepi.registry import get_system, known_systems, task_of
from jaxepi.storage.checkpoint import Checkpoints
from jaxepi.train.state import make_steps

MESHES = ((2, 4), (1, 1), (8, 1), (1, 8))
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, ema_decay=0.9, accumulate=2)


def main(folder: Path) -> None:
    meshes.SMALLEST_SPLIT = 64  # so that the toy's small arrays are split too
    system = get_system(known_systems()[1])
    toy = system.toy(0, 16)
    task = task_of(system, toy.model, toy.task, toy.manifest)
    found: dict[str, list[float]] = {}
    for data, fsdp in MESHES:
        mesh = meshes.make_mesh(fsdp, devices=jax.devices()[: data * fsdp])
        steps = make_steps(task, OPTIMIZER, 3, 0, mesh)
        checkpoints = Checkpoints(folder)
        batch = jax.device_put(task.collate(toy.records), meshes.batch_sharding(mesh))
        losses = found[f"{data}x{fsdp}"] = []
        saved = checkpoints.restore_newest(steps.abstract(), print)
        state = steps.initial() if saved is None else saved[0]
        assert jax.tree.map(lambda leaf: leaf.sharding, state) == steps.shardings
        while state.step < 3:
            state, scalars = steps.train(state, batch)
            losses.append(float(scalars["loss"]))
            if state.step == 2 and len(found) == 1:
                checkpoints.save(2, state, {})
                checkpoints.wait()
        checkpoints.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
