"""The doors behind data preparation: datasets, runs, configs, verbs and the functions of a notebook."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.fault_campaign import worlds
from benchmarks.fault_campaign.changes import (
    REFUSED,
    SAME,
    UNPROTECTED,
    WRONG_PLACES,
    Case,
    Change,
    Table,
    damage,
    either,
    entries,
    on_bytes,
    on_file,
    text,
    words,
)
from benchmarks.fault_campaign.prep import Door, raw

Enter = Callable[[Case], Any]


def doors(run: Enter, predict: Enter, records: Enter, load: Enter) -> list[Door]:
    """All doors but data preparation and files of weights.

    Args:
      run: runs the program on the words of a case.
      predict: the same, and gives what it wrote.
      records: gives the records of the dataset in the folder `dataset` of a case as a task of the system collates them.
      load: gives what `jaxepi.load` makes of the folder that the first word names.
    """
    return [*_datasets(records), *_runs(load), *_configs(run), *_verbs(run), _predict(predict), *_calls()]


def _datasets(records: Enter) -> list[Door]:
    made = []
    for system in worlds.SYSTEMS:
        changes = [*damage("dataset/*.tfrecord-*"), *either(damage("dataset/record_index.npz"))]
        for file in ("manifest.json", "dataset_info.json", "features.json"):
            changes += [*damage(f"dataset/{file}"), *entries(f"dataset/{file}")]
        changes += [
            on_file("dataset/*.tfrecord-*", "a file more", SAME, lambda path, random: _beside(path)),
            on_file("dataset/manifest.json", "the whole folder emptied", REFUSED, lambda path, random: _emptied(path)),
            on_file("dataset/*.tfrecord-*", "another shard in its place", UNPROTECTED, _swapped),
            on_bytes("dataset/*.tfrecord-*", "twice as long", REFUSED, lambda data, random: data + data),
            on_bytes("dataset/*.tfrecord-*", "rubbish at the end", REFUSED, lambda data, random: data + b"\0" * 40),
        ]
        made.append(Door("datasets", system, [(f"{system}/dataset", "dataset")], system, records, changes))
    changes = [*damage("dataset/tfrecords/*.tfr"), *damage("dataset/statistics.json", checked=False)]
    changes += [*either(entries("dataset/statistics.json")), *damage("dataset/targets.txt", checked=False)]
    changes += damage("dataset/sequences.bed", checked=False)
    changes = [
        Change(change.name, UNPROTECTED, change.apply)
        if change.name.startswith(
            ("dataset/statistics.json: an entry", "dataset/sequences.bed: gone", "dataset/tfrecords/*.tfr: gone")
        )
        else change
        for change in changes
        if change.name != "dataset/sequences.bed: a folder in its place"
    ]
    return [*made, Door("datasets", "coverage", [("coverage/folder", "dataset")], "coverage", records, changes)]


def _beside(path: Any) -> None:
    path.with_name("notes.txt").write_text("mine")


def _emptied(path: Any) -> None:
    for other in path.parent.iterdir():
        other.unlink()


def _swapped(path: Any, random: np.random.Generator) -> None:
    others = [other for other in path.parent.glob("*.tfrecord-*") if other.read_bytes() != path.read_bytes()]
    path.write_bytes(others[int(random.integers(len(others)))].read_bytes())


def _runs(weights: Enter) -> list[Door]:
    made = []
    for system in worlds.SYSTEMS:
        read = "checkpoints" if system == "chromoformer" else "best"  # its report is about the last checkpoint
        changes = either(damage("run/checkpoints/**/*"))
        changes += [
            *damage(f"run/{read}/**/*"),
            *damage(f"run/{read}/*/meta/metadata"),
            *entries(f"run/{read}/*/meta/metadata"),
            *damage(f"run/{read}/*/state/_METADATA"),
            on_file("run/log.jsonl", "the whole folder emptied", REFUSED, lambda path, random: _no_checkpoints(path)),
            *either(damage("run/log.jsonl")),
            *either(damage("run/config.json")),
        ]
        made.append(Door("runs", system, [(f"{system}/run", "run")], "{folder}/run", weights, either(changes)))
    return made


def _no_checkpoints(path: Any) -> None:
    for folder in [*path.parent.glob("best*"), path.parent / "checkpoints"]:
        folder.rename(path.with_name(f"was_{folder.name}"))


# Fields of a config that cannot be, and some that must be possible. Those of a training run are refused before it.
WRONG_FIELDS = (
    *("keep=-1", "keep=0", "seed=-1", "seed=x", "model.width=0", "model.width=-3", "model.dtype=float99", "steps=-1"),
    *("optimizer.accumulate=0", "log_every=0", "log_every=-1", "eval_every=-1", "save_every=-1", "batch_size=0"),
    *("batch_size=-4", "eval_batch_size=0", "dataset.train_split=trian", "dataset.validation_split=vald"),
    *("dataset.test_split=tset", "monitor=auc_cpg", "optimizer.learning_rate=-0.1", "optimizer.b1=1.5"),
    *("optimizer.learning_rate=nan", "optimizer.ema_decay=2", "optimizer.ema_decay=-0.1", "optimizer.name=adamm"),
    *("optimizer.schedule=cosin", "optimizer.warmup_steps=-1", "optimizer.clip_norm=-1", "optimizer.epsilon=-1"),
    *("optimizer.weight_decay=-1", "mesh.fsdp=3", "mesh.fsdp=0", "mesh.fsdp=-1", "unit=stpe", "max_minutes=-1"),
    *("report_checkpoint=bst", "frozen_statistics=frozn", "frozen=('nothing.*',)", "init_from=('nowhere',)"),
    *("dataset.path={folder}/nowhere", "dataset.path={folder}", "dataset.tracks=('liver',)", "dataset.readers=0"),
    *("dataset.paths=('{folder}/nowhere',)", "patience=-1", "patience=0", "eval_batches=0", "profile_steps=(5,2)"),
    *("task.focal=fixd", "task.target=bta", "task.count_bin_width=0", "model.count_classes=0", "model.widht=4"),
    *("system=melodi", "system=deepcpg", "dataset.pth=x", "steps=many", "steps=", "model=3", "keep=None"),
    *("optimizer.b2=1", "optimizer.decay_rate=-1 --config.optimizer.schedule=step --config.optimizer.decay_steps=1",),
    "optimizer.decay_steps=0 --config.optimizer.schedule=step",
)  # fmt: skip
RIGHT_FIELDS = ("max_minutes=None", "patience=None", "optimizer.ema_decay=None", "monitor=None", "keep=5")


def _configs(run: Enter) -> list[Door]:
    fields = [words(field, REFUSED, *f"--config.{field}".split()) for field in WRONG_FIELDS]
    fields += [words(field, SAME, f"--config.{field}") for field in RIGHT_FIELDS]
    fields += [
        words("no host", REFUSED, "--coordinator", "nohost", "--processes", "2", "--process", "0"),
        words("half of the hosts", REFUSED, "--coordinator", "localhost:1234"),
        words("a variant that is none", REFUSED, "--config", "melody_mt:smoek", without=["--config"]),
        words("a config that is none", REFUSED, "--config", "melody_m", without=["--config"]),
        words("a workdir that is a file", REFUSED, "--workdir={folder}/config.py", without=["--workdir"]),
        words("a workdir below a file", REFUSED, "--workdir={folder}/config.py/x", without=["--workdir"]),
    ]
    melody = worlds.TRAIN["melody"]
    files = [("melody/dataset", "dataset"), ("raw/config.py", "config.py")]
    broken = {
        "no Python": b"def get_config(:\n",
        "raises": b"def get_config(variant=''):\n    return 1 / 0\n",
        "imports nothing": b"import nothing_of_this_name\n",
        "without get_config": b"x = 1\n",
        "gives a dict": b"def get_config(variant=''):\n    return {}\n",
        "gives an empty config": b"import ml_collections as m\ndef get_config(*_):\n    return m.ConfigDict()\n",
        "takes no variant": b"def get_config(one, two):\n    return 3\n",
        "leaves": b"import sys\nsys.exit(0)\n",
        "recurses": b"def get_config(variant=''):\n    return get_config(variant)\n",
    }
    changes = [on_bytes("config.py", what, REFUSED, lambda data, random, c=c: c) for what, c in broken.items()]
    changes += [change for change in damage("config.py", checked=False) if not change.name.endswith(": cut")]
    own = melody.replace("melody_mt:smoke", "{folder}/config.py:smoke")
    return [
        Door("configs", "fields", files, melody, run, fields, output="run/checkpoints"),
        Door("configs", "files", files, own, run, changes, output="run/checkpoints"),
    ]


def _verbs(run: Enter) -> list[Door]:
    """Command lines of the other verbs, none of which can be done."""
    lines = {
        "chromoformer": (
            *("predict --split fold9", "predict --tracks a", "predict --fasta x.fa", "predict --checkpoint bst"),
            *("predict --overlap twice", "attention --genes nobody", "attention --most-genes 0", "predict x"),
            *("attention --most-genes -1", "attention --figures x", "attention --figures -1", "motifs --trim-bits 1"),
            *("impute --split fold1", "mutagenesis --effects exact", "eval --split fold7", "eval --out {folder}/out"),
            *("attention --split fold9", "predict --splt fold1", "crossval --folds fold1", "train --split fold1"),
        ),
        "deepcpg": (
            *("impute --split tset", "impute --formats tvs", "impute --values predictd", "impute --tracks nobody"),
            *("motifs --most-sites 0", "motifs --trim-bits x", "motifs --trim-bits nan", "motifs --trim-bits -1"),
            *("mutagenesis --target nobody", "mutagenesis --width 0", "mutagenesis --width -4", "motifs --split x"),
            *("mutagenesis --effects exct", "mutagenesis --most-sites -1", "attention --genes a", "eval --split x"),
            *("predict", "impute --most-sites 5", "mutagenesis --width 9999", "efects --target mean"),
        ),
        "melody": (
            *("impute --split test", "motifs --split test", "attention --split test", "mutagenesis --target mean"),
            *("predict", "predict --fasta {folder}/none.fa", "predict --fasta {folder}", "predict --split test"),
            *("predict --fasta {folder}/genome.fa --regions {folder}/none.bed", "eval --checkpoint 7", "train"),
            *("predict --fasta {folder}/genome.fa --tracks nobody", "predict --weights {folder}/genome.fa", "evel"),
            *("predict --fasta {folder}/genome.fa --regions {folder}/genome.fa", "eval --multihost --coordinator a"),
            *("predict --fasta {folder}/genome.fa --regions {folder}/regions.bed --overlap twce", "eval --split x"),
            *("predict --mode eval", "configs", "eval predict", "predict extra"),
        ),
    }  # fmt: skip
    made = []
    for system, own in lines.items():
        files = [(f"{system}/run", "run"), (f"{system}/dataset", "dataset"), *raw("genome.fa", "regions.bed")]
        changes = [words(text, REFUSED, *text.split(), "--workdir={folder}/run") for text in own]
        made.append(Door("verbs", system, files, "", run, changes))
    loose = [words(text or "nothing", REFUSED, *text.split()) for text in ("--mode", "prep melodi", "eval", "x")]
    return [*made, Door("verbs", "program", [], "", run, loose)]


def _predict(predict: Enter) -> Door:
    """Regions of a genome, both from files that may be damaged."""
    regions = Table("regions.bed")
    changes = [*damage("genome.fa.gz"), *damage("regions.bed", checked=False, packed=True), *text("regions.bed")]
    changes += [*regions.cells(1, WRONG_PLACES | {"end before start": None}), *regions.cells(0, {"unknown": "chr77"})]
    changes += [regions.renamed_chromosomes(), *regions.rows(twice=UNPROTECTED, short_row=REFUSED)]
    files = [("melody/run", "run"), *raw("genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi", "regions.bed")]
    command = (
        "predict --workdir {folder}/run --fasta {folder}/genome.fa.gz --regions {folder}/regions.bed --out {folder}/out"
    )
    return Door("verbs", "predict", files, command, predict, changes)


def _calls() -> list[Door]:
    """What a notebook calls with arguments that cannot be."""
    import jaxepi

    def predicted(name: str, x: Any, **more: Any) -> Callable[[Case], object]:
        def call(case: Case) -> object:
            window = {"window": 2000} if name == "melody" else {}
            return jaxepi.load(case.folder / f"{name}.npz", **window).predict(x, **more)

        return call

    def loaded(name: str, **more: Any) -> Callable[[Case], object]:
        return lambda case: jaxepi.load(case.folder / name, **more)

    def exported(place: str, **more: Any) -> Callable[[Case], object]:
        model = "melody.npz"
        return lambda case: jaxepi.export(
            jaxepi.from_pretrained("melody", case.folder / model), case.folder / place, **more
        )

    codes = np.zeros((2, 2000), np.uint8)
    inputs = {
        "no sequence": None, "an empty text": "", "a short text": "ACGT", "a number": 3,
        "digits": "ACG7" * 500, "a gap": "AC-T" * 500, "ragged": ["A" * 2000, "A" * 1999], "a mapping": {"x": "ACGT"},
        "codes above 4": codes + 9, "negative codes": codes.astype(int) - 1, "codes of floats": codes + 0.5,
        "NaN": np.full((2, 2000, 4), np.nan), "five letters": np.zeros((2, 2000, 5)), "objects": np.array([{}, {}]),
        "no axis": np.float32(3), "four axes": np.zeros((1, 1, 2000, 4)), "an object": object(),
        "texts and None": ["A" * 2000, None],
        "complex": np.zeros((2, 2000, 4), complex), "infinite": np.full((1, 2000, 4), np.inf), "bytes": b"\xff" * 2000,
    }  # fmt: skip
    calls: dict[str, Callable[[Case], object]] = {
        **{f"predict {name}": predicted("melody", x) for name, x in inputs.items()},
        **{f"batch_size {n!r}": predicted("melody", "A" * 2000, batch_size=n) for n in (0, -1, 2.5, "x", None)},
        "pad B": predicted("melody", "ACGT", pad="B"),
        "an unknown input": predicted("melody", "A" * 2000, neighbours=3),
        "sites without neighbours": predicted("deepcpg", "A" * 41, state=np.zeros((1, 2))),
        "genes of a text": predicted("chromoformer", "ACGT"),
        "genes of nothing": predicted("chromoformer", {}),
        "a region without end": lambda case: _region(case, "chr1:5"),
        "a region beyond": lambda case: _region(case, "chr1:5-99999999"),
        "a region of nowhere": lambda case: _region(case, "chr77:5-10"),
        "a region backwards": lambda case: _region(case, "chr1:10-5"),
        "a region of a number": lambda case: _region(case, 7),
        "no file": loaded("nothing.npz"), "a folder": loaded("."), "dtype": loaded("melody.npz", dtype="float99"),
        "two names": loaded("melody.npz", tracks=["a"] * 7), "tracks of numbers": loaded("melody.npz", tracks=[1, 2]),
        "window 0": loaded("melody.npz", window=0), "window -4": loaded("melody.npz", window=-4),
        "window x": loaded("melody.npz", window="x"), "device": loaded("melody.npz", device="tpux"),
        "precision": loaded("melody.npz", precision="lowest"), "which": loaded("melody.npz", which="best"),
        "an unknown size": loaded("melody.npz", widht=3), "another width": loaded("melody.npz", width=99),
        "another system": loaded("melody.npz", system="deepcpg"), "no system": loaded("melody.npz", system="melodi"),
        "an unknown field": loaded("melody.npz", task={"focl": 3}), "a task of a text": loaded("melody.npz", task="x"),
        "an unknown suffix": exported("x.bin"), "no folder": exported("no/x.npz"), "a folder to write": exported("."),
        "one track": exported("x.npz", tracks=["a"]), "tracks None": exported("x.npz", tracks=[None, None]),
        "a number as source": lambda case: jaxepi.from_pretrained("melody", 7),
        "a list as source": lambda case: jaxepi.from_pretrained("melody", ["a"]),
        "nothing as source": lambda case: jaxepi.load(""), "None as source": lambda case: jaxepi.load(None),
        "an empty mapping": lambda case: jaxepi.load({}), "a mapping of texts": lambda case: jaxepi.load({"a": "b"}),
    }  # fmt: skip
    files = [*((f"weights/{name}/{name}.npz", f"{name}.npz") for name in worlds.SYSTEMS), *raw("genome.fa")]
    return [
        Door("calls", name, files, "", call, [words(name, REFUSED)], output="nothing") for name, call in calls.items()
    ]


def _region(case: Case, region: Any) -> object:
    import jaxepi

    return jaxepi.load(case.folder / "melody.npz").predict_region(region, case.folder / "genome.fa")
