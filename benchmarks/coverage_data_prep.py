"""Coverage data preparation against reading each window from each BigWig by itself, on yeast and on synthetic tracks.

    python benchmarks/coverage_data_prep.py [--only yeast|tracks] [--tracks 50] [--megabases 10] [--processes N]

Yeast: the whole genome with its ATAC-seq coverage, windows of 16,384 bp with 96 bins of 128 bp, one held-out chromosome
for each of validation and test. Tracks: a synthetic genome with dense tracks (a value every 16 bp), windows of 131,072
bp with 896 bins, laid at every half window. Each is `python -m data_prep coverage` in a process of its own, once into
the TFDS layout and once into the original's folder.

The naive way reads every window from every file by itself, bins it, and fetches its sequence with pyfaidx; it runs in
one process and writes nothing. `list` takes `values(...)` as a Python list, `numpy` as an array, and `original` does
with that array what the original does: float16, its median, scale, sum, soft clip and clip.

Start-up (loading TensorFlow, digests of the input files) is measured by a run with one window a split and taken off:
`windows_per_s` is the rate of the windows beyond those, `windows_per_s_whole_command` has everything in it. Ratios are
of CPU time, which hardly depends on what else the machine does, and does not profit from several processes. Prints one
JSON line.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_prep import Cost, cpu_name, run_command

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"
BIN, STEP = 128, 16  # bp
HEADER = "index\tidentifier\tfile\tclip\tclip_soft\tscale\tsum_stat\tdescription\n"


def make_tracks(folder: Path, tracks: int, megabases: float, seed: int) -> list[Path]:
    """genome.fa, a BigWig a track, and targets.txt; returns the BigWigs."""
    import pyBigWig

    rng = np.random.default_rng(seed)
    shares = {"chr1": 0.5, "chr2": 0.3, "chr3": 0.1, "chr4": 0.1}
    lengths = {chrom: int(megabases * 1e6 * share) // STEP * STEP for chrom, share in shares.items()}
    with (folder / "genome.fa").open("wb") as file:
        for chrom, length in lengths.items():
            letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), length, p=[0.3, 0.2, 0.2, 0.3])
            file.write(f">{chrom}\n".encode() + letters.tobytes() + b"\n")
    paths = []
    for number in range(tracks):
        paths.append(folder / f"track{number:02d}.bw")
        out = pyBigWig.open(str(paths[-1]), "w")
        out.addHeader(list(lengths.items()))
        for chrom, length in lengths.items():
            values = rng.gamma(0.5, 4, length // STEP).round(1)
            out.addEntries(chrom, 0, values=values.tolist(), span=STEP, step=STEP)
        out.close()
    rows = "".join(f"{i}\tt{i}\t{path.name}\t384\t32\t1\tmean\tDNASE:{i}\n" for i, path in enumerate(paths))
    (folder / "targets.txt").write_text(HEADER + rows)
    return paths


def binned(values: np.ndarray, way: str) -> np.ndarray:
    """Bins of one window from its values."""
    if way != "original":
        return np.nan_to_num(values).reshape(-1, BIN).mean(axis=1)
    values = values.astype(np.float16)
    baseline = np.nan_to_num(np.percentile(values, 50))
    values[np.isnan(values)] = baseline
    bins = (1.0 * values).reshape(-1, BIN).mean(axis=1, dtype=np.float32)
    high = bins > 32
    bins[high] = 31 + np.sqrt(bins[high] - 31)
    return np.clip(bins, -384, 384)


def one_by_one(
    fasta: Path, paths: Sequence[Path], places: Sequence[tuple[str, int]], window: int, crop: int, way: str
) -> Cost:
    """The cost of reading each window (chromosome, start of its bins) from each file by itself."""
    import pyBigWig
    import pyfaidx

    genome = pyfaidx.Fasta(str(fasta), as_raw=True)
    files = [pyBigWig.open(str(path)) for path in paths]
    length = window - 2 * crop
    wall, cpu = time.perf_counter(), time.process_time()
    for chrom, start in places:
        letters = genome[chrom][max(start - crop, 0) : start + length + crop]
        read = [
            np.array(file.values(chrom, start, start + length), np.float32)
            if way == "list"
            else file.values(chrom, start, start + length, numpy=True)
            for file in files
        ]
        targets = np.stack([binned(values, way) for values in read], axis=1).astype(np.float16)
        assert len(letters) <= window and targets.shape == (length // BIN, len(paths))
    return Cost(len(places), time.perf_counter() - wall, time.process_time() - cpu)


def compare(
    folder: Path, fasta: Path, paths: Sequence[Path], window: int, crop: int, args: argparse.Namespace, *more: str
) -> dict[str, Any]:
    """Both layouts by the command line, and some of the same windows one by one."""
    words = ["coverage", "--fasta", fasta, "--targets", folder / "targets.txt", "--window", window, "--crop", crop]
    words += ["--bin-width", BIN, "--processes", args.processes, "--no-progress"]
    runs = {layout: run_layout(words, folder, layout, more) for layout in ("original", "tfds")}
    lines = (folder / "original" / "sequences.bed").read_text().splitlines()[: args.baseline_windows]
    places = [(line.split("\t")[0], int(line.split("\t")[1])) for line in lines]
    result: dict[str, Any] = {"tracks": len(paths), "window_bp": window, "bins": (window - 2 * crop) // BIN}
    for way in ("list", "numpy", "original"):
        # The first pass warms the file cache.
        naive = min((one_by_one(fasta, paths, places, window, crop, way) for _ in range(2)), key=lambda cost: cost.cpu)
        result[f"one_by_one_{way}_windows_per_s"] = round(naive.windows / naive.wall, 1)
        for ours, told in runs.values():
            told[f"ratio_to_{way}_in_cpu_time"] = round(ours.windows / ours.cpu * naive.cpu / naive.windows, 2)
    return result | {layout: told for layout, (_, told) in runs.items()}


def run_layout(words: Sequence[Any], folder: Path, layout: str, more: Sequence[str]) -> tuple[Cost, dict[str, Any]]:
    """The cost of a layout beyond start-up, and what is told of it."""
    out, few = folder / layout, folder / f"few_{layout}"
    whole, peak = run_command([*words, *more, "--layout", layout, "--out", out], out)
    rows = {line.split("\t")[3]: line for line in (folder / "original" / "sequences.bed").read_text().splitlines()}
    (folder / "few.bed").write_text("\n".join(rows.values()) + "\n")
    start, _ = run_command([*words, "--sequences", folder / "few.bed", "--layout", layout, "--out", few], few)
    ours = whole.minus(start)
    return ours, {
        "windows": whole.windows,
        "seconds": round(whole.wall, 2),
        "start_seconds": round(start.wall, 2),
        "peak_rss_bytes": peak,
        "bytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        "windows_per_s": round(ours.windows / ours.wall, 1),
        "windows_per_cpu_s": round(ours.windows / ours.cpu, 1),
        "windows_per_s_whole_command": round(whole.windows / whole.wall, 1),
    }


def yeast(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The whole yeast genome."""
    for path in (args.data / "sacCer3").glob("*"):
        if path.name.startswith(("sacCer3.fa.gz", "ATAC")):
            shutil.copyfile(path, folder / path.name)
    tracks = sorted(folder.glob("*.bw"))
    if not tracks:
        raise SystemExit(f"{args.data / 'sacCer3'} has no BigWig: name the folder of the real data with --data")
    (folder / "targets.txt").write_text(HEADER + f"0\tATAC\t{tracks[0].name}\t384\t32\t1\tmean\tATAC:yeast\n")
    words = ["--test", "chrIV", "--valid", "chrXII"]
    return compare(folder, folder / "sacCer3.fa.gz", tracks, 16_384, 2_048, args, *words)


def synthetic(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Many dense tracks."""
    paths = make_tracks(folder, args.tracks, args.megabases, args.seed)
    words = ["--test", "chr3", "--valid", "chr4", "--stride-train", "0.5", "--stride-test", "0.5"]
    return compare(folder, folder / "genome.fa", paths, 131_072, 8_192, args, *words)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("yeast", "tracks"), help="one of the two (default: both)")
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--megabases", type=float, default=10.0, help="size of the synthetic genome")
    parser.add_argument("--baseline-windows", type=int, default=30, help="windows read one by one")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=REAL, help="folder of the real data sets")
    parser.add_argument("--folder", help="where the files are made; default: a temporary folder")
    args = parser.parse_args()
    machine = {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    result: dict[str, Any] = {"benchmark": "coverage_data_prep", "machine": machine, "processes": args.processes}
    for name, run in (("yeast", yeast), ("tracks", synthetic)):
        if args.only in (None, name):
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                result[name] = run(Path(folder), args)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
