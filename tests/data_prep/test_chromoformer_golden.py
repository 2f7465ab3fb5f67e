"""Records against the original: its preprocessing scripts, and the tensors of its dataset class."""

import csv
import gzip
import json
import math
from pathlib import Path

import numpy as np
import pysam
import pytest

from data_prep.chromoformer.recipe import MARKS

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "chromoformer"
INPUTS = GOLDEN / "preprocess_inputs"
DEMO = ROOT.parent / "shared" / "data" / "chromoformer"
COMMON = ["--processes", "1", "--no-progress"]


def tagalign_to_bam(path, out, lengths):
    """Reads as they are, one alignment each, sorted and indexed."""
    header = {"HD": {"SO": "coordinate"}, "SQ": [{"SN": chrom, "LN": size} for chrom, size in lengths.items()]}
    order = {chrom: i for i, chrom in enumerate(lengths)}
    rows = [line.split("\t") for line in gzip.open(path, "rt")]
    with pysam.AlignmentFile(out, "wb", header=header) as bam:
        for row in sorted(rows, key=lambda row: (order[row[0]], int(row[1]))):
            read = pysam.AlignedSegment(bam.header)
            read.query_name, read.reference_id, read.reference_start = "r", order[row[0]], int(row[1])
            read.cigarstring, read.flag = f"{int(row[2]) - int(row[1])}M", 16 if row[5].strip() == "-" else 0
            bam.write(read)
    pysam.index(str(out))


@pytest.fixture(scope="module")
def lengths():
    return {c: int(n) for c, n in (line.split() for line in (INPUTS / "hg19.fa.sizes").read_text().splitlines())}


@pytest.fixture(scope="module")
def depth(tmp_path_factory, lengths):
    """Depth files of E003: --depth words."""
    folder = tmp_path_factory.mktemp("depth")
    words = []
    for mark in MARKS:
        out = folder / f"{mark}.bam"
        tagalign_to_bam(INPUTS / f"E003-{mark}.tagAlign.gz", out, lengths)
        words.append(f"{mark}={out}")
    return words


def tables(folder, tissue):
    """The annotation of the golden run as tables."""
    notes = json.loads((INPUTS / "annotations.json").read_text())
    rows = [
        f"{gene}\t{chrom}\t{start}\t{strand}\n"
        for gene, sites in notes["ensg2tss"].items()
        for chrom, start, _, strand in sites
    ]
    (folder / "tss.tsv").write_text("gene_id\tchrom\tstart\tstrand\n" + "".join(rows))
    rows = [f"{tss}\t{fragment or ''}\n" for tss, fragment in notes["tss2fragment"].items()]
    (folder / "fragments.tsv").write_text("tss\tfragment\n" + "".join(rows))
    rows = [f"{first}\t{second}\t{score}\n" for first, second, score in notes["pair2score"][tissue]]
    (folder / "contacts.tsv").write_text("fragment\tneighbor\tscore\n" + "".join(rows))
    return [
        *("--tss", folder / "tss.tsv", "--tss-fragments", folder / "fragments.tsv"),
        *("--contacts", folder / "contacts.tsv", "--contacts-direction", "as-listed"),
        *("--expression", INPUTS / "raw_exp.tsv", "--genes", INPUTS / "refGene.tsv"),
    ]


@pytest.mark.parametrize(("eid", "tissue"), [("E003", "H1"), ("E114", "LG")])
def test_from_reads_to_records(tmp_path, prepare, tools, depth, eid, tissue):
    argv = ["chromoformer", *tables(tmp_path, tissue), "--expression-column", eid, "--depth", *depth, *COMMON]
    argv += ["--metadata-out", tmp_path / "meta.csv", "--out", tmp_path / "d"]
    status, _, err = prepare([str(word) for word in argv])
    assert status == 0, err
    expected = (INPUTS / "expected_train.csv").read_text().splitlines()
    own = [line for line in expected if line.startswith("gene_id") or f",{eid}," in line]
    assert (tmp_path / "meta.csv").read_text().splitlines() == own
    golden = np.load(GOLDEN / "preprocess.npz")
    records = {r["key"]: r for split in tools.load(tmp_path / "d").values() for r in split}
    assert len(records) == len(own) - 1
    seen = set()
    for record in records.values():
        tss = record["start"]
        regions = [f"{record['chrom']}:{tss - 20_000}-{tss + 20_000}", *record["neighbors"].split(";")]
        edges = np.cumsum([0, *(-(-int(n) // 100) for n in record["pcre_length"])])
        parts = [record["promoter_sum"], *(record["pcre_sum"][a:b] for a, b in zip(edges, edges[1:], strict=False))]
        for region, sums in zip(filter(None, regions), parts, strict=True):
            if f"out:npy/{region}" in golden:  # the golden arrays are those of E003's regions
                np.testing.assert_array_equal(sums, slow_sums(golden[f"out:npy/{region}"], 100))
                seen.add(f"out:npy/{region}")
    assert seen == set(golden.files) if eid == "E003" else len(seen) > 20


def slow_sums(array, size):
    return np.array([array[:, i : i + size].astype(float).sum(axis=1) for i in range(0, array.shape[1], size)])


def test_bam_depth_is_that_of_the_original(depth, lengths):
    from data_prep.sources.depth import BamDepth
    from data_prep.sources.tracks import TrackFile

    reader = BamDepth(TrackFile("m", Path(dict(word.split("=") for word in depth)["H3K4me1"])), reads="all")
    made = {chrom: reader.read(chrom, 0, size) for chrom, size in lengths.items()}
    compared = 0
    for line in gzip.open(INPUTS / "expected_E003-H3K4me1.bedGraph.gz", "rt"):
        chrom, start, end, value = line.split()
        assert (made[chrom][int(start) : int(end)] == float(value)).all(), line
        compared += int(end) - int(start)
    assert compared == sum(lengths.values())


def items(record, marks, bin_sizes, w_prom, w_max, most, resolution):
    """Tensors of the original's dataset class from a record, by the specification."""
    half = record["promoter_sum"].shape[0] * resolution // 2
    cut = slice((half - w_prom // 2) // resolution, (half + w_prom // 2) // resolution)
    edges = np.cumsum([0, *(-(-int(n) // resolution) for n in record["pcre_length"])])
    count = len(record["score"])
    made = {}
    for size in bin_sizes:
        nb = w_max // size
        promoter, valid = features(record["promoter_sum"][cut], w_prom, size, nb, resolution)
        if record["minus"]:
            promoter, valid = promoter[::-1], valid[::-1]
        made[f"promoter_feats/{size}"] = promoter[None]
        made[f"promoter_pad_masks/{size}"] = ~np.outer(valid, valid)[None, None]
        pcres = np.zeros((most, nb, marks))
        masks = np.ones((most, 1, nb, nb), bool)
        for j in range(count):
            pcres[j], own = features(
                record["pcre_sum"][edges[j] : edges[j + 1]], int(record["pcre_length"][j]), size, nb, resolution
            )
            masks[j, 0] = ~np.outer(valid, own)
        made[f"pcre_feats/{size}"], made[f"pcre_pad_masks/{size}"] = pcres, masks
        used = np.arange(most + 1) <= count
        made[f"interaction_masks/{size}"] = ~np.outer(used, used)[None]
    made["interaction_freq"] = np.zeros((most + 1, most + 1), np.float32)
    made["interaction_freq"][0, 1 : count + 1] = record["score"]
    made["label"] = record["label"]
    made["label_regression"] = np.log2(record["expression"] + 1)
    return made


def features(sums, length, size, nb, resolution):
    fine = size // resolution
    n = math.ceil(length / size)
    coarse = np.array([sums[i * fine : (i + 1) * fine].sum(axis=0, dtype=float) for i in range(n)])
    bases = np.minimum(size, length - size * np.arange(n))
    left = math.ceil((nb - n) / 2)
    padded, valid = np.zeros((nb, sums.shape[1])), np.zeros(nb, bool)
    padded[left : left + n], valid[left : left + n] = np.log1p(coarse / bases[:, None]), True
    return padded, valid


def compare(golden, records, marks, *settings):
    genes = {name.split("/")[0] for name in golden.files if name.startswith("out:")}
    for gene in genes:
        made = items(records[gene.removeprefix("out:")], marks, *settings)
        names = {name.split("/", 1)[1] for name in golden.files if name.startswith(f"{gene}/")}
        assert names == set(made)
        for name in names:
            want = golden[f"{gene}/{name}"]
            if want.dtype == bool or name == "label":
                np.testing.assert_array_equal(made[name], want, err_msg=f"{gene} {name}")
            else:
                np.testing.assert_allclose(made[name], want, rtol=1e-5, atol=1e-6, err_msg=f"{gene} {name}")
    return len(genes)


def test_made_up_dataset_items(tmp_path, prepare, tools):
    golden = np.load(GOLDEN / "dataset_items_tiny.npz")
    columns = {n.removeprefix("in:meta/"): golden[n].astype(str) for n in golden.files if n.startswith("in:meta/")}
    with (tmp_path / "meta.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    (tmp_path / "npy").mkdir()
    for name in golden.files:
        if name.startswith("in:npy/"):
            np.save(tmp_path / "npy" / f"{name.removeprefix('in:npy/')}.npy", golden[name])
    argv = ["chromoformer", "--metadata", tmp_path / "meta.csv", "--npy-dir", tmp_path / "npy", "--marks", *"abc"]
    status, _, err = prepare([str(w) for w in [*argv, "--resolution", 50, "--out", tmp_path / "d", *COMMON]])
    assert status == 0, err
    records = {r["key"]: r for split in tools.load(tmp_path / "d").values() for r in split}
    assert compare(golden, records, 3, (1000, 400, 250), 8000, 10_000, 4, 50) == 4


@pytest.mark.skipif(not DEMO.is_dir(), reason="the real demo regions are not at hand")
def test_real_dataset_items(tmp_path, prepare, tools):
    meta = list(csv.DictReader((DEMO / "demo_meta.csv").open()))
    golden = np.load(GOLDEN / "dataset_items_demo.npz")
    argv = ["chromoformer", "--metadata", DEMO / "demo_meta.csv", "--npy-dir", DEMO / "demo_regions.npz"]
    argv += ["--chrom-sizes", DEMO / "hg19.fa.sizes", "--out", tmp_path / "d", *COMMON]
    status, out, err = prepare([str(word) for word in argv])
    assert status == 0, err
    records = tools.load(tmp_path / "d")["fold1"]
    assert [record["key"] for record in records] == [row["gene_id"] for row in meta]
    assert [record["neighbors"] for record in records] == [row["neighbors"] for row in meta]
    assert records[0]["promoter_sum"].dtype == np.uint16 and "100 genes in" in out
    assert compare(golden, {r["key"]: r for r in records}, 7, (2000, 500, 100), 40_000, 40_000, 8, 100) == 3
