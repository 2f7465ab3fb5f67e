"""The modes of launch.py: what each does once the flags are read. Every error a user can cause is one sentence."""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags, logging

from jaxepi.config import check_none
from jaxepi.errors import JaxepiError, did_you_mean


@contextlib.contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Prints a `JaxepiError` as one line and leaves with status 2; Ctrl-C leaves with 130. Nothing else is hidden."""
    try:
        yield
    except JaxepiError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def parse_flags(argv: list[str]) -> list[str]:
    """Reads the command line; an unknown flag or config field is one sentence with the nearest name."""
    with one_sentence_errors():
        try:
            return flags.FLAGS(argv)
        except AttributeError as problem:  # ml_collections: no such config field
            field = re.search(r"'\\?'?([\w.]+)", str(problem))
            near = re.search(r'Did you mean "([\w.]+)"', str(problem))
            hint = f" (did you mean {near[1]!r}?)" if near else ""
            name = field[1] if field else str(problem)
            raise JaxepiError(f"Unknown config field {name!r}{hint}; every field is in configs/base.py.") from None
        except flags.Error as problem:
            raise JaxepiError(_flag_problem(str(problem))) from None


def _flag_problem(text: str) -> str:
    """The last sentence of what absl says, without the traceback that ml_collections puts into it."""
    if "JaxepiError: " in text:
        return text.rsplit("JaxepiError: ", 1)[1].strip().splitlines()[0]
    unknown = re.search(r"Unknown command line flag '([\w.]+)'", text)
    if unknown:
        name = unknown[1]
        if name.startswith("config."):
            return f"--{name} needs --config, the experiment whose field it sets, such as {_EXAMPLES['config']}."
        known = [*flags.FLAGS, "config.batch_size", "config.steps", "config.dataset.path"]
        return (
            f"Unknown flag --{name}{did_you_mean(name, known)}; fields of the config are set with --config.{name}=..."
        )
    return " ".join(text.split())


def read_config(flag: Any) -> Any:
    """The value of --config, or None. Raises JaxepiError if there is no such file."""
    try:
        config = flag.value
        if config is not None:
            config.keys()  # a missing file shows at the first use
            check_none(config)
        return config
    except OSError as problem:
        missing = re.search(r"No such file or directory: '([^']+)'", str(problem))
        path = Path(missing[1] if missing else str(problem).splitlines()[0])
        near = did_you_mean(path.stem, [p.stem for p in path.parent.glob("*.py")])
        raise JaxepiError(f"There is no config {path}{near}.") from None


def required(value: Any, flag: str, example: str | None = None) -> Any:
    """The value of a flag that a mode cannot do without. Raises JaxepiError if it is not given."""
    if value is None:
        raise JaxepiError(f"--{flag} is needed here, such as {example or _EXAMPLES[flag]}.")
    return value


def impute(workdir: Path, config: Any, checkpoint: str | None, out: Path, **options: Any) -> None:
    """Writes every site and cell of the dataset, observed or predicted."""
    from jaxepi.verbs.site_run import impute_run, open_run

    numbers = impute_run(open_run(workdir, config, checkpoint), out, **options)
    print(f"{numbers['sites']:,} sites of {len(numbers['arguments']['outputs']):,} outputs in {out}", file=sys.stderr)


def motifs(workdir: Path, config: Any, checkpoint: str | None, out: Path, **options: Any) -> None:
    """Writes what the first filters of a run look for."""
    from jaxepi.verbs.site_run import motifs_run, open_run

    found = motifs_run(open_run(workdir, config, checkpoint), out, **options)
    print(f"{len(found):,} filters have a motif: {out / 'meme.txt'}", file=sys.stderr)


def effects(workdir: Path, config: Any, checkpoint: str | None, out: Path, **options: Any) -> None:
    """Writes what base changes do to the predictions of a run."""
    from jaxepi.verbs.site_run import effects_run, open_run

    sites = effects_run(open_run(workdir, config, checkpoint), out, **options)
    print(f"effects at {sites:,} sites: {out / 'effects.h5'}", file=sys.stderr)


_EXAMPLES = {"config": "--config configs/melody_mt.py:sample", "fasta": "--fasta genome.fa"}


def refuse_argument(word: str) -> None:
    """Raises JaxepiError for a word on the command line that belongs to no flag."""
    raise JaxepiError(f"{word!r} is no flag; values are given as --flag=value or --flag value.")


def start(config: Any, hosts: tuple[str | None, int | None, int | None] | None) -> None:
    """Joins the hosts of the run, if there are several, and turns on the compilation cache."""
    from jaxepi.parallel.hosts import join_hosts, use_compilation_cache

    logging.set_verbosity(logging.ERROR)  # libraries tell their every step through absl
    if hosts is not None:
        join_hosts(*hosts)
    use_compilation_cache(config.compilation_cache if config else None)


def train(config: Any, workdir: Path) -> None:
    """Trains, then evaluates config.report_checkpoint on the validation and test splits and writes the report."""
    from jaxepi.train.loop import train as run
    from jaxepi.verbs.eval import evaluate_run

    reason = run(config, workdir)
    if reason == "interrupted":
        print("run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    evaluate_run(workdir, config, None, report=config.report)


def cross_validate(config: Any, workdir: Path, folds: list[str] | None) -> None:
    """Trains and evaluates each fold in a run of its own and writes the summary over all of them."""
    from jaxepi.verbs.crossval import cross_validate as run

    if run(config, workdir, folds) == "interrupted":
        print("run the same command again to go on", file=sys.stderr)
        sys.exit(130)


def evaluate(config: Any, workdir: Path, split: str | None, checkpoint: str | None) -> None:
    """Evaluates a run's checkpoint on one split and writes the report."""
    from jaxepi.verbs.eval import evaluate_run

    evaluate_run(workdir, config, split, checkpoint, report=True)


def predict(
    source: Path | str,
    config: Any,
    *,
    checkpoint: str | None,
    fasta: str | None,
    regions: str | None,
    split: str | None,
    out: Path,
    overlap: str,
    tracks: list[str] | None,
) -> None:
    """Predicts regions of a genome, sequences, or the genes of a dataset, with a run or a released file."""
    from jaxepi.analysis.predict import predict_files
    from jaxepi.data.subset import choose_records
    from jaxepi.systems.registry import capability

    predictor = _load(source, config, checkpoint)
    if predictor.grid.at != "record":
        numbers = predict_files(
            predictor,
            fasta=required(fasta, "fasta"),
            out_dir=out,
            regions=regions,
            tracks=tracks,
            batch_size=config.eval_batch_size if config else 32,
            overlap=overlap,
        )
        print(f"{numbers['calls']:,} calls in {numbers['windows']:,} windows written to {out}", file=sys.stderr)
        return
    for flag, value in {"fasta": fasta, "regions": regions, "tracks": tracks}.items():
        if value is not None:
            raise JaxepiError(f"{source} predicts the genes of a dataset: leave out --{flag}, choose by --split.")
    dataset, batch_size = _genes_of(predictor, config)
    write = capability(predictor.system, "predict_records")
    numbers = write(predictor, choose_records(dataset, split), out, batch_size=batch_size)
    print(f"{numbers['genes']:,} genes in {out / 'genes.tsv'}", file=sys.stderr)


def attention(
    source: Path | str,
    config: Any,
    checkpoint: str | None,
    out: Path,
    *,
    split: str | None,
    genes: list[str] | None,
    most_genes: int | None,
    figures: int,
) -> None:
    """Writes what a Chromoformer attends to: ranked contacts, all weights, and figures."""
    from jaxepi.data.subset import choose_records
    from jaxepi.systems.registry import capability

    predictor = _load(source, config, checkpoint)
    attend = capability(predictor.system, "attention")
    dataset, batch_size = _genes_of(predictor, config)
    chosen = choose_records(dataset, split, genes, most_genes, "most_genes")
    shown = len(chosen) if genes is not None else figures
    numbers = attend(predictor, chosen, out, figures=shown, batch_size=batch_size)
    print(f"{numbers['contacts']:,} contacts of {numbers['genes']:,} genes in {out}", file=sys.stderr)


def _load(source: Path | str, config: Any, checkpoint: str | None) -> Any:
    """A run, or a released file, which for genes takes the section `task` of the config."""
    import jaxepi

    if Path(source).is_dir():
        return jaxepi.load(source, which=checkpoint)
    predictor = jaxepi.load(source)
    if config is None:
        return predictor
    if config.system != predictor.system.name:
        raise JaxepiError(
            f"The config is for {config.system!r}, but {source} holds a model of {predictor.system.name}."
        )
    return jaxepi.load(source, task=config.task)


def _genes_of(predictor: Any, config: Any) -> tuple[Any, int]:
    """The dataset of genes that a config, or else the predictor's run, names, and the batch size for it."""
    from jaxepi.config import dataset_source
    from jaxepi.data.open import find_dataset

    config = config if config is not None else predictor.config
    config = required(config, "config", "--config configs/chromoformer_clf.py, which tells the dataset")
    return find_dataset(**dataset_source(config)), config.eval_batch_size
