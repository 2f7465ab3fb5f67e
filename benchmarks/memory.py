"""Peak memory of data preparation and of prediction, over once, twice and four times the input. Prints one JSON line.

    python -m benchmarks.memory [--jobs prep_melody predict_regions ...] [--times 1 2 4] [--share 1.0] [--folder DIR]

Each job is a command as a user runs it, in a process of its own with one worker, on seeded synthetic files:

prep_melody            windows of 10 kb with four tracks
prep_deepcpg           CpG sites of eight cells, with sequence and neighbours
prep_chromoformer      genes with four marks and their contacts
predict_regions        a BED of regions of one genome, through a small Melody
predict_sites          the CpGs of a BED's regions, through a small DeepCpG DNA network
predict_records        the records of a FASTA file, through the same Melody

`peak_mb` is the largest resident memory of the process (`ru_maxrss` of `os.wait4`), `ratio` that of the largest input
to that of the smallest. Python, jax and TensorFlow alone take several hundred MB, so `growth_mb` beside it tells what
an input larger by `input_mb` adds: memory is flat where that stays small.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, print_json, run_program, work_folder

# What an input of size 1 holds: enough for buffers of fixed size to be full.
WINDOWS, SITES, CELLS, GENES, REGIONS, SITE_REGIONS, RECORDS = 6_000, 40_000, 8, 320, 400, 30, 400
TRACKS, WINDOW, REGION = 4, 10_000, 2_000
GENOME = 2_000_000  # bp of the genome that regions lie in

LAUNCH = Path(__file__).parents[1] / "launch.py"

Words = list[Any]


def prep_melody(folder: Path, size: float) -> Words:
    """Files of so many windows, and the command."""
    from benchmarks.data_prep import make_files

    fasta, bigwigs = make_files(folder, TRACKS, int(size * WINDOWS), 0)
    return ["-m", "data_prep", "melody", "--fasta", fasta, "--bigwigs", *bigwigs]


def prep_deepcpg(folder: Path, size: float) -> Words:
    """Profiles of so many sites, and the command."""
    from benchmarks.deepcpg_data_prep import NEIGHBOURS, make_files
    from benchmarks.deepcpg_data_prep import WINDOW as window

    fasta, profiles, _ = make_files(folder, CELLS, int(size * SITES), 0)
    sizes = ["--dna-wlen", window, "--cpg-wlen", NEIGHBOURS]
    return ["-m", "data_prep", "deepcpg", "--profiles", *profiles, "--fasta", fasta, *sizes]


def prep_chromoformer(folder: Path, size: float) -> Words:
    """Annotation, expression, contacts and depth of so many genes, and the command."""
    from data_prep.chromoformer.sample import arguments, write_raw

    write_raw(folder, 0, int(size * GENES))
    return ["-m", "data_prep", "chromoformer", *arguments(folder)]


def predict_regions(folder: Path, size: float) -> Words:
    """A genome, so many regions of it, and the command."""
    return predict(folder, _melody(folder), _genome(folder), _bed(folder, int(size * REGIONS)))


def predict_sites(folder: Path, size: float) -> Words:
    """The same for a model of single sites."""
    return predict(folder, _deepcpg(folder), _genome(folder), _bed(folder, int(size * SITE_REGIONS)))


def predict_records(folder: Path, size: float) -> Words:
    """So many sequences, and the command."""
    return predict(folder, _melody(folder), _genome(folder, int(size * RECORDS), WINDOW))


def predict(folder: Path, weights: Path, fasta: Path, regions: Path | None = None) -> Words:
    """The command that predicts regions, or the records of a FASTA file."""
    chosen = [] if regions is None else ["--regions", regions]
    return [LAUNCH, "predict", "--weights", weights, "--fasta", fasta, *chosen]


def _genome(folder: Path, records: int = 1, length: int = GENOME) -> Path:
    """A FASTA file of random letters."""
    import numpy as np

    random, letters = np.random.default_rng(0), np.frombuffer(b"ACGT", np.uint8)
    with (folder / "genome.fa").open("wb") as file:
        for number in range(records):
            file.write(f">chr{number + 1}\n".encode() + letters[random.integers(0, 4, length)].tobytes() + b"\n")
    return folder / "genome.fa"


def _bed(folder: Path, regions: int) -> Path:
    """Regions at random places of the genome, in order."""
    import numpy as np

    starts = np.sort(np.random.default_rng(1).integers(0, GENOME - REGION, regions)).tolist()
    (folder / "regions.bed").write_text("".join(f"chr1\t{start}\t{start + REGION}\n" for start in starts))
    return folder / "regions.bed"


def _melody(folder: Path) -> Path:
    """Released-style weights of a narrow model."""
    from jaxepi.systems.melody import Melody, MelodyConfig

    return _exported(folder, Melody, MelodyConfig(width=8, tracks=2))


def _deepcpg(folder: Path) -> Path:
    from jaxepi.systems.deepcpg import DeepCpG, DeepCpGConfig

    return _exported(folder, DeepCpG, DeepCpGConfig(network="CnnL1h128", hidden=4, outputs=("cpg/a", "cpg/b")))


def _exported(folder: Path, model: Any, config: Any) -> Path:
    from flax import nnx

    import jaxepi

    jaxepi.export(model(config, rngs=nnx.Rngs(0)), folder / "weights.npz")
    return folder / "weights.npz"


JOBS: dict[str, Callable[[Path, float], Words]] = {
    job.__name__: job
    for job in (prep_melody, prep_deepcpg, prep_chromoformer, predict_regions, predict_sites, predict_records)
}


def make(job: str, folder: Path, size: float) -> None:
    """Makes the files of a job in `folder`, and `command.txt` with the words of its command, one a line."""
    words = [*JOBS[job](folder, size), "--out", folder / "out"]
    words += ["--processes", 1, "--no-progress"] if job.startswith("prep") else []
    (folder / "command.txt").write_text("\n".join(map(str, words)))


def peak(job: str, folder: Path, size: float) -> tuple[float, float]:
    """MB of the largest resident memory of a job's command, and of the files that it reads."""
    folder.mkdir(parents=True)
    # A process counts what its parent held when it was started: this one stays small, and another makes the files.
    maker = multiprocessing.get_context("spawn").Process(target=make, args=(job, folder, size))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise SystemExit(f"the files of {job} could not be made")
    words = (folder / "command.txt").read_text().splitlines()
    read = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    with (folder / "told.txt").open("w") as told:
        actions = [(os.POSIX_SPAWN_DUP2, told.fileno(), 1), (os.POSIX_SPAWN_DUP2, told.fileno(), 2)]
        command = [sys.executable, *words]
        # With programs compiled before, the runs after the first one would need less.
        environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
        child = os.posix_spawn(sys.executable, command, environment, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'told.txt').read_text()[-2000:]}")
    return usage.ru_maxrss / 1024, read / 1e6


def measure(jobs: Sequence[str], times: Sequence[float], share: float, folder: Path) -> dict[str, Any]:
    """Peaks of every job at every size."""
    found = {}
    for job in jobs:
        made = [peak(job, folder / job / f"{size:g}", share * size) for size in times]
        peaks, inputs = ([round(pair[part], 1) for pair in made] for part in (0, 1))
        found[job] = {
            "peak_mb": peaks,
            "ratio": round(peaks[-1] / peaks[0], 3),
            "growth_mb": round(peaks[-1] - peaks[0], 1),
            "input_mb": inputs,
        }
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS), help="which ones; default: all")
    parser.add_argument("--times", nargs="+", type=float, default=[1, 2, 4], help="sizes of the input, ascending")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual input, for a quick look")
    parser.add_argument("--folder", type=Path, help="where files are made and kept; default: a temporary folder")
    arguments = parser.parse_args()
    with work_folder(arguments.folder) as folder:
        found = measure(arguments.jobs, arguments.times, arguments.share, folder)
    print_json(
        {"benchmark": "memory", "times": arguments.times, "share": arguments.share, **found, "machine": machine()}
    )


if __name__ == "__main__":
    run_program(main)
