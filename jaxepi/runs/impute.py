"""Imputation with a run: every site of its dataset as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxepi.pretrained.table import weights_digest
from jaxepi.runs.site_run import SiteRun
from jaxepi.systems.deepcpg.impute import impute_files, task_predictor
from jaxepi.systems.deepcpg.impute_files import FORMATS


def impute_run(
    run: SiteRun,
    out: Path,
    *,
    split: str | None = None,
    outputs: Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS,
    values: str = "imputed",
    batch_size: int = 512,
) -> dict[str, Any]:
    """Every site and output of a run's dataset as files, see `impute_files`; variance classes are left out."""
    names = [name for name in run.task.tracks if "/cat_var/" not in name] if outputs is None else list(outputs)
    return impute_files(
        task_predictor(run.task, run.model, names),
        run.dataset,
        outputs=names,
        model=weights_digest(run.model),
        out_dir=out,
        splits=None if split is None else [split],
        formats=formats,
        values=values,
        batch_size=batch_size,
    )
