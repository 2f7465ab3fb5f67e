"""A made-up dataset of windows, for tests and benchmarks."""

import numpy as np

from jaxepi.system import Toy

SITES_PER_BP = 0.01  # CpGs of the human genome: about one in 100 bp


def toy(seed: int = 0, records: int = 8, *, window: int = 2_000, tracks: int = 2) -> Toy:
    """Windows of random letters with a CG at each site; methylation follows the density of C and G around a site.

    One value in ten is missing.
    """
    random = np.random.default_rng(seed)
    sites = int(window * SITES_PER_BP)
    # human windows differ in CpG density: batches have room for three times the mean
    manifest = {
        "kind": "melody", "tracks": [f"track_{k}" for k in range(tracks)], "window": window, "max_sites": 3 * sites,
        "max_cpg_letters": 6 * sites,
    }  # fmt: skip
    return Toy(manifest, [_record(random, window, sites, tracks, i) for i in range(records)], {"width": 4}, {})


def _record(random: np.random.Generator, window: int, sites: int, tracks: int, number: int) -> dict[str, object]:
    position = np.sort(random.choice(window // 2, sites, replace=False)) * 2
    rich = np.repeat(random.random(-(-window // 200)) < 0.3, 200)[:window]
    strong = random.random(window) < np.where(rich, 0.7, 0.4)
    sequence = np.where(strong, random.integers(1, 3, window), 3 * random.integers(0, 2, window)).astype(np.uint8)
    sequence[position], sequence[position + 1] = 1, 2
    content = np.convolve((sequence == 1) | (sequence == 2), np.full(200, 1 / 200), "same")[position]
    value = np.clip(1.6 - 1.8 * content[:, None] + random.normal(0, 0.1, (sites, tracks)), 0, 1).astype(np.float32)
    value[random.random((sites, tracks)) < 0.1] = np.nan
    return {
        "key": f"chr1:{number * window}",
        "chrom": "chr1",
        "start": number * window,
        "sequence": sequence,
        "position": position,
        "width": np.full(sites, 2, np.uint8),
        "value": value,
    }
