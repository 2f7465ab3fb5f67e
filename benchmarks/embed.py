"""Embeddings a second through `embed`, beside the bare forward pass of the trunk. Prints one JSON line.

    python benchmarks/embed.py --config configs/melody_mt.py --set model.width=64 --batch-size 4

Both take the same windows of a made-up genome: the bare pass gets their base codes, ready in memory, and leaves the
features on the device; embedding reads the FASTA, rounds to --dtype, and writes shards with checksums.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from measure import interleaved, machine, peak_rss_mb, print_json
from workload import add_arguments, make_workload

from jaxepi.analysis.embed import EmbedOptions, GenomeWindows, embed
from jaxepi.console import one_sentence_errors
from jaxepi.genome.fasta import Genome
from jaxepi.predictor import Predictor
from jaxepi.registry import get_system
from jaxepi.sequence import decode


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--windows", type=int, default=256, help="so many are embedded in each repeat")
    parser.add_argument("--dtype", default="float16", help="of the files")
    arguments = parser.parse_args()
    with one_sentence_errors(), tempfile.TemporaryDirectory() as folder:
        workload = make_workload(arguments)
        task, system = workload.task, get_system(workload.config.system)
        predictor = Predictor(task.build_model(nnx.Rngs(0)), system, task, source="made up")
        fasta, bed = write_genome(Path(folder), predictor.window, arguments.windows)
        options = EmbedOptions(arguments.dtype, batch_size=workload.about["batch_size"], progress=False)
        size, genome = predictor.rows(options.batch_size), Genome(fasta)
        starts = range(0, arguments.windows * predictor.window, predictor.window)
        codes = np.stack([genome.codes("chr1", start, start + predictor.window) for start in starts])
        accepted = [task.accept(codes[low : low + size]) for low in range(0, len(codes) // size * size, size)]
        bare = predictor.compiled(lambda model, batch: task.features(model, task.expand(batch)))
        windows, out = GenomeWindows(predictor, genome, bed), Path(folder) / "out"

        def forward() -> None:
            jax.block_until_ready([bare(batch) for batch in accepted])

        def write() -> None:
            shutil.rmtree(out, ignore_errors=True)
            embed(predictor, windows, out, options)

        timings = interleaved({"forward": forward, "embed": write}, arguments.steps)
        counts = {"forward": size * len(accepted), "embed": arguments.windows}
        result = {"benchmark": "embed", **workload.about, "windows": arguments.windows, "dtype": arguments.dtype}
        result |= {name: timing.summary(counts[name]) for name, timing in timings.items()}
        speed = {name: counts[name] / statistics.median(timing.wall) for name, timing in timings.items()}
        result |= {"ratio": round(speed["embed"] / speed["forward"], 3), "peak_rss_mb": peak_rss_mb()}
        written = sum(path.stat().st_size for path in out.glob("*.npy"))
        print_json({**result, "written_mb": round(written / 1e6, 1), "machine": machine(), "jax": jax.__version__})


def write_genome(folder: Path, window: int, count: int) -> tuple[Path, Path]:
    """A random chromosome of `count` windows, and a BED with one line for each."""
    letters = decode(np.random.default_rng(0).integers(0, 4, window * count).astype(np.uint8))
    fasta, bed = folder / "genome.fa", folder / "windows.bed"
    lines = [letters[at : at + 100] for at in range(0, len(letters), 100)]
    fasta.write_text("\n".join([">chr1", *lines, ""]))
    bed.write_text("".join(f"chr1\t{at}\t{at + window}\ttrain\n" for at in range(0, window * count, window)))
    return fasta, bed


if __name__ == "__main__":
    main()
