"""A made-up dataset of embeddings, for tests and benchmarks."""

import numpy as np

from jaxepi.system import Toy

TRACKS = ("lamina", "methylation", "motifs")
BINS, CHANNELS, BIN_WIDTH, CROP = 6, 12, 128, 256


def toy(seed: int = 0, records: int = 8, *, head: str = "conv") -> Toy:
    """Windows whose labels are positive sums of a few channels; one in twenty is not known."""
    random = np.random.default_rng(seed)
    mixture = np.abs(random.normal(size=(CHANNELS, len(TRACKS)))).astype(np.float32)
    level = "bin" if head == "linear" else "window"
    manifest = {
        "kind": "embeddings", "tracks": list(TRACKS), "window": BINS * BIN_WIDTH + 2 * CROP, "bins": BINS,
        "bin_width": BIN_WIDTH, "crop": CROP, "channels": CHANNELS, "embedding_dtype": "float16", "resolution": level,
        "embeddings_fingerprint": "toy", "trunk": {"weights": "toy"},
    }  # fmt: skip
    sizes = {"head": head, "hidden": 96, "heads": 3}
    return Toy(manifest, [_record(random, mixture, level, number) for number in range(records)], sizes, {})


def _record(random: np.random.Generator, mixture: np.ndarray, level: str, number: int) -> dict[str, object]:
    embedding = random.normal(size=(BINS, CHANNELS)).astype(np.float16)
    target = np.maximum(embedding.astype(np.float32), 0) @ mixture
    target = target.mean(axis=0, keepdims=True) if level == "window" else target
    target[random.random(target.shape) < 0.05] = np.nan
    start = number * BINS * BIN_WIDTH
    return {
        "key": f"chr1:{start}", "chrom": "chr1", "start": start, "embedding": embedding, "target": target,
    }  # fmt: skip
