"""Data preparation against reading each window from each BigWig by itself, on the same seeded files.

    python benchmarks/data_prep.py [--tracks 39] [--windows 4000] [--baseline-windows 100] [--processes N]

Makes a synthetic genome and tracks (a 2-bp interval per CpG, values with three digits, 3 % of them -1, 2 % missing),
runs `python -m data_prep melody` on it in a process of its own, and reads some of the same windows one by one in two
ways: `values(...)` as a Python list, stacked and cast (as the original does), and `values(..., numpy=True)`; both fetch
the sequence with pyfaidx and make the one-hot array. Prints one JSON line.

Start-up (loading TensorFlow, starting processes, digests of the input files) is measured by a run with few windows and
taken off: `windows_per_s` is the rate of the windows beyond those. Ratios of CPU time are given too: they hardly depend
on what else the machine does, and do not profit from several processes.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WINDOW = 10_000
CHROMS = {"chr1": 0.85, "chr8": 0.05, "chr9": 0.05, "chr10": 0.05}  # shares of the windows: the paper's splits
CPG_EVERY = 100  # bp; the human genome has one CpG in about 105 bp


def make_files(folder: Path, tracks: int, windows: int, seed: int) -> tuple[Path, list[Path]]:
    """A FASTA file and `tracks` BigWig files of `windows` windows in all."""
    import pyBigWig

    rng = np.random.default_rng(seed)
    lengths = {chrom: max(int(share * windows), 1) * WINDOW for chrom, share in CHROMS.items()}
    cpgs = {}
    with (folder / "genome.fa").open("wb") as file:
        for chrom, length in lengths.items():
            letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), length, p=[0.3, 0.2, 0.2, 0.3])
            # A random genome has too many CpGs: spoil all of them, then set as many as the human genome has.
            at = np.flatnonzero((letters[:-1] == ord("C")) & (letters[1:] == ord("G")))
            letters[at + 1] = ord("A")
            cpgs[chrom] = np.unique(rng.integers(0, length // 3, length // CPG_EVERY)) * 3
            letters[cpgs[chrom]], letters[cpgs[chrom] + 1] = ord("C"), ord("G")
            file.write(f">{chrom}\n".encode() + letters.tobytes() + b"\n")
    paths = []
    for k in range(tracks):
        paths.append(folder / f"track{k:02d}.bw")
        out = pyBigWig.open(str(paths[-1]), "w")
        out.addHeader(sorted(lengths.items()))
        for chrom in sorted(lengths):
            at = cpgs[chrom][rng.random(len(cpgs[chrom])) > 0.02]
            value = np.where(rng.random(len(at)) < 0.03, -1.0, np.round(rng.beta(2, 0.7, len(at)), 3))
            out.addEntries([chrom] * len(at), at.tolist(), ends=(at + 2).tolist(), values=value.tolist())
        out.close()
    return folder / "genome.fa", paths


@dataclass
class Cost:
    """Windows, and the wall and CPU seconds that they took."""

    windows: int
    wall: float
    cpu: float

    def minus(self, start: "Cost") -> "Cost":
        """What lies beyond another, smaller run."""
        return Cost(self.windows - start.windows, self.wall - start.wall, self.cpu - start.cpu)


def one_by_one(fasta: Path, paths: list[Path], windows: int, as_list: bool) -> Cost:
    """The cost of reading each window from each file by itself: one-hot (L, 4) and values (K, L)."""
    import pyBigWig
    import pyfaidx

    genome = pyfaidx.Fasta(str(fasta), as_raw=True)
    files = [pyBigWig.open(str(path)) for path in paths]
    code = np.full(256, 4, np.uint8)
    code[np.frombuffer(b"ACGT", np.uint8)] = range(4)
    rows = np.concatenate([np.eye(4, dtype=np.float32), np.full((1, 4), 0.25, np.float32)])
    wall, cpu = time.perf_counter(), time.process_time()
    for i in range(windows):
        start, end = i * WINDOW, (i + 1) * WINDOW
        hot = rows[code[np.frombuffer(genome["chr1"][start:end].encode(), np.uint8)]]
        if as_list:
            values = np.array([file.values("chr1", start, end) for file in files], np.float32)
        else:
            values = np.stack([file.values("chr1", start, end, numpy=True) for file in files])
        np.nan_to_num(values, copy=False)
        assert hot.shape == (WINDOW, 4) and values.shape == (len(paths), WINDOW)
    return Cost(windows, time.perf_counter() - wall, time.process_time() - cpu)


def watch_memory(pid: int, done: threading.Event, peak: list[int]) -> None:
    """Keeps the largest resident memory of a process and its children, in bytes, in `peak[0]`."""
    import psutil

    root = psutil.Process(pid)
    while not done.wait(0.1):
        total = 0
        try:
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:  # it has just ended
            return
        for process in processes:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak[0] = max(peak[0], total)


def prepare(fasta: Path, paths: list[Path], out: Path, processes: int, *more: str) -> tuple[Cost, int]:
    """Runs the command line: the cost of the whole command, and its peak memory in bytes, children included."""
    words = ["melody", "--fasta", fasta, "--bigwigs", *paths, "--out", out, "--processes", processes, "--no-progress"]
    return run_command([*words, *more], out)


def run_command(words: Sequence[Any], out: Path) -> tuple[Cost, int]:
    """Runs `python -m data_prep <words>`, which makes `out`: its cost, and its peak memory in bytes with children."""
    peak, done = [0], threading.Event()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    run = subprocess.Popen([sys.executable, "-m", "data_prep", *map(str, words)], stdout=subprocess.DEVNULL)
    watcher = threading.Thread(target=watch_memory, args=(run.pid, done, peak))
    watcher.start()
    run.wait()
    wall = time.perf_counter() - started
    done.set()
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise SystemExit(f"data_prep left with status {run.returncode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    manifest = json.loads((out / "manifest.json").read_text())
    return Cost(sum(split["records"] for split in manifest["splits"].values()), wall, cpu), peak[0]


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All runs, on files made in `folder`."""
    fasta, paths = make_files(folder, args.tracks, args.windows, args.seed)
    start, _ = prepare(fasta, paths, folder / "few", args.processes, "--windows", "random:2")
    whole, peak = prepare(fasta, paths, folder / "all", args.processes)
    ours = whole.minus(start)
    result = {
        "windows": whole.windows,
        "dataset_bytes": sum(p.stat().st_size for p in (folder / "all").glob("*.tfrecord-*")),
        "seconds": round(whole.wall, 2),
        "start_seconds": round(start.wall, 2),
        "peak_rss_bytes": peak,
        "windows_per_s": round(ours.windows / ours.wall, 1),
        "windows_per_cpu_s": round(ours.windows / ours.cpu, 1),
    }
    for way in ("list", "numpy"):
        # The first pass warms the file cache.
        theirs = min((one_by_one(fasta, paths, args.baseline_windows, way == "list") for _ in range(2)), key=cpu_of)
        result[f"one_by_one_{way}_windows_per_s"] = round(theirs.windows / theirs.wall, 1)
        result[f"ratio_to_{way}"] = round(ours.windows / ours.wall * theirs.wall / theirs.windows, 1)
        result[f"ratio_to_{way}_in_cpu_time"] = round(ours.windows / ours.cpu * theirs.cpu / theirs.windows, 1)
    return result


def cpu_of(cost: Cost) -> float:
    """CPU seconds of a cost."""
    return cost.cpu


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=39)
    parser.add_argument("--windows", type=int, default=4000, help="windows of 10 kb in all")
    parser.add_argument("--baseline-windows", type=int, default=100, help="windows read one by one, per way")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the files are made; default: a temporary folder")
    args = parser.parse_args()
    machine = {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        measured = measure(Path(name), args)
    settings = {"tracks": args.tracks, "window_bp": WINDOW, "processes": args.processes}
    print(json.dumps({"benchmark": "data_prep", "machine": machine, **settings, **measured}))


def cpu_name() -> str:
    """The model of the CPU, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
