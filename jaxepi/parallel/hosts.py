"""The processes and devices of a run, what they report, and the cache of what was compiled for them."""

import glob
import hashlib
import os
import platform
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import jax

from jaxepi.errors import JaxepiError


def join_hosts(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the processes of a multi-host run; on clusters that jax knows, all three may be None.

    Raises:
      JaxepiError: the coordinator cannot be reached, or is no HOST:PORT.
    """
    if coordinator is not None:
        _check_address(coordinator)
    if jax.config.jax_platforms == "cpu" or os.environ.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as problem:
        raise JaxepiError(
            f"Cannot join the run at --coordinator={coordinator} as process {process} of {processes}: "
            f"{str(problem).splitlines()[0]}"
        ) from problem


def _check_address(coordinator: str) -> None:
    """jax itself would wait for minutes for a host that does not exist."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or int(port) >= 2**16:
        raise JaxepiError(f"--coordinator is {coordinator!r}, but HOST:PORT was expected, such as 10.0.0.1:1234.")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise JaxepiError(
            f"--coordinator is {coordinator!r}, but there is no such host ({reason}); give the name or address of the "
            "machine of process 0, and its port."
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


def say(text: str) -> None:
    """Prints a line for the user, on the terminal of the first host only."""
    if jax.process_index() == 0:
        print(text, file=sys.stderr, flush=True)
