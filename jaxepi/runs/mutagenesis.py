"""Base changes at the sites of a run's dataset and what they do to its predictions. B sites, L bp, W changed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from jaxepi import __version__
from jaxepi.analysis.filter_motifs import middle_slice
from jaxepi.analysis.mutagenesis import TARGETS, exact_function, gradient_function
from jaxepi.analysis.mutagenesis_files import SUMMARY, EffectStore
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.pretrained.table import weights_digest
from jaxepi.runs.site_run import Record, SiteRun
from jaxepi.storage.job import finished, require_h5py, write_errors

METHODS = ("gradient", "exact")


def effects_run(
    run: SiteRun,
    out: Path,
    *,
    method: str = "gradient",
    target: str = "mean",
    width: int | None = None,
    split: str | None = None,
    most_sites: int | None = None,
    batch_size: int = 128,
) -> int:
    """Effects of base changes on a run's predictions, as `effects.h5`, `profile.tsv` and `effects.json` in `out`.

    A job that was killed goes on when the same call is made again and gives the same files; a finished one is not
    repeated.

    Args:
      method: `gradient` or `exact`, see `jaxepi.analysis.mutagenesis`.
      target: mean or var over the outputs, or the name of one output.
      width: bp in the middle of the window; None = all.
      batch_size: sites at a time; exact: four times as many changed sequences.

    Returns: number of sites.

    Raises:
      JaxepiError: the model reads no DNA, unknown method or target, no site, something else at `out`, or a full disk.
    """
    _check_effects(run, method, target, width)
    places = run.sites(split, most_sites)
    if not places:
        raise JaxepiError(f"{run.dataset.path} has no site in split {split!r}.")
    arguments = {
        "model": weights_digest(run.model),
        "dataset": run.dataset.fingerprint,
        "split": split,
        "most_sites": most_sites,
        "effects": method,
        "target": target,
        "width": width,
        "batch_size": batch_size,
    }
    out = out.absolute()
    if (done := finished(out, SUMMARY, arguments, "table of effects")) is not None:
        return done["sites"]
    compute, bases = _effects(run, method, target, width, batch_size)
    block = batch_size if method == "gradient" else 1  # the exact effects of a site are thousands of predictions
    with write_errors(out), EffectStore(out, arguments, bases) as store:
        for records in run.batches(places, block, "effects", done=store.sites):
            effects, codes = compute(records)
            starts = np.array([int(record["start"]) for record in records])
            store.append_sites([record["chrom"] for record in records], starts, effect=effects, sequence=codes)
        store.finish({"jaxepi_version": __version__, "sites": store.sites}, {"method": method, "target": target})
    return len(places)


def _check_effects(run: SiteRun, method: str, target: str, width: int | None) -> None:
    require_h5py()
    if run.task.first_convolution(run.model) is None:
        raise JaxepiError(f"{run.workdir} reads no DNA, so no base can be changed.")
    if method not in METHODS:
        raise JaxepiError(f"--effects is {method!r}{did_you_mean(method, METHODS)}; it must be one of {METHODS}.")
    if width is not None and width < 1:
        raise JaxepiError(f"--width is {width}: a positive number of bp was expected.")
    if width is not None and width > run.task.window:
        raise JaxepiError(f"--width is {width}, but {run.workdir} reads windows of {run.task.window} bp.")
    known = list(run.task.tracks)
    if target not in TARGETS and target not in known:
        raise JaxepiError(
            f"--target is {target!r}{did_you_mean(target, [*TARGETS, *known])}; it must be mean, var, or an output of "
            f"the model, such as {known[0]}."
        )


def _effects(
    run: SiteRun, method: str, target: str, width: int | None, batch_size: int
) -> tuple[Callable[[Sequence[Record]], tuple[np.ndarray, np.ndarray]], int]:
    """The function from B records to effects (B, W, 4) and base codes (B, W), compiled once; and W."""
    run.model.eval()
    graph, weights = nnx.split(run.model)

    def read(records: Sequence[Record | None]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Base codes (B, L), and what else the model reads."""
        batch = run.task.collate(list(records))
        inputs, _ = run.task.prepare(batch, jax.random.key(0), False)
        return batch["sequence"], {name: np.asarray(values) for name, values in inputs.items() if name != "dna"}

    padding, others = read([None])

    def predict(dna: jax.Array, *arrays: jax.Array) -> jax.Array:
        inputs = {"dna": dna, **dict(zip(others, arrays, strict=True))}
        return run.task.values(run.task.apply(nnx.merge(graph, weights), inputs))[:, 0]

    middle = middle_slice(padding.shape[1], width)
    chosen = run.task.tracks.index(target) if target in run.task.tracks else target
    if method == "exact":
        function = exact_function(predict, chosen, width, 4 * batch_size)
    else:
        function = gradient_function(predict, chosen, batch_size)

    def effects(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
        codes, inputs = read(records)
        made = function(codes, [inputs[name] for name in others])
        return (made if method == "exact" else made[:, middle]), codes[:, middle]

    return effects, middle.stop - middle.start
