"""The verb predict."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError
from jaxepi.verbs import options as shared

ABOUT = "Predicts regions or genes of a genome, sequences, or the records of a dataset, with a run or a released file."

OVERLAPS = ("once", "repeat")
AT_CPGS = ("cpg", "site")  # where the values of a prediction lie that are written as calls
FORMATS = ("hdf5", "bigwig", "table", "table.gz", "plot")
STATS = ("mean", "sum")
SHOWN = 20  # correlations that are printed
DTYPES = ("float16", "float32")
OF_SEQUENCE = ("fasta", "regions", "tracks")
OF_MODEL = ("rc", "shifts", "head", "params")  # whatever is written
OF_PLACES = ("region", "gene", "gtf", "conservation", "measured", "measured_stat")
OF_BINS = ("site_length", "sum", "formats", "dtype", *OF_PLACES, *OF_MODEL)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser, weights=True)
    shared.add_config(parser, "batch size, and the dataset of a model that reads records")
    group = parser.add_argument_group("a model that reads sequence")
    group.add_argument("--fasta", metavar="FILE", help="genome (with --regions), or sequences to predict one by one")
    group.add_argument("--regions", metavar="BED", help="regions of the genome (default: every record of --fasta)")
    group.add_argument(
        "--tracks", type=shared.names, metavar="NAME,...", help="names, or parts of them, to write (default: all)"
    )
    group.add_argument(
        "--overlap",
        type=shared.one_of(*OVERLAPS),
        metavar=shared.braces(*OVERLAPS),
        help="how often a CpG is reported that two tiles of a region share (default: once)",
    )
    group = parser.add_argument_group("a model of bins")
    group.add_argument(
        "--region", action="append", metavar="CHROM:START-END",
        help="a region instead of --regions, 0-based; several with commas between them, or with --region again",
    )  # fmt: skip
    group.add_argument("--gene", type=shared.names, metavar="NAME,...", help="windows on start sites of genes of --gtf")
    group.add_argument("--gtf", metavar="FILE", help="annotation with the genes, perhaps gzipped")
    group.add_argument(
        "--conservation", metavar="BIGWIG", help="one value a base, for models that read it (default: 0 everywhere)"
    )
    group.add_argument(
        "--measured", type=shared.names, metavar="[TRACK=]BIGWIG,...",
        help="measured signal to compare with: a file for each written track in order, or by its name",
    )  # fmt: skip
    group.add_argument(
        "--measured-stat", type=shared.one_of(*STATS), metavar=shared.braces(*STATS),
        help="what makes a bin of the bases of --measured (default: mean)",
    )  # fmt: skip
    group.add_argument(
        "--site-length", type=shared.whole_number, metavar="BP",
        help="bp around the middle of each region to write (default: what is predicted, long regions tiled)",
    )  # fmt: skip
    group.add_argument("--sum", action="store_true", help="write the sum of each site instead of its bins")
    group.add_argument(
        "--formats", type=shared.some_of(*FORMATS), metavar=",".join(FORMATS),
        help="files to write (default: hdf5,bigwig; of --region and --gene bigwig,table,plot; of more than 200 tracks "
        "no bigwig)",
    )  # fmt: skip
    group.add_argument(
        "--dtype", type=shared.one_of(*DTYPES), metavar=shared.braces(*DTYPES),
        help="numbers to write (default: float16; of sums, --region and --gene float32)",
    )  # fmt: skip
    shared.add_network(group)
    group.add_argument("--rc", action="store_true", help="mean over both strands")
    group.add_argument(
        "--shifts", type=shared.whole_numbers, metavar="BP,...", help="mean over windows moved so far (default: 0)"
    )
    group = parser.add_argument_group("a model that reads records of a dataset")
    group.add_argument(
        "--split", metavar="NAME", help="a split of the dataset (default: all); of bins, predictions beside targets"
    )
    shared.add_out(parser, "predictions")


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Predicts."""
    out = shared.out_folder(options, workdir, "predictions")
    source = options.weights if options.weights is not None else shared.run_folder(workdir)
    shared.start(options, config)
    from jaxepi.runs.source import load_predictor

    predictor = load_predictor(source, config, options.checkpoint, head=options.head, params=options.params)
    if predictor.grid.at == "bin":
        _predict_bins(predictor, options, config, out)
        return
    _leave_out(options, OF_BINS, f"{predictor.source} predicts no bins")
    if predictor.grid.at == "record":
        _predict_records(predictor, options, config, out)
    elif predictor.grid.at in AT_CPGS and predictor.task.sequence_alone:
        _predict_sequence(predictor, options, config, out)
    else:
        raise JaxepiError(
            f"{source} predicts neither bins nor CpGs from sequence alone, so there is nothing to write; impute serves "
            "runs of single sites that read their neighbours."
        )


def _leave_out(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raises JaxepiError for the first of these options that was given."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise JaxepiError(f"{why}: leave out --{name.replace('_', '-')}.")


def _batch_size(config: Any, default: int) -> int:
    """Windows at a time."""
    return config.eval_batch_size if config is not None else default


def _predict_sequence(predictor: Any, options: argparse.Namespace, config: Any, out: Path) -> None:
    """CpGs in regions of a genome, or in sequences."""
    from jaxepi.analysis.predict import predict_files

    if options.split is not None:
        raise JaxepiError(f"{predictor.source} predicts sequences of --fasta: leave out --split, choose by --regions.")
    numbers = predict_files(
        predictor,
        fasta=shared.required(options.fasta, "fasta", "genome.fa"),
        out_dir=out,
        regions=options.regions,
        tracks=options.tracks,
        batch_size=_batch_size(config, 32),
        overlap=options.overlap or "once",
    )
    print(f"{numbers['calls']:,} calls in {numbers['windows']:,} windows written to {out}", file=sys.stderr)


def _predict_bins(predictor: Any, options: argparse.Namespace, config: Any, out: Path) -> None:
    """Bins in regions of a genome, in sequences, or of the records of a split."""
    from jaxepi.task import Views

    _leave_out(options, ("overlap",), f"{predictor.source} predicts bins, not CpGs")
    views = Views(options.rc, tuple(options.shifts or (0,)))
    if options.split is not None:
        from jaxepi.analysis.predict_split import predict_split_files
        from jaxepi.runs.source import dataset_of

        regional = [name for name in (*OF_SEQUENCE, *OF_BINS) if name not in OF_MODEL]
        _leave_out(options, regional, "--split predicts all tracks and bins of the records of a dataset")
        dataset, batch_size = dataset_of(predictor, config)
        part = _one_of(dataset, options.head)
        numbers = predict_split_files(
            predictor, dataset=part, split=options.split, out_dir=out, batch_size=batch_size, views=views
        )
    else:
        from jaxepi.analysis.predict_bins import predict_bin_files

        fasta = shared.required(options.fasta, "fasta", "genome.fa")
        numbers = predict_bin_files(
            predictor,
            fasta=fasta,
            out_dir=out,
            regions=_places(options, fasta),
            tracks=options.tracks,
            site_length=options.site_length,
            total=options.sum,
            formats=options.formats,
            dtype=options.dtype,
            measured=None if options.measured is None else _measured(options.measured),
            measured_stat=_stat(options),
            per_base={} if options.conservation is None else {"conservation": options.conservation},
            batch_size=_batch_size(config, 4),
            views=views,
        )
        _print_measured(out)
    print(f"{numbers['windows']:,} windows of {numbers['tracks']:,} tracks written to {out}", file=sys.stderr)


def _places(options: argparse.Namespace, fasta: str) -> Any:
    """The regions: a BED, or places that are named on the command line; None for the records of the FASTA.

    Raises:
      JaxepiError: options that exclude each other, or a place that is not there.
    """
    from jaxepi.analysis.bins.places import places_of_genes, read_regions

    if options.region is None and options.gene is None:
        _leave_out(options, ("gtf",), "--gtf tells where the genes of --gene are")
        return options.regions
    _leave_out(options, ("regions",), "--region and --gene say what to predict")
    places = read_regions(options.region or [])
    if options.gene is None:
        _leave_out(options, ("gtf",), "--gtf tells where the genes of --gene are")
        return places
    from jaxepi.genome import Genome

    return places + places_of_genes(options.gene, shared.required(options.gtf, "gtf", "genes.gtf.gz"), Genome(fasta))


def _measured(texts: Sequence[str]) -> Any:
    """Files in order, or by the names of tracks.

    Raises:
      JaxepiError: some have a name and others have none, or two have the same one.
    """
    named = [text.partition("=")[::2] for text in texts if "=" in text and not Path(text).exists()]
    if not named:
        return texts
    if len(named) < len(texts):
        raise JaxepiError("--measured names the tracks of some files only: give all as name=path, or all as paths.")
    if len({name for name, _ in named}) < len(named):
        raise JaxepiError("--measured has two files of one name: give one for each track.")
    return dict(named)


def _stat(options: argparse.Namespace) -> str:
    if options.measured is None:
        _leave_out(options, ("measured_stat",), "--measured-stat is of the files of --measured")
    return options.measured_stat or "mean"


def _print_measured(out: Path) -> None:
    """Shows the correlations of the first regions, if there are any."""
    from jaxepi.analysis.bins.region_files import MEASURED

    if not (out / MEASURED).is_file():
        return
    with open(out / MEASURED, encoding="utf-8") as file:
        next(file)
        for number, line in enumerate(file):
            if number == SHOWN:
                print(f"... see {out / MEASURED}")
                break
            region, *_, track, bins, raw, log2 = line.rstrip("\n").split("\t")
            print(f"{region}, {track}: Pearson {float(raw):.4f}, of log2(1 + x) {float(log2):.4f} ({bins} bins)")


def _one_of(dataset: Any, head: int | None) -> Any:
    """A dataset, or of several that of the head.

    Raises:
      JaxepiError: there are several, and nothing tells which.
    """
    parts = list(dataset.parts.values())
    if len(parts) == 1:
        return dataset
    if head is None:
        raise JaxepiError(
            f"--split is of one dataset, but there are {', '.join(dataset.parts)}: choose one with --head, or with "
            "--config.dataset.paths."
        )
    return parts[head].dataset


def _predict_records(predictor: Any, options: argparse.Namespace, config: Any, out: Path) -> None:
    """Records of a dataset."""
    from jaxepi.data.subset import choose_records
    from jaxepi.registry import capability
    from jaxepi.runs.source import dataset_of

    for name in (*OF_SEQUENCE, "overlap"):
        if getattr(options, name) is not None:
            raise JaxepiError(
                f"{predictor.source} predicts the genes of a dataset: leave out --{name}, choose by --split."
            )
    dataset, batch_size = dataset_of(predictor, config)
    write = capability(predictor.system, "predict_records")
    numbers = write(predictor, choose_records(dataset, options.split), out, batch_size=batch_size)
    print(f"{numbers['genes']:,} genes in {out / 'genes.tsv'}", file=sys.stderr)
