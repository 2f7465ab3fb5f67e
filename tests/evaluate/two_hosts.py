"""Program for test_two_hosts.py: evaluates the synthetic split as one of two processes and prints the summary.

Arguments: coordinator address, process number, `mesh` (global arrays over both processes) or `own` (each its own rows).
"""

import json
import sys

import jax
import numpy as np
from toys import splits

from jaxepi.evaluate.evaluator import evaluate
from jaxepi.storage.atomic import plain
from jaxepi.task import Options

BATCH = 4


def main(address, process, mode):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, num_processes=2, process_id=int(process))
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    whole = jax.NamedSharding(mesh, jax.P())
    step = jax.jit(splits.predict_step, in_shardings=rows, out_shardings=(whole, rows))
    half = slice(0, BATCH // 2) if jax.process_index() == 0 else slice(BATCH // 2, BATCH)

    def batches():
        for batch in splits.SyntheticSplit(3).batches(BATCH):
            own = {name: values[half] for name, values in batch.items()}
            if mode == "mesh":
                yield {name: jax.make_array_from_process_local_data(rows, values) for name, values in own.items()}
            else:
                yield own

    result = evaluate(
        step if mode == "mesh" else splits.predict_step,
        batches(),
        splits.StandardTask(),
        splits.SyntheticSplit(3).names,
        "test",
        options=Options(sample_positions=100),
        progress=lambda text: None,
    )
    windows = [(w.window.record, w.window.choice, float(np.nansum(w.window.target))) for w in result.windows]
    print(json.dumps(plain({"summary": result.summary, "windows": windows, "records": result.records})))


if __name__ == "__main__":
    main(*sys.argv[1:])
