"""The command line on real files: a whole dataset, each option, and bad input in one sentence."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from data_prep.deepcpg.command import input_files, make_recipe
from data_prep.deepcpg.options import parser
from jaxepi.errors import JaxepiError


class Lab:
    """A genome of four chromosomes and three cells on disk."""

    def __init__(self, folder, tools):
        rng = np.random.default_rng(0)
        self.folder = folder
        self.codes = {c: tools.random_codes(rng, n) for c, n in {"1": 3000, "2": 2000, "13": 1500, "X": 900}.items()}
        self.fasta = tools.write_fasta(folder / "genome.fa", self.codes)
        self.cells = []
        for number in range(3):
            lines = []
            for chrom in sorted(self.codes):
                codes = self.codes[chrom]
                at = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
                at = at[rng.random(len(at)) < 0.6]
                lines += [f"{chrom}\t{p + 1}\t{v}" for p, v in zip(at, rng.integers(0, 2, len(at)), strict=True)]
            self.cells.append(folder / f"cell{number}.tsv")
            self.cells[-1].write_text("\n".join(lines) + "\n")

    def cpgs(self, chrom):
        codes = self.codes[chrom]
        return np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))

    def argv(self, *more, fasta=True):
        words = ["--profiles", *self.cells, "--out", self.folder / "d", "--processes", 1, "--no-progress"]
        words += ["--fasta", self.fasta, "--dna-wlen", 21] if fasta else []
        return [str(word) for word in [*words, *more]]

    def recipe(self, *more, fasta=True):
        args = parser().parse_args(self.argv(*more, fasta=fasta))
        scratch = self.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return make_recipe(args, input_files(args), scratch)

    def records(self, *more, fasta=True):
        recipe = self.recipe(*more, fasta=fasta)
        return {s: [r for b in own for _, r in recipe.make_block(b).records] for s, own in recipe.blocks().items()}


@pytest.fixture
def lab(tmp_path, tools):
    return Lab(tmp_path, tools)


def test_every_option_is_explained():
    for action in parser()._actions:
        assert action.help, action.option_strings


def test_a_whole_dataset(lab, tools, prepare):
    words = lab.argv("--cpg-wlen", 4, "--cpg-stats", "mean", "mode", "--cpg-stats-cov", 2, "--processes", 2)
    status, out, err = prepare(["deepcpg", *words])
    assert status == 0, err
    assert "train: " in out and "3 cells in" in out and err == ""
    made = tools.load(lab.folder / "d")
    want = lab.records("--cpg-wlen", 4, "--cpg-stats", "mean", "mode", "--cpg-stats-cov", 2)
    assert made.keys() == want.keys() == {"train", "valid", "test"}
    for split, records in want.items():
        assert len(made[split]) == len(records)
        for a, b in zip(made[split], records, strict=True):
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)
                if isinstance(b[name], np.ndarray):
                    assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape
    manifest = json.loads((lab.folder / "d" / "manifest.json").read_text())
    assert manifest["system"] == "deepcpg" and manifest["cells"] == ["cell0", "cell1", "cell2"]
    assert (manifest["window"], manifest["neighbours"], manifest["max_distance"]) == (21, 4, 25_000)
    assert manifest["binary_cells"] == [True] * 3 and manifest["random_n"] is False
    assert manifest["splits"]["train"]["not_cpg"] == 0 and manifest["splits"]["train"]["shards"] == 1
    assert not list(lab.folder.glob("d.*"))  # nothing is left beside it
    for name in ("d.tmp-host-1", "d.profiles.tmp-host-1"):
        (lab.folder / name).mkdir()  # as a process leaves them that is killed when the dataset is in place
    status, out, _ = prepare(["deepcpg", *words])
    assert status == 0 and "nothing to do" in out and not list(lab.folder.glob("d.*"))
    status, _, err = prepare(["deepcpg", *words, "--cpg-cov", "2"])
    assert status == 2 and err.count("\n") == 1 and "was made with --cpg-cov 1, not 2" in err
    lab.cells[0].write_text(lab.cells[0].read_text().replace("\t1\n", "\t0\n", 1))
    status, _, err = prepare(["deepcpg", *words])
    assert status == 2 and "another content of" in err and "(cell cell0)" in err


@pytest.mark.slow
def test_beam_gives_the_same_records(lab, tools, prepare):
    for more in ((), ("--beam-runner", "DirectRunner")):
        words = ["deepcpg", *lab.argv("--cpg-wlen", 4, "--out", lab.folder / f"d{len(more)}", *more)]
        status, _, err = prepare(words)
        assert status == 0, err
    plain, beam = (tools.load(lab.folder / name) for name in ("d0", "d2"))
    for split in plain:
        for a, b in zip(plain[split], beam[split], strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])


def test_without_sequences(lab):
    records = lab.records("--cpg-wlen", 6, fasta=False)
    assert all(r["sequence"].shape == (0,) and r["state"].shape == (3, 6) for own in records.values() for r in own)


def test_sites_without_cells(lab):
    positions = lab.folder / "p.tsv"
    low, high = lab.cpgs("1")[[2, 40]].tolist()
    positions.write_text(f"1\t{low + 1}\n1\t{high + 1}\n")
    words = [w for w in lab.argv("--positions", positions, "--train-chroms", "1") if w not in map(str, lab.cells)]
    words.remove("--profiles")
    args = parser().parse_args(words)
    recipe = make_recipe(args, input_files(args), lab.folder)
    (block,) = recipe.blocks()["train"]
    (_, first), (_, second) = recipe.make_block(block).records
    assert first["key"] == f"1:{low}" and second["start"] == high
    assert first["state"].shape == (0, 0) and first["cell"].shape == (0,)


def test_cpg_cov_chroms_and_draws(lab):
    records = lab.records("--cpg-cov", 3)
    assert all(r["cell"].tolist() == [0, 1, 2] for own in records.values() for r in own)
    assert {r["chrom"] for own in lab.records("--chroms", "1", "X").values() for r in own} == {"1", "X"}
    drawn = lab.records("--sites-per-chrom", 5)
    assert [len(drawn[split]) for split in ("train", "valid", "test")] == [5, 10, 5]


def test_positions_far_from_the_genome_are_told(lab, prepare):
    """Sites that are at no CG are counted, and the user is warned; more than half of them are an error."""
    path = lab.cells[0]
    lines = [line.split("\t") for line in path.read_text().splitlines()]

    def shift(share):
        rows = [(c, int(p) + (number % 10 < 10 * share), v) for number, (c, p, v) in enumerate(lines)]
        path.write_text("".join(f"{c}\t{p}\t{v}\n" for c, p, v in rows))

    shift(0.4)
    recipe = lab.recipe()
    tally = recipe.make_block(recipe.blocks()["train"][0]).tally
    assert tally.sums["not_cpg"] > 0.1 * tally.sums["records"]
    shift(1)
    with pytest.raises(JaxepiError, match=r"cell0\.tsv: \d+ of \d+ sites are at no CG of the FASTA, such as 1:"):
        lab.recipe()
    status, out, err = prepare(["deepcpg", *lab.argv("--cpg-wlen", 4, fasta=False)])
    assert status == 0 and "without --fasta nothing checked that sites are CpGs" in out


def replace(path, number, line):
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = line
    path.write_text("\n".join(lines) + "\n")


BAD = {
    "unsorted": (lambda lab: replace(lab.cells[1], 5, ["1\t1\t0"]), (), "cell1.tsv line 5: 1:1 comes after 1:"),
    "duplicate": (
        lambda lab: replace(lab.cells[1], 2, [lab.cells[1].read_text().splitlines()[0]]),
        (),
        "cell1.tsv line 2: 1:",
    ),
    "absent": (
        lambda lab: replace(lab.cells[2], 1, ["0\t4\t1"]),
        (),
        "line 1: chromosome '0' is not in the FASTA (1, 2",
    ),
    "naming": (lambda lab: replace(lab.cells[2], 1, ["chr1\t4\t1"]), (), "line 1 names 'chr1' where the FASTA has '1'"),
    "beyond": (
        lambda lab: lab.cells[0].write_text("1\t4\t1\n1\t3001\t0\n"),
        (),
        "cell0.tsv line 2: position 3001 lies beyond the end of 1, which has 3000 bp",
    ),
    "value": (lambda lab: replace(lab.cells[0], 3, ["1\t2999\t1.5"]), (), "cell0.tsv line 3: methylation value '1.5'"),
    "binary": (
        lambda lab: replace(lab.cells[0], 1, ["1\t1\t0.5"]),
        ("--values", "binary"),
        "cell0.tsv line 1: methylation of 1:1 is 0.5, but --values binary",
    ),
    "columns": (lambda lab: replace(lab.cells[0], 4, ["1 2999"]), (), "cell0.tsv line 4 has 2 column(s) where 3"),
    "unobserved": (
        lambda lab: lab.cells[0].write_text("".join(f"1\t{i + 1}\t1\n" for i in lab.cpgs("1")[:8])),
        (),
        "cell0.tsv: cell 'cell0' was observed at none of the",
    ),
    "header": (
        lambda lab: lab.cells[0].write_text("chrom\tpos\tvalue\n1\t5\t1\n"),
        (),
        "cell0.tsv line 1 is a header ('chrom pos value') where a site was expected: remove it, or begin it with #",
    ),
    "folder": (lambda lab: lab.cells.append(lab.folder), (), "is a folder: a file was expected (cell)"),
    "missing": (lambda lab: lab.cells[0].unlink(), (), "cell0.tsv does not exist"),
    "same name": (
        lambda lab: lab.cells.append(shutil.copy(lab.cells[0], lab.folder / "cell0.again.tsv")),
        (),
        "are both called 'cell0'",
    ),
    "even window": (lambda lab: None, ("--dna-wlen", 20), "--dna-wlen is 20: an odd number"),
    "odd neighbours": (lambda lab: None, ("--cpg-wlen", 5), "--cpg-wlen is 5: an even number"),
    "distance": (lambda lab: None, ("--max-distance", 65535), "--max-distance is 65535: 1 to 65534"),
    "windows": (lambda lab: None, ("--win-stats", "mean", "--window-sites", "neighbours"), "needs neighbours"),
    "coverage": (lambda lab: None, ("--cpg-cov", 4), "--cpg-cov is 4, but there are only 3 profiles"),
    "chroms": (lambda lab: None, ("--chroms", "1", "chr2"), "--chroms names chr2"),
    "shores of nothing": (
        lambda lab: None,
        ("--annotation-shores", 200),
        "need regions: give files with --annotations",
    ),
    "negative shores": (
        lambda lab: (lab.folder / "a.bed").write_text("1\t5\t9\n"),
        ("--annotations", "{folder}/a.bed", "--annotation-shores", -1),
        "--annotation-shores is -1: a number of at least 0",
    ),
    "shores twice": (
        lambda lab: [(lab.folder / name).write_text("1\t5\t9\n") for name in ("a.bed", "a_shores.bed")],
        ("--annotations", "{folder}/a.bed", "{folder}/a_shores.bed", "--annotation-shores", 9),
        "a_shores.bed is called as the shores of",
    ),
    "no fasta": (lambda lab: None, ("--fasta", "none.fa"), "none.fa does not exist"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(kind, lab, prepare):
    spoil, more, message = BAD[kind]
    spoil(lab)
    more = [str(word).replace("{folder}", str(lab.folder)) for word in more]
    status, out, err = prepare(["deepcpg", *lab.argv(*more)])
    assert status == 2 and out == ""
    sentence = err.splitlines()[-1]
    assert sentence.startswith("error: ") and message in sentence
    assert not list(lab.folder.glob("d*"))


def test_nothing_to_record(lab, prepare):
    positions = lab.folder / "p.tsv"
    positions.write_text("1\t5\n")
    for more in ((), ("--positions", positions)):
        words = (
            [w for w in lab.argv(*more, fasta=False) if w not in map(str, lab.cells)] if more else lab.argv(fasta=False)
        )
        if more:
            words.remove("--profiles")
        status, _, err = prepare(["deepcpg", *words])
        assert status == 2 and "records would be empty" in err


def test_other_names_in_annotations_and_regions(lab, prepare):
    bed = lab.folder / "CGI.bed"
    bed.write_text("chr1\t0\t500\ttrain\n")
    for option in ("--annotations", "--regions"):
        status, _, err = prepare(["deepcpg", *lab.argv(option, bed)])
        assert status == 2 and "CGI.bed names 'chr1' where a profile has '1'" in err
    inside = lab.records("--annotations", bed, "--chrom-prefix", "add")["train"]
    assert [int(r["annotation"][0]) for r in inside] == [int(r["start"] < 500) for r in inside]


def test_shores_and_extended_regions(lab):
    bed = lab.folder / "CGI.bed"
    bed.write_text("1\t1000\t1100\n")
    words = ["--annotations", bed, "--annotation-extend", 300, "--annotation-shores", 200]
    assert lab.recipe(*words).annotation_names == ["CGI", "CGI_shores"]
    for record in lab.records(*words)["train"]:
        site = record["start"]
        assert record["annotation"].tolist() == [900 <= site < 1200, 700 <= site < 900 or 1200 <= site < 1400]
        assert record["annotation"].dtype == np.uint8
    assert sum(int(r["annotation"][1]) for r in lab.records(*words)["train"]) > 3


def test_mixed_names_without_a_genome(lab):
    text = lab.cells[1].read_text()
    lab.cells[1].write_text("".join(f"chr{line}\n" for line in text.splitlines()))
    with pytest.raises(JaxepiError, match="names 'chr1' where .*cell0.tsv has '1'"):
        lab.recipe("--cpg-wlen", 4, fasta=False)
    assert {
        c for t in lab.recipe("--cpg-wlen", 4, "--chrom-prefix", "strip", fasta=False).splits.values() for c in t.sites
    }


def test_the_module_runs(lab):
    run = subprocess.run([sys.executable, "-m", "data_prep", "deepcpg", "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "--cpg-wlen" in run.stdout


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--max-distance", 9], "--max-distance does nothing without --cpg-wlen"),
        (["--cpg-stats-cov", 2], "--cpg-stats-cov does nothing without --cpg-stats"),
        (["--win-stats-wlen", 101], "--win-stats-wlen does nothing without --win-stats"),
        (
            ["--cpg-stats", "mean", "--diff-maximum", "truncated"],
            "--diff-maximum does nothing without the statistic diff",
        ),
        (["--annotation-edges", "closed"], "--annotation-edges does nothing without --annotations"),
        (["--seed", 3], "--seed does nothing without --sites-per-chrom or --n-bases random"),
        (["--regions", "r.bed", "--train-chroms", 1], "--train-chroms does nothing beside --regions"),
    ],
)
def test_options_that_do_nothing_are_refused(lab, prepare, more, sentence):
    status, _, err = prepare(["deepcpg", *lab.argv(*more)])
    assert status == 2 and sentence in err and len(err.splitlines()) == 1
