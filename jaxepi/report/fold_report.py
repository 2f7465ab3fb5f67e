"""The report of a cross-validation: one self-contained HTML file with links to the reports of the folds."""

from pathlib import Path
from typing import Any

from jaxepi.report import fold_plots
from jaxepi.report.fold_summary import FoldSummary, shown, spread
from jaxepi.report.page import FOLDS_PAGE
from jaxepi.report.pictures import environment, figure_block, make_pictures, write_pictures
from jaxepi.report.words import FOLD_FIGURES, describe_metrics, words_of
from jaxepi.storage.atomic import write_text


def write_fold_report(workdir: Path, summary: FoldSummary, config: Any) -> Path:
    """Writes workdir/report/report.html and workdir/report/figures/*.png.

    Args:
        workdir: of the cross-validation; the run of a fold is the folder of its name in it.
        summary: see `summarize_folds`.
        config: of any of the folds.

    Returns:
        The path of the HTML file.

    Raises:
        JaxepiError: a file cannot be written.
    """
    region = summary.first.region
    words, meaning = words_of(summary.first), describe_metrics(summary.first)
    figures = {
        "fold_values": fold_plots.fold_values(summary),
        "fold_curves": fold_plots.fold_curves(summary),
        "fold_scatter": fold_plots.fold_scatter(summary),
    }
    pictures = make_pictures(figures, "", FOLD_FIGURES)
    page = environment().from_string(FOLDS_PAGE).render(
        title=f"{config.system}: cross-validation",
        subtitle=f"Folder {workdir.resolve()}",
        about=_about(summary, config.report_checkpoint),
        cards=[
            {"value": spread(row), "name": f"{summary.title(name)}, mean ± sd over {row.defined.size} folds"}
            for name, row in summary.headlines().items()
        ],
        notes=summary.all_notes(),
        folds=[_fold(fold, summary, config) for fold in summary.results],
        records=words.records,
        rows=[
            {
                "name": name,
                "values": [shown(value) for value in row.values],
                "mean": spread(row),
                "together": shown(row.together),
                "what": meaning.get(name.removesuffix(f"_{region}"), ""),
            }
            for name, row in summary.rows.items()
        ],
        figures=pictures,
        figure_block=figure_block,
    )  # fmt: skip
    folder = workdir / "report"
    write_pictures(folder / "figures", pictures)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _fold(fold: str, summary: FoldSummary, config: Any) -> dict[str, str]:
    result = summary.results[fold]
    trained = "+".join(other for other in config.dataset.folds if other != fold)
    return {
        "name": fold,
        "records": f"{result.records:,}",
        "step": "–" if result.step is None else f"{result.step:,}",
        "trained": trained,
        "link": f"../{fold}/report/report.html",
    }


def _about(summary: FoldSummary, checkpoint: str) -> str:
    words = words_of(summary.first)
    chosen = (
        "the last one of its run, so that nothing was chosen on the held-out fold"
        if checkpoint == "last"
        else "the best of its run by the watched metric on the held-out fold itself, so the values are optimistic"
    )
    return (
        f"{summary.records:,} {words.records} in {len(summary.results)} folds. Each fold is predicted by a model that "
        f"was trained on the other folds; its checkpoint is {chosen}."
    )
