"""A made-up dataset of coverage with conservation, for tests and benchmarks."""

import numpy as np

from jaxepi.system import Manifest, Toy

MODEL = {
    "num_cnn_layer": 1, "embed_size": 16, "num_heads": 2, "num_encoder_layers": 1, "dim_feedforward": 12,
    "crop_size": 2, "max_len": 16, "att_dropout": 0.1, "enc_dropout": 0.1,
}  # fmt: skip


def toy(seed: int = 0, records: int = 8, *, bins: int = 16, tracks: int = 2, bin_width: int = 4) -> Toy:
    """Windows of random letters, some of them conserved; a bin's coverage grows with its G and C that are conserved.

    The model is for the bins that are the defaults, of which it crops two at both ends.
    """
    random = np.random.default_rng(seed)
    manifest = {
        "kind": "coverage", "window": bins * bin_width, "bins": bins, "bin_width": bin_width, "crop": 0,
        "tracks": [f"track_{k}" for k in range(tracks)], "labels": True,
        "conservation": {"file": "toy.phastCons.bw", "missing": 0.0},
    }  # fmt: skip
    return Toy(manifest, [_record(random, manifest, i) for i in range(records)], MODEL, {})


def _record(random: np.random.Generator, manifest: Manifest, number: int) -> dict[str, object]:
    window, bins, width = (manifest[name] for name in ("window", "bins", "bin_width"))
    strong = random.random(window) < np.repeat(random.uniform(0.2, 0.8, bins), width)
    sequence = np.where(strong, random.integers(1, 3, window), 3 * random.integers(0, 2, window)).astype(np.uint8)
    conservation = np.repeat(random.random(bins) < 0.5, width) * random.uniform(0.5, 1.0, window)
    found = (strong * (1 + conservation)).reshape(bins, width).mean(axis=1)
    target = random.poisson(2 * found[:, None] * np.arange(1, 1 + len(manifest["tracks"]))).astype(np.float16)
    start = number * window
    return {
        "key": f"chr1:{start}-{start + window}", "chrom": "chr1", "start": start, "sequence": sequence,
        "target": target, "conservation": conservation.astype(np.float16), "label": (target > 2).astype(np.uint8),
    }  # fmt: skip
