"""What every benchmark needs: fair timing of several programs, peaks of speed and memory, one JSON line.

Imports jax only where a measurement concerns it, so that benchmarks of data preparation stay free of it.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Dense peak of one device in FLOP/s from the manufacturers' data sheets: (part of device_kind, float32 as convolutions
# compute it by default, bfloat16). NVIDIA convolutions of float32 run as TF32; TPUs multiply in bfloat16.
_PEAKS = (
    ("H200", 494.7e12, 989.4e12),
    ("H100", 494.7e12, 989.4e12),
    ("A100", 156e12, 312e12),
    ("TPU v4", 275e12, 275e12),
    ("TPU v5 lite", 197e12, 197e12),
    ("TPU v5e", 197e12, 197e12),
    ("TPU v5", 459e12, 459e12),
    ("TPU v6", 918e12, 918e12),
)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each repeat of one program: on the clock, and of CPU time over all threads of this process."""

    wall: list[float]
    cpu: list[float]

    def summary(self, samples: int) -> dict[str, float]:
        """Throughput from the median and from the fastest repeat, and CPU seconds a sample."""
        median, best = statistics.median(self.wall), min(self.wall)
        return {
            "samples_per_s": _digits(samples / median),
            "samples_per_s_best": _digits(samples / best),
            "seconds_median": _digits(median),
            "seconds_best": _digits(best),
            "cpu_seconds_per_sample": _digits(statistics.median(self.cpu) / samples),
        }


def interleaved(
    programs: Mapping[str, Callable[[], None]], repeats: int, warmup: int = 1, settle: int = 0
) -> dict[str, Timing]:
    """Runs the programs in turn, so that whatever else the machine does meets all of them alike.

    A program returns when its work is done (`jax.block_until_ready`, `torch.cuda.synchronize`). Each turn begins with
    `settle` calls that do not count, for programs that use so much memory that the system has to clear for one what
    another has just given back, which a program by itself never sees.
    """
    timings = {name: Timing([], []) for name in programs}
    for repeat in range(warmup + repeats):
        for name, program in programs.items():
            for _ in range(settle if repeat >= warmup else 0):
                program()
            wall, cpu = time.perf_counter(), time.process_time()
            program()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if repeat >= warmup:
                timings[name].wall.append(wall)
                timings[name].cpu.append(cpu)
    return timings


def ratios(ours: Timing, theirs: Timing) -> dict[str, float]:
    """How many times faster `ours` is: by median time, by fastest repeat, by CPU time."""
    return {
        "ratio": _digits(statistics.median(theirs.wall) / statistics.median(ours.wall)),
        "ratio_best": _digits(min(theirs.wall) / min(ours.wall)),
        "ratio_cpu_time": _digits(statistics.median(theirs.cpu) / statistics.median(ours.cpu)),
    }


def machine() -> dict[str, Any]:
    """Where and when; the load average tells whether the machine was shared."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "load_average_1min": round(os.getloadavg()[0], 1),
        "date": datetime.date.today().isoformat(),
    }


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far; the system counts bytes on macOS and KiB elsewhere."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3 / 1.024), 1)


def share_of_peak(flops: float | None, timing: Timing, dtype: str) -> dict[str, Any]:
    """FLOP/s of a program on the first jax device, and the share of what the device can reach.

    On a GPU or TPU the peak is the data sheet's; on a CPU it is that of a float32 matrix product timed here, and both
    are per second of CPU time, which other programs on the machine disturb least. Unknown devices get no share.
    """
    import jax

    device = jax.devices()[0]
    if not flops:
        return {}
    speed = flops / statistics.median(timing.wall)
    result: dict[str, Any] = {"flop_per_s": _digits(speed)}
    if device.platform == "cpu":
        peak = _matmul_flops_per_cpu_second()
        share = flops / statistics.median(timing.cpu) / peak
        return result | {"share_of_peak": round(share, 3), "peak": f"{peak:.3g} a core, matrix product of 2048"}
    for part, float32, bfloat16 in _PEAKS:
        if part in device.device_kind:
            peak = bfloat16 if dtype == "bfloat16" else float32
            return result | {
                "share_of_peak": round(speed / peak, 3),
                "peak": f"{peak:.4g}, data sheet, {part}, {dtype}",
            }
    return result


def compiled_memory_mb(compiled: Any) -> dict[str, float]:
    """What a compiled jax program needs on each device: its arguments, outputs, temporaries and all together."""
    analysis = compiled.memory_analysis()
    arguments, outputs = analysis.argument_size_in_bytes, analysis.output_size_in_bytes
    peak = arguments + outputs - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes
    return {
        "arguments_mb": round(arguments / 1e6, 1),
        "outputs_mb": round(outputs / 1e6, 1),
        "temporary_mb": round(analysis.temp_size_in_bytes / 1e6, 1),
        "total_mb": round(peak / 1e6, 1),
    }


def device_peak_mb() -> float | None:
    """Largest memory in use on the first jax device so far; None where the platform does not count it."""
    import jax

    stats = jax.devices()[0].memory_stats()
    return round(stats["peak_bytes_in_use"] / 1e6, 1) if stats and "peak_bytes_in_use" in stats else None


def print_json(result: Mapping[str, Any]) -> None:
    """One JSON line on stdout."""
    print(json.dumps(result), flush=True)


def _matmul_flops_per_cpu_second(size: int = 2048, repeats: int = 7) -> float:
    import jax
    import jax.numpy as jnp

    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    timing = interleaved({"matmul": lambda: jax.block_until_ready(product(a, a))}, repeats)["matmul"]
    return 2 * size**3 / statistics.median(timing.cpu)


def _digits(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@contextlib.contextmanager
def work_folder(chosen: Path | None) -> Iterator[Path]:
    """A folder for datasets and runs: the chosen one, made if needed and kept, or else a temporary one."""
    with tempfile.TemporaryDirectory() as temporary:
        work = (chosen or Path(temporary)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        yield work


def run_program(main: Callable[[], None]) -> None:
    """Runs a program that calls commands; what goes wrong in one of them is one line, below what it said itself."""
    from jaxepi.errors import JaxepiError

    try:
        main()
    except (JaxepiError, subprocess.CalledProcessError) as problem:
        raise SystemExit(f"error: {problem}") from None
