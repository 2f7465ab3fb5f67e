"""Data preparation against reading each window from each BigWig by itself, on the same seeded files.

    python benchmarks/data_prep.py [--tracks 39] [--windows 4000] [--baseline-windows 100] [--processes N]

Makes a synthetic genome and tracks (a 2-bp interval per CpG, values with three digits, 3 % of them -1, 2 % missing),
runs `python -m data_prep melody` on it in a process of its own, and reads some of the same windows one by one in two
ways: `values(...)` as a Python list, stacked and cast (as the original does), and `values(..., numpy=True)`; both fetch
the sequence with pyfaidx and make the one-hot array. Prints one JSON line.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
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


def one_by_one(fasta: Path, paths: list[Path], windows: int, as_list: bool) -> float:
    """Windows a second when each window is read from each file by itself: one-hot (L, 4) and values (K, L)."""
    import pyBigWig
    import pyfaidx

    genome = pyfaidx.Fasta(str(fasta), as_raw=True)
    files = [pyBigWig.open(str(path)) for path in paths]
    code = np.full(256, 4, np.uint8)
    code[np.frombuffer(b"ACGT", np.uint8)] = range(4)
    rows = np.concatenate([np.eye(4, dtype=np.float32), np.full((1, 4), 0.25, np.float32)])
    started = time.perf_counter()
    for i in range(windows):
        start, end = i * WINDOW, (i + 1) * WINDOW
        hot = rows[code[np.frombuffer(genome["chr1"][start:end].encode(), np.uint8)]]
        if as_list:
            values = np.array([file.values("chr1", start, end) for file in files], np.float32)
        else:
            values = np.stack([file.values("chr1", start, end, numpy=True) for file in files])
        np.nan_to_num(values, copy=False)
        assert hot.shape == (WINDOW, 4) and values.shape == (len(paths), WINDOW)
    return windows / (time.perf_counter() - started)


def watch_memory(pid: int, done: threading.Event, peak: list[int]) -> None:
    """Keeps the largest resident memory of a process and its children, in bytes, in `peak[0]`."""
    import psutil

    root = psutil.Process(pid)
    while not done.wait(0.1):
        total = 0
        for process in [root, *root.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak[0] = max(peak[0], total)


def prepare(fasta: Path, paths: list[Path], out: Path, processes: int) -> dict[str, Any]:
    """Runs the command line: seconds of the whole process and of the build alone, counts, and peak memory."""
    words = ["melody", "--fasta", fasta, "--bigwigs", *paths, "--out", out, "--processes", processes, "--no-progress"]
    peak, done = [0], threading.Event()
    started = time.perf_counter()
    run = subprocess.Popen([sys.executable, "-m", "data_prep", *map(str, words)], stdout=subprocess.PIPE, text=True)
    watcher = threading.Thread(target=watch_memory, args=(run.pid, done, peak))
    watcher.start()
    try:
        printed, _ = run.communicate()
    finally:
        done.set()
        watcher.join()
    seconds = time.perf_counter() - started
    if run.returncode:
        raise SystemExit(f"data_prep left with status {run.returncode}")
    manifest = json.loads((out / "manifest.json").read_text())
    build_seconds = float(printed.splitlines()[-1].split(" windows in ")[1].split(" s")[0])
    return {
        "windows": sum(split["records"] for split in manifest["splits"].values()),
        "seconds": seconds,
        "build_seconds": build_seconds,
        "dataset_bytes": sum(p.stat().st_size for p in out.glob("*.tfrecord-*")),
        "peak_rss_bytes": peak[0],
    }


def best_of(times: int, measure: Callable[[], float]) -> float:
    """The best of several rates: the first one warms the file cache."""
    return max(measure() for _ in range(times))


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
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        fasta, paths = make_files(folder, args.tracks, args.windows, args.seed)
        ours = prepare(fasta, paths, folder / "dataset", args.processes)
        as_list = best_of(2, lambda: one_by_one(fasta, paths, args.baseline_windows, True))
        as_numpy = best_of(2, lambda: one_by_one(fasta, paths, args.baseline_windows, False))
    rate = ours["windows"] / ours["seconds"]
    result = {
        "benchmark": "data_prep",
        "machine": {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "tracks": args.tracks,
        "window_bp": WINDOW,
        "processes": args.processes,
        **{key: round(value, 2) if isinstance(value, float) else value for key, value in ours.items()},
        "windows_per_s": round(rate, 1),
        "windows_per_s_without_start": round(ours["windows"] / ours["build_seconds"], 1),
        "one_by_one_list_windows_per_s": round(as_list, 1),
        "one_by_one_numpy_windows_per_s": round(as_numpy, 1),
        "ratio_to_list": round(rate / as_list, 1),
        "ratio_to_numpy": round(rate / as_numpy, 1),
    }
    print(json.dumps(result))


def cpu_name() -> str:
    """The model of the CPU, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
