"""Data preparation of DeepCpG: sites/s of the whole command on seeded synthetic cells.

    python -m benchmarks.deepcpg_data_prep [--sites 200000] [--cells 18] [--processes N]

Makes a synthetic genome (a CpG every 100 bp on average) and binary TSV profiles of cells, each of which was observed at
a fifth of the CpGs, and runs `python -m data_prep deepcpg` on them in a process of its own: window 1001, 50 neighbours,
four statistics over cells. Prints one JSON line.

`sites_per_s` counts the sites beyond those of a run with few sites (the same profiles are read in it), so neither
loading TensorFlow nor parsing the profiles is in it; `sites_per_s_whole_command` has everything. `profile_lines_per_s`
is the rate of parsing in one process.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_prep import Cost, cpu_name, run_command

CHROMS = {"1": 0.8, "13": 0.1, "2": 0.1}  # shares of the sites: one chromosome a split of the paper
CPG_EVERY = 100  # bp; the human genome has one CpG in about 105 bp
OBSERVED = 0.2  # share of the CpGs that a cell was observed at
WINDOW, NEIGHBOURS = 1001, 50


def make_files(folder: Path, cells: int, sites: int, seed: int) -> tuple[Path, list[Path], int]:
    """A FASTA file, a profile a cell, and the number of lines of all profiles."""
    rng = np.random.default_rng(seed)
    paths = [folder / f"cell{number:02d}.tsv" for number in range(cells)]
    files = [path.open("w") for path in paths]
    lines = 0
    with (folder / "genome.fa").open("wb") as fasta:
        for chrom, share in CHROMS.items():
            length = int(sites * share) * CPG_EVERY
            letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), length, p=[0.3, 0.2, 0.2, 0.3])
            # A random genome has too many CpGs: spoil all of them, then set as many as the human genome has.
            at = np.flatnonzero((letters[:-1] == ord("C")) & (letters[1:] == ord("G")))
            letters[at + 1] = ord("A")
            cpg = np.unique(rng.integers(0, length // 3, length // CPG_EVERY)) * 3
            letters[cpg], letters[cpg + 1] = ord("C"), ord("G")
            fasta.write(f">{chrom}\n".encode() + letters.tobytes() + b"\n")
            for file in files:
                own = cpg[rng.random(len(cpg)) < OBSERVED] + 1
                states = rng.integers(0, 2, len(own))
                file.writelines(f"{chrom}\t{p}\t{v}.0\n" for p, v in zip(own.tolist(), states.tolist(), strict=True))
                lines += len(own)
    for file in files:
        file.close()
    return folder / "genome.fa", paths, lines


def prepare(fasta: Path, profiles: list[Path], out: Path, processes: int, *more: str) -> tuple[Cost, int]:
    """Runs the command line: its cost, and its peak memory in bytes, children included."""
    words = ["deepcpg", "--profiles", *profiles, "--fasta", fasta, "--dna-wlen", WINDOW, "--cpg-wlen", NEIGHBOURS]
    words += ["--cpg-stats", "mean", "var", "entropy", "diff", "--out", out, "--processes", processes, "--no-progress"]
    return run_command([*words, *more], out)


def parsing_rate(profile: Path) -> float:
    """Lines/s of reading a profile."""
    from data_prep.deepcpg.profiles import read_profile

    started = time.perf_counter()
    lines = sum(map(len, read_profile(profile).positions.values()))
    return lines / (time.perf_counter() - started)


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All runs, on files made in `folder`."""
    fasta, profiles, lines = make_files(folder, args.cells, args.sites, args.seed)
    start, _ = prepare(fasta, profiles, folder / "few", args.processes, "--sites-per-chrom", "50")
    whole, peak = prepare(fasta, profiles, folder / "all", args.processes)
    ours = whole.minus(start)
    return {
        "sites": whole.windows,
        "profile_lines": lines,
        "dataset_bytes": sum(p.stat().st_size for p in (folder / "all").glob("*.tfrecord-*")),
        "seconds": round(whole.wall, 2),
        "start_seconds": round(start.wall, 2),
        "peak_rss_bytes": peak,
        "sites_per_s": round(ours.windows / ours.wall, 1),
        "sites_per_cpu_s": round(ours.windows / ours.cpu, 1),
        "sites_per_s_whole_command": round(whole.windows / whole.wall, 1),
        "profile_lines_per_s": round(max(parsing_rate(path) for path in profiles[:3]), 1),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=200_000, help="CpGs of the genome")
    parser.add_argument("--cells", type=int, default=18)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the files are made; default: a temporary folder")
    args = parser.parse_args()
    machine = {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        measured = measure(Path(name), args)
    settings = {"cells": args.cells, "window_bp": WINDOW, "neighbours": NEIGHBOURS, "processes": args.processes}
    print(json.dumps({"benchmark": "deepcpg_data_prep", "machine": machine, **settings, **measured}))


if __name__ == "__main__":
    main()
