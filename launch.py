"""Trains, evaluates, predicts: `python launch.py --config configs/melody_mt.py:sample --workdir runs/sample`."""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import app, flags
from ml_collections import config_flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own logger

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment, such as configs/melody_mt.py or configs/melody_mt.py:sample."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, log, report. Default runs/<config>.")
_MODES = ["train", "crossval", "eval", "predict", "impute", "motifs", "effects", "attention"]
_MODE = flags.DEFINE_enum(
    "mode", "train", _MODES, "What to do. Single sites: impute, motifs, effects; genes: attention."
)
_SPLIT = flags.DEFINE_string("split", None, "Split of the dataset. Default for eval: the config's; otherwise all.")
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", None, ["best", "last"], "Which checkpoint of the run. Default: as its config.report_checkpoint says."
)
_FOLDS = flags.DEFINE_list("folds", None, "crossval: train only these of config.dataset.folds. Default: all.")
_WEIGHTS = flags.DEFINE_string("weights", None, "predict, attention: a released file instead of a run.")
_FASTA = flags.DEFINE_string("fasta", None, "predict: genome (with --regions), or sequences to predict one by one.")
_REGIONS = flags.DEFINE_string("regions", None, "predict: BED of regions of the genome.")
_OUT = flags.DEFINE_string("out", None, "Folder of the files. Default: <workdir>/predictions (or /impute, ...).")
_OVERLAP = flags.DEFINE_enum("overlap", "once", ["once", "repeat"], "predict: rows of overlapping tiles.")
_TRACKS = flags.DEFINE_list("tracks", None, "predict, impute: names of the tracks to write. Default: all.")
_FORMATS = flags.DEFINE_list("formats", ["tsv", "bedgraph", "hdf5"], "impute: files to write.")
_VALUES = flags.DEFINE_enum("values", "imputed", ["imputed", "predicted"], "impute: keep observed values, or not.")
_MOST_SITES = flags.DEFINE_integer("most_sites", None, "motifs, effects: a draw of so many sites. Default: all.")
_TRIM_BITS = flags.DEFINE_float("trim_bits", None, "motifs: end columns that tell less are left out. Default: none.")
_EFFECTS = flags.DEFINE_enum("effects", "gradient", ["gradient", "exact"], "effects: how they are computed.")
_TARGET = flags.DEFINE_string("target", "mean", "effects: mean or var over all outputs, or the name of an output.")
_WIDTH = flags.DEFINE_integer("width", None, "effects: bp in the middle of the window. Default: all of it.")
_GENES = flags.DEFINE_list("genes", None, "attention: names of genes. Default: all of the split.")
_MOST_GENES = flags.DEFINE_integer("most_genes", None, "attention: a draw of so many genes. Default: all.")
_FIGURES = flags.DEFINE_integer("figures", 20, "attention: figures of the first so many genes, or of all --genes.")
_MULTIHOST = flags.DEFINE_bool("multihost", False, "Join the hosts of a cluster that jax knows (Slurm, GKE, TPU pods).")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, for a multi-host run set up by hand.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, with --coordinator.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process from 0, with --coordinator.")


def main(argv: list[str]) -> None:
    """Hands the flags to the mode; a `JaxepiError` becomes one line and exit status 2."""
    from jaxepi.verbs import command as cli

    workdir = Path(_WORKDIR.value or Path("runs") / _config_name())
    hosts = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    with cli.one_sentence_errors():
        if argv[1:]:
            cli.refuse_argument(argv[1])
        config = cli.read_config(_CONFIG)
        cli.start(config, hosts if _MULTIHOST.value or _COORDINATOR.value else None)
        if _MODE.value == "train":
            cli.train(cli.required(config, "config"), workdir)
        elif _MODE.value == "crossval":
            cli.cross_validate(cli.required(config, "config"), workdir, _FOLDS.value)
        elif _MODE.value == "eval":
            cli.evaluate(config, workdir, _SPLIT.value, _CHECKPOINT.value)
        elif _MODE.value == "attention":
            cli.attention(
                _WEIGHTS.value or workdir,
                config,
                _CHECKPOINT.value,
                Path(_OUT.value or workdir / "attention"),
                split=_SPLIT.value,
                genes=_GENES.value,
                most_genes=_MOST_GENES.value,
                figures=_FIGURES.value,
            )
        elif _MODE.value != "predict":
            _explain(cli, config, workdir)
        else:
            cli.predict(
                _WEIGHTS.value or workdir,
                config,
                checkpoint=_CHECKPOINT.value,
                fasta=_FASTA.value,
                regions=_REGIONS.value,
                split=_SPLIT.value,
                out=Path(_OUT.value or workdir / "predictions"),
                overlap=_OVERLAP.value,
                tracks=_TRACKS.value,
            )


def _explain(cli: ModuleType, config: Any, workdir: Path) -> None:
    """The modes of models of single sites."""
    options = {
        "impute": {"outputs": _TRACKS.value, "formats": _FORMATS.value, "values": _VALUES.value},
        "motifs": {"most_sites": _MOST_SITES.value, "trim_bits": _TRIM_BITS.value},
        "effects": {
            "method": _EFFECTS.value, "target": _TARGET.value, "width": _WIDTH.value, "most_sites": _MOST_SITES.value
        },
    }[_MODE.value]  # fmt: skip
    out = Path(_OUT.value or workdir / _MODE.value)
    getattr(cli, _MODE.value)(workdir, config, _CHECKPOINT.value, out, split=_SPLIT.value, **options)


def _config_name() -> str:
    """`configs/melody_mt.py:sample` → `melody_mt_sample`, from the command line."""
    for i, word in enumerate(sys.argv):
        if word.startswith(("--config=", "-config=")) or word in ("--config", "-config"):
            given = word.split("=", 1)[1] if "=" in word else sys.argv[i + 1]
            path, _, variant = given.partition(":")
            return Path(path).stem + (f"_{variant}" if variant else "")
    return "run"


if __name__ == "__main__":
    from jaxepi.verbs.command import parse_flags

    app.run(main, flags_parser=parse_flags)
