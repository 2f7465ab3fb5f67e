"""Gene records of the Chromoformer task made from region arrays, as data_prep makes them."""

import csv
from pathlib import Path

import numpy as np

from jaxepi.systems.chromoformer.task import ChromoformerTask

MARKS = ["H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3", "H3K27ac", "H3K9ac"]
DEMO = Path(__file__).parents[3] / "shared" / "data" / "chromoformer"


def make_task(model, task=(), *, marks=MARKS, resolution=100, promoter_length=40_000):
    manifest = {"marks": list(marks), "resolution": resolution, "promoter_length": promoter_length}
    return ChromoformerTask(dict(model), dict(task), manifest)


def stretches(depth, resolution):
    """Depth (M, L) to sums (ceil(L / resolution), M) from the left end."""
    depth = np.pad(depth.astype(np.float64), [(0, 0), (0, -depth.shape[1] % resolution)])
    return depth.reshape(len(depth), -1, resolution).sum(axis=-1).T.astype(np.float32)


def record(row, regions, resolution=100):
    """A line of the metadata table and the regions by name (arrays (M, L)) to a record."""
    tss = int(row["start"])
    names = row["neighbors"].split(";") if row["neighbors"] else []
    sums = [stretches(np.asarray(regions[name]), resolution) for name in names]
    promoter = stretches(np.asarray(regions[f"{row['chrom']}:{tss - 20_000}-{tss + 20_000}"]), resolution)
    return {
        "key": row["gene_id"],
        "chrom": row["chrom"],
        "start": tss,
        "minus": int(row["strand"] == "-"),
        "fold": int(row["split"]),
        "expression": float(row["expression"]),
        "label": int(row["label"]),
        "promoter_sum": promoter,
        "promoter_span": np.array([0, 40_000], np.int32),
        "pcre_length": np.array([np.shape(regions[name])[1] for name in names], np.int32),
        "pcre_sum": np.concatenate(sums) if sums else np.zeros((0, promoter.shape[1]), np.float32),
        "score": np.array(row["scores"].split(";") if names else [], np.float32),
        "neighbors": row["neighbors"],
    }


def demo_records(genes=None):
    """Records of the demo genes in the order of `genes` (default: of the table); None if the demo data are not here."""
    if not (DEMO / "demo_regions.npz").exists():
        return None
    with (DEMO / "demo_meta.csv").open() as file:
        rows = {row["gene_id"]: row for row in csv.DictReader(file)}
    with np.load(DEMO / "demo_regions.npz") as regions:
        return [record(rows[gene], regions) for gene in genes or rows]
