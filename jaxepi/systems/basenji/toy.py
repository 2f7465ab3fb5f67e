"""A made-up dataset of binned coverage, for tests and benchmarks."""

import numpy as np

from jaxepi.system import Manifest, Toy

BIN = 32  # bp

TRUNK = (
    {"name": "conv_block", "filters": 8, "kernel_size": 9, "pool_size": 4},
    {"name": "conv_tower", "filters_init": 8, "filters_mult": 1.0, "kernel_size": 5, "pool_size": 2, "repeat": 3},
    {"name": "dilated_residual", "filters": 4, "rate_mult": 2, "repeat": 2, "dropout": 0.1},
    {"name": "Cropping1D", "cropping": 2},
    {"name": "conv_block", "filters": 12},
)


def toy(
    seed: int = 0, records: int = 8, *, bins: int = 16, tracks: int = 3, bin_width: int = BIN, crop: int = 2 * BIN
) -> Toy:
    """Windows of random letters; a bin's coverage grows with its share of G and C, the last two tracks by strand.

    The model is for the bins and the crop that are the defaults.
    """
    random = np.random.default_rng(seed)
    window = bins * bin_width + 2 * crop
    pair = [*range(tracks - 2), tracks - 1, tracks - 2] if tracks > 2 else [*range(tracks)]
    manifest = {
        "kind": "coverage", "window": window, "bins": bins, "bin_width": bin_width, "crop": crop, "strand_pair": pair,
        "tracks": [f"track_{k}" for k in range(tracks)], "track_descriptions": ["CAGE:toy"] * tracks,
    }  # fmt: skip
    return Toy(manifest, [_record(random, manifest, i) for i in range(records)], {"trunk": TRUNK}, {})


def _record(random: np.random.Generator, manifest: Manifest, number: int) -> dict[str, object]:
    window, bins, width, crop = (manifest[name] for name in ("window", "bins", "bin_width", "crop"))
    strong = random.random(window) < np.repeat(random.uniform(0.2, 0.8, -(-window // width)), width)[:window]
    sequence = np.where(strong, random.integers(1, 3, window), 3 * random.integers(0, 2, window)).astype(np.uint8)
    covered = sequence[crop : window - crop].reshape(bins, width)
    share = np.stack([((covered == 1) | (covered == 2)).mean(1), (covered == 1).mean(1), (covered == 2).mean(1)], 1)
    target = random.poisson(4 * share[:, np.arange(len(manifest["tracks"])) % 3]).astype(np.float16)
    start = number * window
    return {
        "key": f"chr1:{start}-{start + window}", "chrom": "chr1", "start": start, "sequence": sequence,
        "target": target,
    }  # fmt: skip
