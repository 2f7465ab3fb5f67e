"""A made-up dataset: windows with stretches rich in G and C; the tracks are GC content and density of CG."""

import numpy as np

from jaxepi.sequence import is_cpg
from jaxepi.system import Toy

WINDOW, BIN = 1_000, 100  # bp


def toy(seed: int = 0, records: int = 8) -> Toy:
    """Each value is a fraction of the letters of a bin; 0 records for the manifest alone."""
    random = np.random.default_rng(seed)
    manifest = {"kind": "windowsum", "tracks": ["gc", "cpg"], "window": WINDOW, "bin": BIN}
    return Toy(manifest, [record(random, number) for number in range(records)], {"width": 8}, {})


def record(random: np.random.Generator, number: int) -> dict:
    """Sequence (L,) uint8 and target (T, K) float32 of one window."""
    strong = random.random(WINDOW) < np.repeat(random.uniform(0.1, 0.9, WINDOW // BIN), BIN)
    codes = np.where(strong, random.integers(1, 3, WINDOW), 3 * random.integers(0, 2, WINDOW)).astype(np.uint8)
    target = np.stack([(codes == 1) | (codes == 2), is_cpg(codes)], 1).reshape(-1, BIN, 2).mean(1, dtype=np.float32)
    place = {"key": f"chr1:{number * WINDOW}", "chrom": "chr1", "start": number * WINDOW}
    return place | {"sequence": codes, "target": target}
