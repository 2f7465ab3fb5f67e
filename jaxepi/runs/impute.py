"""Imputation with a run: every site of its dataset as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxepi.registry import capability, system_of_model
from jaxepi.runs.site_run import SiteRun


def impute_run(
    run: SiteRun, out: Path, *, split: str | None = None, outputs: Sequence[str] | None = None, **options: Any
) -> dict[str, Any]:
    """Every site and output of a run's dataset as files, by the system's own "impute".

    Args:
      run: of a system that can impute.
      out: a folder that does not exist yet.
      split: one split; None for all.
      outputs: names of the outputs; None for all that have one value.
      **options: such as `formats`, `values` and `batch_size`, see the system's function.

    Returns: what the system tells of the job: `sites`, and the arguments with their `outputs`.

    Raises:
      JaxepiError: the system cannot impute, or what its function refuses.
    """
    impute = capability(system_of_model(run.model), "impute")
    splits = None if split is None else [split]
    return impute(run.task, run.model, run.dataset, out, splits=splits, outputs=outputs, **options)
