"""What happens before the first step: hosts, devices, compilation cache, the run's folder and its lock."""

import contextlib
import copy
import fcntl
import glob
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jaxepi.data import Dataset, open_dataset
from jaxepi.errors import JaxepiError
from jaxepi.train.checkpoint import to_json

# what `config.unit` is the unit of
RUN_FIELDS = ("steps", "eval_every", "save_every")
OPTIMIZER_FIELDS = ("warmup_steps", "decay_steps")


def join_hosts(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the processes of a multi-host run; on clusters that jax knows, all three may be None.

    Raises:
      JaxepiError: the coordinator cannot be reached.
    """
    if jax.config.jax_platforms == "cpu" or os.environ.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as problem:
        raise JaxepiError(
            f"Cannot join the run at --coordinator={coordinator} as process {process} of {processes}: "
            f"{str(problem).splitlines()[0]}"
        ) from problem


def use_compilation_cache(directory: str | None = None) -> None:
    """Keeps compiled programs on disk, so that a restart does not compile again.

    Default: $JAX_COMPILATION_CACHE_DIR, else ~/.cache/jaxepi/xla, one folder for each kind of processor (programs for
    a CPU run only on CPUs with the same instructions).
    """
    if jax.config.jax_compilation_cache_dir and directory is None:
        return
    if directory is None:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        directory = str(home / "jaxepi" / "xla" / _processor())
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text = "".join(sorted({line for line in lines if line.startswith(("flags", "model name", "Features"))}))
    except OSError:
        text = platform.processor()
    return hashlib.blake2b((platform.machine() + text).encode(), digest_size=6).hexdigest()


def describe_devices() -> dict[str, Any]:
    """Platform, kind and number of the devices in use, for the log and the report."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "processes": jax.process_count(),
        "cpus": os.cpu_count(),
        "host": platform.node(),
    }


def peak_memory() -> dict[str, int]:
    """Largest memory so far in bytes: of this process, and of its first device where that is known."""
    scale = 1 if sys.platform == "darwin" else 1024
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale}
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        peak["device"] = statistics["peak_bytes_in_use"]
    return peak


def unused_accelerator() -> str | None:
    """A warning if this machine shows an accelerator while jax computes on the CPU, else None."""
    if jax.default_backend() != "cpu":
        return None
    if glob.glob("/dev/nvidia[0-9]*"):
        kind, extra = "an NVIDIA GPU", "gpu"
    elif glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*"):
        kind, extra = "a TPU", "tpu"
    else:
        return None
    asked = jax.config.jax_platforms or os.environ.get("JAX_PLATFORMS")
    why = f"JAX_PLATFORMS={asked} forbids it" if asked else f"install it with `pip install 'jaxepi[{extra}]'`"
    return f"warning: this machine has {kind}, but jax computes on the CPU ({why})"


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the run's folder and holds it for this process; the lock ends with the process, however it ends.

    Raises:
      JaxepiError: another run holds it, or it cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "lock").open("a+")
    except OSError as problem:
        raise JaxepiError(f"Cannot write to --workdir {workdir}: {problem.strerror}.") from problem
    with file:
        try:
            if jax.process_index() == 0:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise JaxepiError(
                f"Another run (process {holder}) is writing to {workdir}; wait for it, stop it, or choose another "
                "--workdir."
            ) from None
        if jax.process_index() == 0:
            file.truncate(0)
            file.write(f"{os.getpid()} on {platform.node()}")
            file.flush()
        yield


def find_dataset(config: Any) -> Dataset:
    """Opens config.dataset.path; for the embedded sample it is made first if it is not there yet.

    Raises:
      JaxepiError: nothing there: says which command makes it; or what is there is not whole.
    """
    section = config.dataset
    path = Path(section.path)
    if not path.exists():
        if not section.sample:
            raise JaxepiError(
                f"There is no dataset at {path}: make it with `{section.command}`, point --config.dataset.path at one, "
                "or use the config's :sample variant, which needs none."
            )
        if jax.process_index() == 0:
            _make_sample(section.sample, path)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("sample")
    return open_dataset(path)


def _make_sample(name: str, path: Path) -> None:
    """The embedded sample through the very command that users run for their own files."""
    print(f"preparing the embedded sample in {path.parent}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "data_prep", name, "--out", str(path.parent)]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(":")}
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode or not path.exists():
        raise JaxepiError(f"The embedded sample could not be made; the command was `{' '.join(command)}`.")


def expectation(config: Any) -> dict[str, Any] | None:
    """What can be reached on the embedded sample, whose rules are known, for the report; None for other data."""
    path = Path(config.dataset.path).parent / "raw" / "ceiling.json"
    if not config.dataset.sample or not path.is_file():
        return None
    reachable = json.loads(path.read_text())
    # A sample that serves several targets tells each by itself.
    target = config.task.get("target")
    return reachable | {"splits": reachable["splits"].get(target, reachable["splits"])}


def report_checkpoint(config: Any) -> str:
    """Which checkpoint of a run its report is about: "best" or "last".

    Raises:
      JaxepiError: config.report_checkpoint is something else.
    """
    value = config.get("report_checkpoint", "best")
    if value not in ("best", "last"):
        raise JaxepiError(f"config.report_checkpoint is {value!r}, but must be 'best' or 'last'.")
    return value


def in_steps(config: Any, batches_per_epoch: int) -> Any:
    """The config with everything that counts epochs (`config.unit` is "epoch") turned into steps; a copy.

    Raises:
      JaxepiError: an unknown unit.
    """
    unit = config.get("unit", "step")
    if unit not in ("step", "epoch"):
        raise JaxepiError(f"config.unit is {unit!r}, but must be 'step' or 'epoch'.")
    resolved = copy.deepcopy(config)
    if unit == "epoch":
        for section, fields in ((resolved, RUN_FIELDS), (resolved.optimizer, OPTIMIZER_FIELDS)):
            for field in fields:
                if section[field] is not None:
                    section[field] = section[field] * batches_per_epoch
    return resolved


def keep_config(workdir: Path, config: Any, command_line: list[str]) -> str:
    """Writes workdir/config.json (first run only) and returns the config as JSON."""
    text = json.dumps(to_json(config), indent=1, sort_keys=True)
    path = workdir / "config.json"
    if jax.process_index() == 0 and not path.exists():
        partial = path.with_suffix(".json.partial")
        partial.write_text(json.dumps({"config": json.loads(text), "command": command_line}, indent=1) + "\n")
        partial.replace(path)
    return text
