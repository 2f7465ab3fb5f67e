"""Small valid inputs of every kind, for the malformed-input campaign: raw files, datasets, runs and weights."""

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.genome.fasta import Genome

ROOT = Path(__file__).resolve().parents[2]
LENGTHS = {"chr1": 16_000, "chr2": 8_000, "chr3": 8_000, "chr4": 8_000}
LETTERS = np.frombuffer(b"ACGT", np.uint8)
CELLS = ("cellA.tsv", "cellB.bedGraph", "cellC.cov.gz")
MARKS = ("K4", "K27")
COUNTS = {"train": 4, "valid": 2, "test": 1}  # records of the folder in the original Basenji layout
SYSTEMS = ("melody", "deepcpg", "chromoformer")

# The command lines of the valid inputs; {folder} is the folder of the case.
QUIET = "--processes 1 --no-progress --out {folder}/out"
MELODY = (
    "melody --fasta {folder}/genome.fa --bigwigs {folder}/a.bw {folder}/b.bw --window 2000 --valid-chroms chr2 "
    f"--test-chroms chr3 --drop-chroms none {QUIET}"
)
MELODY_FILES = (
    "melody --fasta {folder}/genome.fa.gz --tracks {folder}/tracks.csv --window 2000 --regions {folder}/regions.bed "
    "--windows train=blocks valid=tiles test=random:3 --blocks {folder}/blocks.csv --blacklist "
    f"{{folder}}/blacklist.bed.gz {QUIET}"
)
DEEPCPG = (
    "deepcpg --fasta {folder}/genome.fa --dna-wlen 41 --cpg-wlen 6 --cpg-stats mean var --cpg-stats-cov 1 --profiles "
    f"{' '.join('{folder}/' + cell for cell in CELLS)} --train-chroms chr1 chr4 --valid-chroms chr2 --test-chroms chr3 "
    f"--annotations {{folder}}/islands.bed {QUIET}"
)
DEEPCPG_FILES = (
    "deepcpg --fasta {folder}/genome.fa.gz --dna-wlen 41 --positions {folder}/positions.tsv --regions "
    f"{{folder}}/regions.bed --profiles {{folder}}/allc.tsv.gz {{folder}}/methyl.bed {QUIET}"
)
_FOLDS = "--folds 1=chr1 2=chr2 3=chr3 4=chr4"
_DEPTH = f"--depth {' '.join(f'{mark}={{folder}}/{mark}.bw' for mark in MARKS)} --promoter-length 2000"
GENES = (
    "chromoformer --annotation {folder}/genes.gtf --expression {folder}/expression.tsv --expression-column liver "
    f"--contacts {{folder}}/contacts.tsv {_DEPTH} {_FOLDS} {QUIET}"
)
GENES_FILES = (
    "chromoformer --tss {folder}/tss.tsv --genes {folder}/list.txt --hic {folder}/hic --hic-bin 1000 --whole-scores "
    f"accept --depth-table {{folder}}/marks.csv --promoter-length 2000 {_FOLDS} {QUIET}"
)
GENES_ARRAYS = (
    f"chromoformer --metadata {{folder}}/metadata.csv --npy-dir {{folder}}/npy --marks {' '.join(MARKS)} "
    f"--promoter-length 2000 --chrom-sizes {{folder}}/sizes.txt {QUIET}"
)
_COVERAGE = "coverage --fasta {folder}/genome.fa --targets {folder}/targets.txt --window 1024 --crop 128 --bin-width 64"
COVERAGE = (
    f"{_COVERAGE} --valid chr2 --test chr3 --blacklist {{folder}}/blacklist.bed.gz --stride-train 0.5 "
    f"--layout original {QUIET}"
)
COVERAGE_FILES = (
    f"{_COVERAGE} --sequences {{folder}}/sequences.bed --umap {{folder}}/islands.bed --umap-tfr --umap-clip 0.5 "
    f"--layout original {QUIET}"
)
EPIFORMER = (
    "epiformer --fasta {folder}/genome.fa --targets {folder}/windowed.txt --conservation {folder}/cons.bw --bed "
    f"{{folder}}/windows.bed --seqlen 1000 --binsize 100 --valid chr2 --test chr3 {QUIET}"
)
EPIFORMER_CHUNKS = (
    f"epiformer --chunks {{folder}}/chunks --targets {{folder}}/windowed.txt --valid chr2 --test chr3 {QUIET}"
)
_TRAIN = (
    "--config.report=False --config.eval_every=1 --config.save_every=1 --config.log_every=1 --config.batch_size=4 "
    "--config.eval_batch_size=4 --config.dataset.path={folder}/dataset --config.dataset.sample= "
    "--config.dataset.readers=1 --workdir={folder}/run"
)
TRAIN = {
    "melody": (
        "train --config melody_mt:smoke --config.model.width=4 --config.steps=2 --config.optimizer.warmup_steps=1 "
        f"{_TRAIN}"
    ),
    "deepcpg": f"train --config deepcpg_dna --config.model.hidden=8 --config.unit=step --config.steps=2 {_TRAIN}",
    "chromoformer": (
        "train --config chromoformer_clf:fold2 --config.unit=step --config.steps=2 --config.task.promoter_width=2000 "
        "--config.task.region_width=2000 --config.task.max_pcres=3 --config.model.bin_sizes=(500,100) "
        "--config.model.width=8 --config.model.embedding_hidden=8 --config.model.pairwise_hidden=8 "
        "--config.model.pairwise_layers=1 --config.model.regulation_layers=1 --config.model.regulation_inner=8 "
        f"--config.model.regulation_heads=2 --config.model.regulation_hidden=8 --config.model.head_width=8 {_TRAIN}"
    ),
}


def line(command: str, folder: Path) -> list[str]:
    """The words of a command line for one folder."""
    return [word.format(folder=folder) for word in command.split()]


def write_raw(folder: Path, seed: int) -> None:
    """Genome, tracks, cells and genes as ordinary files, all in one folder."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    genome = {chrom: random_bases(random, length) for chrom, length in LENGTHS.items()}
    write_fasta(folder / "genome.fa", genome)
    _write_bgzip(folder / "genome.fa.gz", (folder / "genome.fa").read_bytes())
    cpgs = {chrom: np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2)) for chrom, codes in genome.items()}
    for name in ("a", "b"):
        write_bigwig(folder / f"{name}.bw", cpgs, lambda count: np.round(random.random(count), 2))
    (folder / "tracks.csv").write_text("name,file\nliver,a.bw\nlung,b.bw\n")
    rows = [f"chr1\t{low}\t{low + 6000}\ttrain" for low in (0, 8000)]
    rows += ["chr2\t0\t8000\tvalid", "chr3\t0\t8000\ttest", "chr4\t1000\t8000\ttrain"]
    (folder / "regions.bed").write_text("\n".join(rows) + "\n")
    places = [("chr1", low, low + 300) for low in range(1500, 14_000, 2500)] + [("chr4", 3000, 3100)]
    (folder / "blocks.csv").write_text("chrom,start,end\n" + "".join(f"{c},{s},{e}\n" for c, s, e in places))
    _write_gzip(folder / "blacklist.bed.gz", "chr1\t100\t200\nchr2\t7900\t8000\n")
    rows = ["index\tidentifier\tfile\tclip\tclip_soft\tscale\tsum_stat\tdescription\tstrand_pair"]
    rows += ["0\tplus\tK4.bw\t384\t32\t1\tmean\tCHIP:K4\t1", "1\tminus\tK4.bw\t64\t8\t0.5\tsum\tCHIP:K4\t0"]
    rows += ["2\tpeaks\tpeaks.narrowPeak.gz\t2\t1\t1\tmean\tDNASE:peaks\t2"]
    (folder / "targets.txt").write_text("\n".join(rows) + "\n")
    _write_gzip(folder / "peaks.narrowPeak.gz", "".join(f"{chrom}\t500\t1400\tx\n" for chrom in LENGTHS))
    windows = [("chr1", "train", 12), ("chr4", "train", 6), ("chr2", "valid", 5), ("chr3", "test", 5)]
    rows = [f"{c}\t{768 * i}\t{768 * i + 768}\t{split}" for c, split, count in windows for i in range(count)]
    (folder / "sequences.bed").write_text("\n".join(rows) + "\n")
    (folder / "config.py").write_bytes((ROOT / "configs" / "melody_mt.py").read_bytes())
    _write_windows(folder, genome)
    _write_cells(folder, cpgs, random)
    _write_genes(folder, random)
    for fasta in ("genome.fa", "genome.fa.gz"):
        Genome(folder / fasta)  # makes its index


def random_bases(random: np.random.Generator, length: int) -> np.ndarray:
    """Base codes (length,) with many CpGs."""
    codes = random.integers(0, 4, length).astype(np.uint8)
    at = random.integers(0, length - 1, length // 25)
    codes[at], codes[at + 1] = 1, 2
    return codes


def write_fasta(path: Path, genome: Mapping[str, np.ndarray]) -> None:
    """Lines of 60 bases."""
    with path.open("wb") as file:
        for name, codes in genome.items():
            letters = LETTERS[codes].tobytes()
            file.write(f">{name}\n".encode())
            file.writelines(letters[low : low + 60] + b"\n" for low in range(0, len(letters), 60))


def _write_bgzip(path: Path, data: bytes) -> None:
    from Bio import bgzf

    with bgzf.BgzfWriter(str(path), "wb") as file:
        for low in range(0, len(data), 8192):  # several blocks
            file.write(data[low : low + 8192])
            file.flush()


def _write_gzip(path: Path, text: str) -> None:
    import gzip

    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def write_bigwig(
    path: Path,
    cpgs: Mapping[str, np.ndarray],
    values: Callable[[int], np.ndarray],
    lengths: Mapping[str, int] = LENGTHS,
) -> None:
    """One value a CpG, drawn by `values(count)`."""
    import pyBigWig

    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(sorted(lengths.items()))
        for chrom in sorted(cpgs):
            at = cpgs[chrom]
            own = values(len(at)).astype(float).tolist()
            file.addEntries([chrom] * len(at), at.tolist(), ends=(at + 2).tolist(), values=own)


def _write_windows(folder: Path, genome: Mapping[str, np.ndarray]) -> None:
    """For Epiformer: a table, windows, conservation, and the same windows as chunk files."""
    import h5py

    random = np.random.default_rng(0)
    rows = ["index\tidentifier\tfile\tclip\tsum_stat\tdescription\tpeak\tscale"]
    rows += ["0\tA\tK4.bw\t128\tmean\tA\tpeaks.narrowPeak.gz\t1", "1\tB\tK4.bw\t64\tmedian\tB\tpeaks.narrowPeak.gz\t2"]
    (folder / "windowed.txt").write_text("\n".join(rows) + "\n")
    places = [(chrom, start) for chrom in LENGTHS for start in range(0, 4_000, 1_000)]
    (folder / "windows.bed").write_text("".join(f"{chrom}\t{start}\t{start + 1_000}\n" for chrom, start in places))
    every = {chrom: np.arange(0, length - 2, 2) for chrom, length in LENGTHS.items()}
    write_bigwig(folder / "cons.bw", every, lambda count: random.random(count).round(3))
    (folder / "chunks").mkdir()
    for number, first in enumerate(range(0, len(places), 10)):
        own = places[first : first + 10]
        with h5py.File(folder / "chunks" / f"x.{number}.h5", "w") as file:
            letters = [LETTERS[genome[chrom][start : start + 1_000]].tobytes().decode() for chrom, start in own]
            names = [f"{chrom}:{start}-{start + 1_000}" for chrom, start in own]
            file.create_dataset("inputs/seq", data=letters, dtype=h5py.string_dtype())
            file.create_dataset("segments/name", data=names, dtype=h5py.string_dtype())
            file.create_dataset("inputs/seqcons", data=random.random((len(own), 1_000)), compression="gzip")
            for name, values in (("value", random.random((len(own), 2, 10))), ("label", np.zeros((len(own), 2, 10)))):
                file.create_dataset(f"targets/{name}", data=values, compression="gzip")


def _write_cells(folder: Path, cpgs: Mapping[str, np.ndarray], random: np.random.Generator) -> None:
    rows = [(chrom, int(p)) for chrom in sorted(cpgs) for p in cpgs[chrom]]

    def some() -> list[tuple[str, int, int]]:
        return [(chrom, p, int(random.integers(2))) for chrom, p in rows if random.random() < 0.6]

    (folder / CELLS[0]).write_text("".join(f"{c}\t{p + 1}\t{v}\n" for c, p, v in some()))
    (folder / CELLS[1]).write_text("".join(f"{c}\t{p}\t{p + 2}\t{v}\n" for c, p, v in some()))
    _write_gzip(
        folder / CELLS[2], "".join(f"{c}\t{p + 1}\t{p + 1}\t{100 * v}\t{3 * v}\t{3 - 3 * v}\n" for c, p, v in some())
    )
    _write_gzip(folder / "allc.tsv.gz", "".join(f"{c}\t{p + 1}\t+\tCGA\t{2 * v}\t2\t1\n" for c, p, v in some()))
    text = [f"{c}\t{p}\t{p + 2}\t.\t4\t+\t{p}\t{p + 2}\t0,0,0\t4\t{100 * v}\n" for c, p, v in some()]
    (folder / "methyl.bed").write_text("".join(text))
    (folder / "positions.tsv").write_text("".join(f"{c}\t{p + 1}\n" for c, p in rows[::3]))
    (folder / "islands.bed").write_text("".join(f"{chrom}\t1000\t3000\n" for chrom in LENGTHS))


def _write_genes(folder: Path, random: np.random.Generator) -> None:
    for mark in MARKS:
        steps = {chrom: np.arange(0, size, 50) for chrom, size in LENGTHS.items()}
        import pyBigWig

        with pyBigWig.open(str(folder / f"{mark}.bw"), "w") as file:
            file.addHeader(sorted(LENGTHS.items()))
            for chrom in sorted(steps):
                depth = random.integers(0, 60, len(steps[chrom])).astype(float)
                file.addEntries(chrom, 0, values=depth.tolist(), span=50, step=50)
    (folder / "marks.csv").write_text("name,file\n" + "".join(f"{mark},{mark}.bw\n" for mark in MARKS))
    gtf, expression, tss, names = [], ["gene\tliver\tlung"], ["gene_id\tchrom\tstart\tstrand"], []
    contacts = ["fragment\tneighbor\tscore"]
    for chrom in LENGTHS:
        for number, start in enumerate((1501, 3501, 5501)):
            name, strand = f"{chrom.upper()}G{number}", "+-"[number % 2]
            where = f"{chrom}\tx\ttranscript\t{start}\t{start + 800}\t.\t{strand}\t."
            gtf.append(f'{where}\tgene_id "{name}.1"; transcript_type "protein_coding";')
            expression.append(f"{name}\t{random.integers(9)}.5\t{number}")
            site = start - 1 if strand == "+" else start + 799
            tss.append(f"{name}\t{chrom}\t{site}\t{strand}")
            names.append(name)
            fragment = f"{chrom}:{start - 500}-{start + 1000}"
            contacts += [f"{fragment}\t{chrom}:{low}-{low + 400}\t{2.5 + low / 10_000}" for low in (200, 7000)]
    tables = {"genes.gtf": gtf, "expression.tsv": expression, "tss.tsv": tss, "contacts.tsv": contacts}
    for file, lines in tables.items():
        (folder / file).write_text("\n".join(lines) + "\n")
    (folder / "list.txt").write_text("\n".join(names[:-1]) + "\n")
    (folder / "hic").mkdir()
    for chrom, size in LENGTHS.items():
        matrix = random.gamma(2.0, 1.0, (size // 1000, size // 1000)).round(3)
        if chrom == "chr2":
            np.savetxt(folder / "hic" / f"{chrom}.txt", matrix, fmt="%.3f")
        else:
            np.save(folder / "hic" / f"{chrom}.npy", matrix)
    _write_arrays(folder, random)


def _write_arrays(folder: Path, random: np.random.Generator) -> None:
    """Genes in the original's layout: a table, and an array a region."""
    lines = ["gene_id,expression,eid,label,chrom,start,end,strand,split,neighbors,scores"]
    (folder / "npy").mkdir()
    for fold in range(1, 5):
        for number in range(2):
            tss, near = 30_000 + 5_000 * number, f"chr{fold}:{70_000 + number}-{70_800 + number}"
            lines.append(f"G{fold}{number},{number}.5,liver,{number},chr{fold},{tss},{tss + 1},+,{fold},{near},2.5")
            for region in (f"chr{fold}:{tss - 20_000}-{tss + 20_000}", near):
                start, end = map(int, region.split(":")[1].split("-"))
                array = random.integers(0, 60, (len(MARKS), end - start)).astype(np.float16)
                np.save(folder / "npy" / f"{region}.npy", array)
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    (folder / "sizes.txt").write_text("".join(f"chr{fold}\t90000\n" for fold in range(1, 5)))


def write_coverage(folder: Path, seed: int) -> None:
    """A folder in the layout of the original Basenji programs: seven records of 96 bp and three tracks."""
    from tensorflow_datasets.proto import tf_example_pb2

    from jaxepi.data.tfrecord import frame

    random = np.random.default_rng(seed)
    (folder / "tfrecords").mkdir(parents=True)
    sizes = {"num_targets": 3, "seq_length": 96, "pool_width": 8, "crop_bp": 16, "target_length": 8, "seq_1hot": True}
    sizes |= {f"{split}_seqs": count for split, count in COUNTS.items()}
    (folder / "statistics.json").write_text(json.dumps(sizes))
    rows = ["\tidentifier\tfile\tdescription", *(f"{k}\ttrack{k}\tx\ttrack number {k}" for k in range(3))]
    (folder / "targets.txt").write_text("\n".join(rows) + "\n")
    places = []
    for split, count in COUNTS.items():
        framed = b""
        for number in range(count):
            example = tf_example_pb2.Example()
            values = {"sequence": random.integers(0, 5, 96).astype(np.uint8).tobytes()}
            values["target"] = random.normal(size=(8, 3)).astype(np.float16).tobytes()
            for name, value in values.items():
                example.features.feature[name].bytes_list.value.append(value)
            framed += frame(example.SerializeToString())
            places.append(f"chr1\t{1000 * number}\t{1000 * number + 64}\t{split}")
        (folder / "tfrecords" / f"{split}-0.tfr").write_bytes(zlib.compress(framed))
    (folder / "sequences.bed").write_text("\n".join(places) + "\n")


def write_weights(folder: Path) -> None:
    """A small model of the system that the folder is called by, in each format that it is exported to."""
    from flax import nnx

    import jaxepi
    from jaxepi.registry import get_system, task_of

    system = get_system(folder.name)
    toy = system.toy(0, 0)
    task = task_of(system, toy.model, toy.task, toy.manifest)
    model = task.build_model(nnx.Rngs(0))
    folder.mkdir(parents=True)
    for suffix in (".pth", ".npz", ".safetensors") + ((".h5",) if system.name == "deepcpg" else ()):
        jaxepi.export(model, folder / f"{system.name}{suffix}", tracks=task.tracks)


def make(base: Path, part: str, seed: int, run: Callable[[Any, list[str]], object]) -> None:
    """Makes one part of the valid inputs unless it is there.

    Args:
      base: of all of them.
      part: raw, coverage, a system in weights, or dataset or run in the folder of a system.
      seed: of all that is drawn.
      run: runs the main of a program on a command line, and raises unless it succeeds.
    """
    place = base / part
    if place.exists():
        return
    if part == "raw":
        write_raw(place, seed)
    elif part == "coverage":
        write_coverage(place / "folder", seed)
    elif place.parent.name == "weights":
        write_weights(place)
    elif place.name == "dataset":
        from data_prep.__main__ import main as prepare

        make(base, "raw", seed, run)
        command = {"melody": MELODY, "deepcpg": DEEPCPG, "chromoformer": GENES}[place.parent.name]
        run(prepare, [word.replace(f"{base / 'raw'}/out", str(place)) for word in line(command, base / "raw")])
    else:
        from jaxepi.verbs.command import main

        make(base, f"{place.parent.name}/dataset", seed, run)
        run(main, line(TRAIN[place.parent.name], place.parent))
