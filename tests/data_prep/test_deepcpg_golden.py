"""Parity of the records with the files that the original's data script writes for the same inputs."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_prep.deepcpg.command import input_files, make_recipe
from data_prep.deepcpg.options import parser

_REAL = Path(__file__).parents[3] / "shared" / "data" / "deepcpg"
_STATISTICS = ["mean", "mode", "var", "cat_var", "cat2_var", "entropy", "diff"]
_PARITY = ["--unsorted", "sort", "--bedgraph-base", 1, "--n-bases", "random", "--diff-maximum", "truncated"]
_PARITY += ["--window-sites", "neighbours", "--window-centre", "rounded", "--annotation-edges", "closed"]
_PARITY += ["--chrom-prefix", "strip", "--unobserved-cells", "allow", "--no-progress"]
ATGC_TO_ACGT = np.array([0, 3, 2, 1, 4])


@pytest.fixture(scope="module")
def pipeline(golden_path, tmp_path_factory):
    """A writable copy of the golden inputs: an index file is made beside the FASTA."""
    source = golden_path("deepcpg", "data_pipeline")
    folder = tmp_path_factory.mktemp("golden") / "data_pipeline"
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def make(folder, *words):
    """The recipe of a command line and all its records, per split."""
    args = parser().parse_args([str(w) for w in [*_PARITY, *words, "--out", folder / "unused"]])
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    recipe = make_recipe(args, input_files(args), scratch)
    records = {
        split: [record for block in blocks for _, record in recipe.make_block(block).records]
        for split, blocks in recipe.blocks().items()
    }
    return recipe, records


def expected(path, keyword):
    """One array of a golden file, its chunks behind each other."""
    arrays = np.load(path)
    return np.concatenate([arrays[key] for key in arrays if key.split(":/")[-1] == keyword])


def check(recipe, records, path):
    """Compares records in genome order with everything in an expected file."""
    arrays = np.load(path)
    names = dict.fromkeys(key.split(":/")[-1] for key in arrays)
    cells = [cell.name for cell in recipe.store.cells]
    assert [r["start"] + 1 for r in records] == expected(path, "pos").tolist()
    checked = set()
    for name in names:
        want, parts = expected(path, name), name.split("/")
        checked.add(parts[0] if parts[0] in ("pos", "chromo") else "/".join(parts[:2]))
        if name == "chromo":
            got = np.array([r["chrom"].encode() for r in records])
        elif name == "pos":
            continue
        elif name == "inputs/dna":
            got = np.stack([r["sequence"] for r in records])
            want = ATGC_TO_ACGT[want]
        elif parts[:2] == ["inputs", "cpg"]:
            row = cells.index(parts[2])
            stored = np.stack([r[{"state": "state", "dist": "distance"}[parts[3]]][row] for r in records])
            if parts[3] == "dist":
                got = np.where(stored == 65535, -1, stored.astype(int))
                want = np.minimum(want, recipe.layout.max_distance)
            elif stored.dtype == np.uint8:
                got = np.where(stored == 255, -1, stored.astype(int))
            else:
                got = np.where(np.isnan(stored), -1, stored.astype(np.float32))
        elif parts[:2] == ["outputs", "cpg"]:
            got = np.full(len(records), -1.0)
            for i, record in enumerate(records):
                at = np.flatnonzero(record["cell"] == cells.index(parts[2]))
                if len(at):
                    got[i] = np.rint(float(record["value"][at[0]]))
        elif parts[:2] == ["inputs", "annos"]:
            column = list(recipe.annotations).index(parts[2])
            got = np.array([r["annotation"][column] for r in records])
        else:
            column = recipe.layout.statistics.names.index("/".join(parts[1:]))
            got = np.array([r["statistics"][column] for r in records])
            got = np.where(np.isnan(got), -1, got)
        if want.dtype.kind == "f" and parts[0] == "outputs":
            np.testing.assert_allclose(got, want, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)
    return checked


def cells_of(folder):
    return ["--profiles", *sorted((folder / "cpg").iterdir())]


def rows_of(path):
    """(chromosome, 1-based position, value) of a golden profile, in the order of the file."""
    text = (gzip.open(path, "rt") if path.suffix == ".gz" else path.open()).read()
    fields = [line.split() for line in text.splitlines() if not line.startswith(("#", "track"))]
    return [(own[0].removeprefix("chr"), int(own[1]), own[-1]) for own in fields]


def write_rows(path, rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def test_run_a_everything(pipeline):
    words = [*cells_of(pipeline), "--fasta", pipeline / "dna", "--dna-wlen", 41, "--cpg-wlen", 10]
    words += ["--annotations", *(pipeline / "anno").iterdir(), "--cpg-stats", *_STATISTICS, "--cpg-stats-cov", 2]
    words += ["--win-stats", *_STATISTICS, "--win-stats-wlen", 101, 401]
    words += ["--train-chroms", "1", "--valid-chroms", "none", "--test-chroms", "X"]
    recipe, records = make(pipeline, *words)
    assert [cell.binary for cell in recipe.store.cells] == [True, True, False, True]
    checked = check(recipe, records["train"] + records["test"], pipeline / "expected_A.npz")
    assert checked == {
        "pos", "chromo", "inputs/dna", "inputs/cpg", "inputs/annos", "outputs/cpg", "outputs/cpg_stats",
        "outputs/win_stats",
    }  # fmt: skip


def test_run_b_positions_and_coverage(pipeline):
    words = [*cells_of(pipeline), "--fasta", pipeline / "dna", "--dna-wlen", 101, "--cpg-wlen", 6, "--cpg-cov", 2]
    words += ["--positions", pipeline / "positions.tsv", "--chroms", "1", "--train-chroms", "1"]
    recipe, records = make(pipeline, *words)
    check(recipe, records["train"], pipeline / "expected_B.npz")


def drawn(rows, count, generator):
    """The rows that the original's `--nb_sample_chromo` keeps: one draw a chromosome, in the order of the file."""
    kept = []
    for chrom in sorted({row[0] for row in rows}):
        own = [row for row in rows if row[0] == chrom]
        chosen = generator.choice(len(own), count, replace=False) if len(own) > count else range(len(own))
        kept += [own[i] for i in chosen]
    return kept


def test_run_c_thinned_profiles(pipeline, tmp_path):
    generator = np.random.RandomState(3)
    cells = [(path, drawn(rows_of(path), 25, generator)) for path in sorted((pipeline / "cpg").iterdir())]
    union = sorted({row[:2] for _, rows in cells for row in rows})
    positions = write_rows(tmp_path / "positions.tsv", drawn(union, 25, generator))
    paths = [write_rows(tmp_path / f"{path.name.split('.')[0]}.tsv", rows) for path, rows in cells]
    words = ["--profiles", *paths, "--positions", positions, "--cpg-wlen", 8, "--train-chroms", "1"]
    recipe, records = make(tmp_path, *words, "--valid-chroms", "X", "--test-chroms", "none")
    check(recipe, records["train"] + records["valid"], pipeline / "expected_C.npz")


def test_run_d_sites_that_no_cell_has(pipeline, tmp_path):
    paths = [
        write_rows(tmp_path / f"{path.name.split('.')[0]}.tsv", rows_of(path)[:60])
        for path in (pipeline / "cpg").iterdir()
    ]
    rows = [line.split() for line in (pipeline / "positions.tsv").read_text().splitlines() if line[0] != "#"]
    sites = sorted({(chrom.removeprefix("chr"), int(position)) for chrom, position in rows})[:60]
    positions = write_rows(tmp_path / "positions.tsv", sites)
    words = ["--profiles", *paths, "--fasta", pipeline / "dna", "--dna-wlen", 21, "--positions", positions]
    words += ["--cpg-cov", 0, "--train-chroms", "1", "--valid-chroms", "X", "--test-chroms", "none"]
    recipe, records = make(tmp_path, *words)
    check(recipe, records["train"] + records["valid"], pipeline / "expected_D.npz")
    assert any(len(record["cell"]) == 0 for record in records["train"])


def test_real_cells(tmp_path):
    if not _REAL.exists():
        pytest.skip("the real profiles are not beside the checkout")
    words = ["--profiles", *_REAL.glob("*.bed.gz"), "--cpg-wlen", 10, "--annotations", *(_REAL / "annos").iterdir()]
    words += ["--cpg-stats", "mean", "mode", "var", "cat_var", "cat2_var", "diff", "--cpg-stats-cov", 1]
    words += ["--train-chroms", "18", "--valid-chroms", "none", "--test-chroms", "19"]
    recipe, records = make(tmp_path, *words)
    assert len(records["train"]) == 8712 and len(records["test"]) == 8311
    want = _REAL / "expected_dcpg_data_wlen10.npz"
    checked = check(recipe, records["train"] + records["test"], want)
    assert {"inputs/cpg", "inputs/annos", "outputs/cpg", "outputs/cpg_stats"} <= checked


def test_correct_treatments_differ_where_they_should(pipeline):
    common = [
        *cells_of(pipeline),
        "--fasta",
        pipeline / "dna",
        "--dna-wlen",
        41,
        "--cpg-wlen",
        10,
        "--cpg-stats",
        "diff",
    ]
    common += ["--annotations", pipeline / "anno" / "CGI.bed", "--win-stats", "mean", "--win-stats-wlen", 401]
    common += ["--train-chroms", "1", "--valid-chroms", "none", "--test-chroms", "X"]
    correct = ["--n-bases", "keep", "--diff-maximum", "exact", "--window-sites", "all", "--window-centre", "exact"]
    correct += ["--annotation-edges", "half-open"]
    _, original = make(pipeline, *common)
    _, ours = make(pipeline, *common, *correct)
    original, ours = (np.array(own["train"] + own["test"]) for own in (original, ours))
    unknown = np.stack([r["sequence"] for r in ours]) == 4
    sequences = np.stack([r["sequence"] for r in original])
    assert unknown.any() and (sequences[unknown] < 4).all()
    np.testing.assert_array_equal(np.where(unknown, 4, sequences), np.stack([r["sequence"] for r in ours]))
    diff, mean = np.stack([r["statistics"] for r in ours]).T
    old_diff, old_mean = np.stack([r["statistics"] for r in original]).T
    for record, different in zip(ours, diff, strict=True):
        if len(record["value"]) >= 3:
            assert different == (len(set(record["value"].tolist())) > 1)
        else:
            assert np.isnan(different)
    assert (np.isnan(old_diff) == np.isnan(diff)).all() and (old_diff != diff)[~np.isnan(diff)].any()
    assert not np.allclose(mean, old_mean)
    inside = [sum(int(r["annotation"][0]) for r in own) for own in (original, ours)]
    assert inside[0] >= inside[1] > 0
