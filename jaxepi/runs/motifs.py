"""Motifs of a run's first filters, from the sites of its dataset."""

from pathlib import Path

import numpy as np

from jaxepi.analysis.filter_motifs import Motif, MotifCollector, convolution, write_motifs
from jaxepi.errors import JaxepiError
from jaxepi.runs.site_run import SiteRun
from jaxepi.storage.job import fresh_folder

MOST_BITS = 2  # that a column of four bases can tell
_FILTER_BATCH = 64  # sites whose activations are held at a time: 33 MB in float64 with 1001 bp and 128 filters


def motifs_run(
    run: SiteRun,
    out: Path,
    *,
    split: str | None = None,
    most_sites: int | None = None,
    trim_bits: float | None = None,
) -> list[Motif]:
    """Motifs and logos of the first filters, see `write_motifs`.

    Raises:
      JaxepiError: the model reads no DNA, `out` is there already, or `trim_bits` is no number of bits.
    """
    if trim_bits is not None and not 0 <= trim_bits <= MOST_BITS:
        raise JaxepiError(f"--trim-bits is {trim_bits}: a number from 0 to {MOST_BITS} was expected.")
    filters = run.task.first_convolution(run.model)
    if filters is None:
        raise JaxepiError(f"{run.workdir} reads no DNA, so it has no filters to look at.")
    kernel, bias = (np.asarray(array, np.float32) for array in filters)
    activate, collector = convolution(kernel, bias), MotifCollector(kernel.shape[2], kernel.shape[0])
    with fresh_folder(out) as partial:
        for records in run.batches(run.sites(split, most_sites), _FILTER_BATCH, "motifs"):
            # Padded to one shape, so that it is compiled once; the padding is cut off before it counts.
            padded = run.task.collate([*records, *[None] * (_FILTER_BATCH - len(records))])["sequence"]
            collector.add(padded[: len(records)], activate(padded)[: len(records)])
        return write_motifs(partial, collector, kernel, trim_bits=trim_bits)
