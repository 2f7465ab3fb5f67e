"""A trained model with what is needed to predict with it, from the checkpoints of a run."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import SingleDeviceSharding
from ml_collections import ConfigDict

from jaxepi.errors import JaxepiError
from jaxepi.parallel.mesh import make_mesh, replicated
from jaxepi.registry import make_task
from jaxepi.storage.checkpoint import Checkpoints, Meta, damaged
from jaxepi.storage.one_voice import with_one_voice
from jaxepi.task import Task


@dataclasses.dataclass(frozen=True)
class RestoredModel:
    """A trained model with what is needed to predict with it."""

    model: nnx.Module
    task: Task
    config: ConfigDict
    meta: Meta  # `manifest` describes the dataset it was trained on, `step` the update


def restore_model(workdir: Path | str, which: str | None = None, dtype: str | None = None) -> RestoredModel:
    """The model of a run on the default device (on all devices, with several hosts), without its optimizer.

    Args:
      workdir: of the run.
      which: "best" by the monitored validation metric (or the last where none was saved), "best_<metric>" by another
        one of several, or "last"; None for the one that the run's config.report_checkpoint names.
      dtype: to compute in, instead of the run's own.

    Raises:
      JaxepiError: no such run, no checkpoint yet, or one that is damaged.
    """
    workdir = Path(workdir)
    places = {"last": [workdir / "checkpoints"], "best": [workdir / "best", workdir / "checkpoints"]}
    places = places.get(which or "best", [workdir / str(which)])
    found = next((place for place in places if place.is_dir() and any(place.iterdir())), None)
    if found is None:
        if which not in ("last", "best", None):
            raise JaxepiError(f"{workdir} has no checkpoint {which!r}; it has {', '.join(_kept(workdir))}.")
        raise JaxepiError(
            f"No checkpoint in {workdir}; expected the --workdir of a run that has saved (it holds checkpoints/)."
        )
    checkpoints = Checkpoints(found)
    for step in checkpoints.steps():
        try:
            if which is None and json.loads(checkpoints.meta(step)["config"]).get("report_checkpoint") == "last":
                return restore_model(workdir, "last", dtype)
            return _restore_model(checkpoints, step, dtype)
        except JaxepiError:
            raise
        except Exception as problem:  # orbax and its storage raise many kinds for damaged files
            if (found / str(step)).exists():  # else its run has just replaced it
                raise damaged(found / str(step), problem) from problem
    raise JaxepiError(f"No checkpoint in {found} can be read, as none is complete.")


def _kept(workdir: Path) -> list[str]:
    """What `restore_model` may be asked for: the best by each monitored metric, and the last."""
    return [*sorted(path.name for path in workdir.glob("best*")), "last"]


def _restore_model(checkpoints: Checkpoints, step: int, dtype: str | None) -> RestoredModel:
    meta = checkpoints.meta(step)
    config = ConfigDict(json.loads(meta["config"]))
    if dtype is not None:
        config.model.dtype = dtype
    task = make_task(config, meta["manifest"])
    graphdef, params, rest = nnx.split(nnx.eval_shape(lambda: task.build_model(nnx.Rngs(0))), nnx.Param, ...)
    averaged = config.optimizer.get("ema_decay") is not None
    # several hosts read together, so that each has the whole model; one host needs it on one device only
    everywhere = replicated(make_mesh()) if jax.process_count() > 1 else SingleDeviceSharding(jax.devices()[0])
    on_device = functools.partial(
        jax.tree.map, lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere)
    )
    wanted = {"ema" if averaged else "params": on_device(params), "rest": on_device(rest)}
    handler = ocp.PyTreeCheckpointer()
    arguments = ocp.args.PyTreeRestore(
        item=wanted,
        restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        partial_restore=True,
    )
    folder = checkpoints.directory / str(step) / "state"
    restored = with_one_voice(lambda: handler.restore(folder, args=arguments))
    checkpoints.check_parts(step, meta, restored)
    model = nnx.merge(graphdef, restored["ema" if averaged else "params"], restored["rest"])
    model.eval()
    return RestoredModel(model, task, config, meta)
