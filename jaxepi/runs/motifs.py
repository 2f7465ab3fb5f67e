"""Motifs of a run's first filters, from the sites of its dataset."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxepi import __version__
from jaxepi.analysis.filter_motifs import MotifCollector, convolution, write_motifs
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import weights_digest
from jaxepi.runs.site_run import SiteRun
from jaxepi.storage.atomic import write_json
from jaxepi.storage.job import finished, fresh_folder

MOST_BITS = 2  # that a column of four bases can tell
SUMMARY = "motifs.json"
_FILTER_BATCH = 64  # sites whose activations are held at a time: 33 MB in float64 with 1001 bp and 128 filters


def motifs_run(
    run: SiteRun,
    out: Path,
    *,
    split: str | None = None,
    most_sites: int | None = None,
    trim_bits: float | None = None,
) -> dict[str, Any]:
    """Motifs and logos of the first filters, see `write_motifs`, and `motifs.json`; a finished job is not repeated.

    Returns: the content of `motifs.json`: number of `sites`, the `filters` that have a motif, and the arguments.

    Raises:
      JaxepiError: the model reads no DNA, something else lies at `out`, or `trim_bits` is no number of bits.
    """
    if trim_bits is not None and not 0 <= trim_bits <= MOST_BITS:
        raise JaxepiError(f"--trim-bits is {trim_bits}: a number from 0 to {MOST_BITS} was expected.")
    filters = run.task.first_convolution(run.model)
    if filters is None:
        raise JaxepiError(f"{run.workdir} reads no DNA, so it has no filters to look at.")
    kernel, bias = (np.asarray(array, np.float32) for array in filters)
    activate, collector = convolution(kernel, bias), MotifCollector(kernel.shape[2], kernel.shape[0])
    arguments = {
        "model": weights_digest(run.model),
        "dataset": run.dataset.fingerprint,
        "split": split,
        "most_sites": most_sites,
        "trim_bits": trim_bits,
    }
    places, out = run.sites(split, most_sites), out.absolute()
    if (done := finished(out, SUMMARY, arguments, "set of motifs")) is not None:
        return done
    with fresh_folder(out) as partial:
        for records in run.batches(places, _FILTER_BATCH, "motifs"):
            # Padded to one shape, so that it is compiled once; the padding is cut off before it counts.
            padded = run.task.collate([*records, *[None] * (_FILTER_BATCH - len(records))])["sequence"]
            collector.add(padded[: len(records)], activate(padded)[: len(records)])
        motifs = write_motifs(partial, collector, kernel, trim_bits=trim_bits)
        told = {"arguments": arguments, "jaxepi_version": __version__, "sites": len(places)}
        told["filters"] = [motif.filter for motif in motifs]
        write_json(partial / SUMMARY, told)
    return told
