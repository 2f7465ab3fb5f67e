"""A made-up dataset of genes, for tests and benchmarks."""

import numpy as np

from jaxepi.system import Toy

MARKS = ("H3K4me3", "H3K27ac")
RESOLUTION = 100  # bp
WIDTH = 2000  # bp of promoters and of the longest contact


def toy(seed: int = 0, records: int = 8) -> Toy:
    """Genes with one to three contacts, the first of which tells their expression."""
    random = np.random.default_rng(seed)
    manifest = {
        "kind": "chromoformer", "marks": list(MARKS), "resolution": RESOLUTION, "window": WIDTH,
        "promoter_length": WIDTH, "tracks": ["expression"], "max_pcres": 3,
    }  # fmt: skip
    sizes = {
        "bin_sizes": (500, 100), "width": 8, "head_width": 8, "embedding_hidden": 8, "pairwise_layers": 1,
        "pairwise_hidden": 8, "regulation_layers": 1, "regulation_inner": 8, "regulation_heads": 2,
        "regulation_hidden": 8,
    }  # fmt: skip
    widths = {"promoter_width": WIDTH, "region_width": WIDTH, "max_pcres": 3}
    return Toy(manifest, [gene(random, number) for number in range(records)], sizes, widths)


def gene(random: np.random.Generator, number: int) -> dict[str, object]:
    """One record; expression is high for every other gene."""
    contacts, level = 1 + number % 3, number % 2
    lengths = random.integers(300, WIDTH, contacts).astype(np.int32)
    marks = len(MARKS)
    sums = random.integers(0, 50, (int((-(-lengths // RESOLUTION)).sum()), marks)).astype(np.float32)
    sums[: -(-lengths[0] // RESOLUTION)] += 2000 * level
    return {
        "key": f"gene{number}", "chrom": f"chr{number % 4}", "start": 10_000 + number,
        "minus": np.uint8(number // 2 % 2), "fold": 1 + number % 4,
        "expression": np.float32(8 * level + random.random()), "label": level,
        "promoter_sum": random.integers(0, 50, (WIDTH // RESOLUTION, marks)).astype(np.float32),
        "promoter_span": np.array([0, WIDTH], np.int32), "pcre_length": lengths, "pcre_sum": sums,
        "score": np.linspace(2, 1.5, contacts, dtype=np.float32),
        "neighbors": ";".join(f"chr1:{100 * i}-{100 * i + length}" for i, length in enumerate(lengths)),
    }  # fmt: skip
