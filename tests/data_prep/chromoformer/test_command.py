"""Each option of the command line, and what is said about wrong input."""

import json
import re

import numpy as np
import pytest

from data_prep.chromoformer.command import parser

LENGTHS = {"chr1": 90_000, "chr2": 70_000, "chr7": 60_000}
MARKS = ("K4", "K27")
GTF = '{chrom}\tx\ttranscript\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; transcript_type "{kind}";\n'


class Genes:
    """Four genes on three chromosomes with files of both ways, small promoters."""

    def __init__(self, folder, tools):
        self.folder = folder
        random = np.random.default_rng(1)
        self.depth = {
            (mark, chrom): np.repeat(random.integers(0, 60, size // 50), 50).astype(float)
            for mark in MARKS
            for chrom, size in LENGTHS.items()
        }
        for mark in MARKS:
            intervals = {
                chrom: (np.arange(0, size, 50), np.arange(50, size + 1, 50), self.depth[mark, chrom][::50])
                for chrom, size in LENGTHS.items()
            }
            tools.write_bigwig(folder / f"{mark}.bw", LENGTHS, intervals)
        rows = [
            ("chr1", 30_001, 45_000, "+", "A.1", "protein_coding"),
            ("chr1", 35_001, 36_000, "+", "A.1", "protein_coding"),
            ("chr1", 50_001, 60_000, "-", "B", "protein_coding"),
            ("chr2", 501, 9_000, "+", "C", "protein_coding"),
            ("chr7", 20_001, 21_000, "+", "D", "protein_coding"),
            ("chr7", 40_001, 41_000, "+", "E", "lncRNA"),
        ]
        names = ("chrom", "start", "end", "strand", "gene", "kind")
        text = "".join(GTF.format(**dict(zip(names, row, strict=True))) for row in rows)
        (folder / "a.gtf").write_text(text)
        (folder / "e.tsv").write_text("gene\tliver\tlung\nA\t5\t0\nB\t1\t1\nC\t2\t2\nD\t9\t3\nE\t4\t9\nZ\t4\t9\n")
        contacts = [
            ("chr1:28000-32000", "chr1:70000-72000", 2.0),
            ("chr1:28000-32000", "chr1:80000-81000", 3.0),
            ("chr1:28000-32000", "chr1:85000-86000", 1.2),
            ("chr1:70000-72000", "chr1:59000-62000", 4.0),
            ("chr7:19000-21000", "chr7:50000-50250", 2.5),
        ]
        text = "".join("\t".join(map(str, row)) + "\n" for row in contacts)
        (folder / "c.tsv").write_text("fragment\tneighbor\tscore\n" + text)

    def save_npy(self):
        """Metadata and region files of the same genes."""
        places = {
            "A": ("chr1", 30_000, "+", 1, 5, 1, ["chr1:80000-81000", "chr1:70000-72000"], [3.0, 2.0]),
            "B": ("chr1", 59_999, "-", 1, 1, 0, ["chr1:70000-72000"], [4.0]),
            "D": ("chr7", 20_000, "+", 2, 9, 1, ["chr7:50000-50250"], [2.5]),
        }
        lines = ["gene_id,expression,eid,label,chrom,start,end,strand,split,neighbors,scores"]
        (self.folder / "npy").mkdir(exist_ok=True)
        for gene, (chrom, tss, strand, fold, value, label, regions, scores) in places.items():
            cells = [gene, value, "liver", label, chrom, tss, tss + 1, strand, fold]
            lines.append(",".join(map(str, [*cells, ";".join(regions), ";".join(map(str, scores))])))
            for region in [f"{chrom}:{tss - 20_000}-{tss + 20_000}", *regions]:
                start, end = map(int, region.split(":")[1].split("-"))
                array = np.stack([self.depth[mark, chrom][start:end] for mark in MARKS])
                np.save(self.folder / "npy" / f"{region}.npy", array.astype(np.float16))
        (self.folder / "meta.csv").write_text("\n".join(lines) + "\n")

    def files(self, out="d"):
        f = self.folder
        words = ["--annotation", f / "a.gtf", "--expression", f / "e.tsv", "--expression-column", "liver"]
        words += ["--contacts", f / "c.tsv", "--depth", *(f"{mark}={f / mark}.bw" for mark in MARKS)]
        return self.argv(words, out)

    def npy(self, out="d"):
        words = ["--metadata", self.folder / "meta.csv", "--npy-dir", self.folder / "npy", "--marks", *MARKS]
        return self.argv(words, out)

    def argv(self, words, out):
        words = ["chromoformer", *words, "--out", self.folder / out, "--processes", 1, "--no-progress"]
        return list(map(str, words))


@pytest.fixture
def genes(tmp_path, tools):
    made = Genes(tmp_path, tools)
    made.save_npy()
    return made


@pytest.fixture
def made(genes, tools, prepare):
    """Runs with more options: (records by key, manifest)."""

    def run(argv, *more, out="d"):
        status, _, err = prepare([*argv, *map(str, more)])
        assert status == 0, err
        records = tools.load(genes.folder / out)
        by_key = {record["key"]: record | {"split": split} for split, own in records.items() for record in own}
        return by_key, json.loads((genes.folder / out / "manifest.json").read_text())

    return run


@pytest.fixture
def refused(genes, prepare):
    """Runs and returns the sentence; nothing is left behind."""

    def run(argv, *more):
        status, out, err = prepare([*argv, *map(str, more)])
        assert status == 2 and err.startswith("error: ") and err.count("\n") == 1, (status, err)
        assert not [p for p in genes.folder.iterdir() if p.name.startswith("d.tmp") or p.name == "d"]
        return err

    return run


def test_every_option_is_explained():
    for action in parser()._actions:
        assert action.help, action.option_strings


def test_both_ways_give_the_same_records(genes, made):
    from_files, manifest = made(genes.files("a"), out="a")
    from_npy, _ = made(genes.npy("b"), out="b")
    assert set(from_files) == {"A", "B", "C", "D"} and set(from_npy) == {"A", "B", "D"}
    for key, record in from_npy.items():
        for name, value in record.items():
            np.testing.assert_array_equal(value, from_files[key][name], err_msg=f"{key} {name}")
    assert {key: record["split"] for key, record in from_files.items()} == {
        **{"A": "fold1", "B": "fold1"},
        **{"C": "fold3", "D": "fold2"},
    }
    assert [from_files[key]["label"] for key in "ABCD"] == [1, 0, 0, 1]
    assert from_files["C"]["promoter_span"].tolist() == [19_500, 40_000]
    assert from_files["A"]["promoter_sum"].dtype == np.uint16
    assert manifest["marks"] == list(MARKS) and manifest["max_pcres"] == 2 and manifest["max_pcre_length"] == 2000
    expected = {"records": 2, "positive": 1, "unlabelled": 0, "pcres": 3, "without_pcre": 0, "promoters_cut": 0}
    assert manifest["splits"]["fold1"] == expected | {"chroms": ["chr1"], "shards": 1}


def test_direction_score_and_number_of_contacts(genes, made):
    neighbors = {key: record["neighbors"] for key, record in made(genes.files())[0].items()}
    assert neighbors == {
        "A": "chr1:80000-81000;chr1:70000-72000",
        "B": "chr1:70000-72000",
        "C": "",
        "D": "chr7:50000-50250",
    }
    one, _ = made(genes.files(), "--max-neighbors", 1, "--contacts-direction", "as-listed", "--overwrite")
    assert [one[key]["neighbors"] for key in "AB"] == ["chr1:80000-81000", ""]
    low, _ = made(genes.files(), "--min-score", 1, "--max-pcre-length", 1000, "--overwrite")
    assert low["A"]["neighbors"] == "chr1:80000-81000;chr1:85000-86000"
    none, manifest = made(genes.files(), "--max-neighbors", 0, "--overwrite")
    assert manifest["max_pcres"] == 0 and none["A"]["pcre_sum"].shape == (0, 2)
    few, _ = made(genes.npy(), "--max-neighbors", 1, "--overwrite")
    assert few["A"]["neighbors"] == "chr1:80000-81000" and few["A"]["score"].tolist() == [3.0]


def test_fragments_start_sites_and_gene_list(genes, made):
    f = genes.folder
    (f / "t.tsv").write_text("gene_id\tchrom\tstart\tstrand\nA\tchr1\t35000\t+\nA\tchr1\t30000\t+\nD\tchr7\t20000\t+\n")
    (f / "f.tsv").write_text("tss\tfragment\nchr1:35000-35001\tchr1:70000-72000\n")
    (f / "g.txt").write_text("A\nD\n")
    argv = genes.files()
    argv[argv.index("--annotation") : argv.index("--annotation") + 2] = ["--tss", str(f / "t.tsv")]
    records, _ = made(argv, "--tss-fragments", f / "f.tsv", "--genes", f / "g.txt")
    assert set(records) == {"A", "D"} and records["A"]["start"] == 35_000 and records["D"]["neighbors"] == ""
    assert records["A"]["neighbors"] == "chr1:59000-62000;chr1:28000-32000"


def test_hic(genes, made):
    matrix = np.zeros((9, 9))
    matrix[3, [5, 6, 8]] = 12, 9, 11
    (genes.folder / "hic").mkdir()
    np.save(genes.folder / "hic" / "chr1.npy", matrix)
    argv = genes.files()
    argv[argv.index("--contacts") : argv.index("--contacts") + 2] = ["--hic", str(genes.folder / "hic")]
    records, manifest = made(argv, "--hic-bin", 10_000, "--min-score", 10)
    assert records["A"]["neighbors"] == "chr1:50000-60000;chr1:80000-90000"
    assert manifest["arguments"]["hic_bin"] == 10_000


def test_folds_biotype_and_unknown_expression(genes, made):
    argv = genes.files()
    at = argv.index("--expression")
    records, manifest = made(argv[:at] + argv[at + 4 :], "--folds", "1=chr7", "2=chr1,chr2", "--biotype", "all")
    assert {key: record["fold"] for key, record in records.items()} == {"A": 2, "B": 2, "C": 2, "D": 1, "E": 1}
    assert all(np.isnan(record["expression"]) and record["label"] == -1 for record in records.values())
    assert manifest["splits"]["fold1"]["unlabelled"] == 2
    balanced, _ = made(genes.files(), "--folds", "balanced", "--overwrite")
    assert {key: record["fold"] for key, record in balanced.items()} == {"A": 1, "B": 1, "C": 2, "D": 3}


def test_other_folds_than_those_of_the_table(genes, made):
    assert {key: record["fold"] for key, record in made(genes.npy())[0].items()} == {"A": 1, "B": 1, "D": 2}
    given, manifest = made(genes.npy("c"), "--folds", "4=chr1", out="c")
    assert {key: record["split"] for key, record in given.items()} == {"A": "fold4", "B": "fold4"}
    assert manifest["arguments"]["folds"] == ["4=chr1"]


def test_numbers_of_the_records(genes, made):
    records, manifest = made(genes.files(), "--promoter-length", 8000, "--resolution", 400, "--sum-dtype", "float32")
    assert records["A"]["promoter_sum"].shape == (20, 2) and records["A"]["promoter_sum"].dtype == np.float32
    assert manifest["window"] == 8000
    np.testing.assert_array_equal(
        records["A"]["promoter_sum"][:, 0], genes.depth["K4", "chr1"][26_000:34_000].reshape(20, 400).sum(axis=1)
    )
    capped, _ = made(genes.files(), "--max-depth", 7.5, "--overwrite")
    assert capped["A"]["promoter_sum"].max() == 750 and capped["A"]["promoter_sum"].dtype == np.float32
    table = genes.folder / "marks.csv"
    table.write_text("name,file\nK27,K27.bw\nK4,K4.bw\n")
    argv = genes.files()
    at = argv.index("--depth")
    turned, manifest = made(argv[:at] + argv[at + 3 :], "--depth-table", table, "--overwrite")
    assert manifest["marks"] == ["K27", "K4"]
    assert turned["A"]["promoter_sum"][:, 1].sum(dtype=int) == genes.depth["K4", "chr1"][10_000:50_000].sum()


def test_processes_and_reruns(genes, made, prepare):
    made(genes.files("a"), "--processes", 2, "--sum-dtype", "uint16", out="a")
    made(genes.files("b"), "--sum-dtype", "uint16", out="b")
    (shard,) = (genes.folder / "a").glob("*fold1*")
    assert shard.read_bytes() == (genes.folder / "b" / shard.name).read_bytes()
    status, out, _ = prepare([*genes.files("a"), "--sum-dtype", "uint16"])
    assert status == 0 and "nothing to do" in out
    status, _, err = prepare([*genes.files("a"), "--sum-dtype", "uint16", "--min-score", "2"])
    assert status == 2 and "was made with --min-score 1.5, not 2.0" in err


@pytest.mark.slow
def test_beam(genes, made):
    one, _ = made(genes.files("a"), "--sum-dtype", "uint16", out="a")
    beam, _ = made(genes.files("b"), "--sum-dtype", "uint16", "--beam-runner", "DirectRunner", out="b")
    assert str(one) == str(beam)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--eid", "x"], "no row of the epigenome 'x'"),
        (["--npy-dir", "elsewhere"], "elsewhere does not exist"),
        (["--marks", "a"], "gene A has 2 marks in"),
        (["--max-pcre-length", "1500"], "gene A in .* has the neighbour chr1:70000-72000 of 2000 bp"),
        (["--depth", "K4=K4.bw"], "read depth comes from one place"),
        (["--contacts", "c.tsv"], "--contacts would not be used"),
        (["--promoter-length", "50000"], "promoter files of the original hold 40000 bp"),
        (["--promoter-length", "300"], "half of the first must be a multiple of the second"),
        (["--resolution", "0"], "--resolution is 0"),
        (["--processes", "-1"], "--processes is -1"),
        (["--max-depth", "0"], "--max-depth is 0"),
        (["--max-depth", "5"], "--max-depth does nothing without --depth"),
        (["--max-neighbors", "-1"], "--max-neighbors is -1"),
        (["--beam-runner", "DirectRunner"], "choose float32 or uint16 with Beam"),
        (["--chrom-sizes", "nowhere"], "nowhere does not exist"),
        (["--folds", "1=chr5"], r"no gene of .*meta\.csv lies on a chromosome of --folds 1=chr5"),
    ],
)
def test_wrong_options_with_region_files(genes, refused, more, sentence):
    assert re.search(sentence, refused(genes.npy(), *more))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--expression-column", "lver"], r"e\.tsv has no column 'lver' \(did you mean 'liver'\?\)"),
        (["--depth", "K4"], "--depth K4: MARK=FILE was expected"),
        (["--depth", "K4=no.bw"], r"no\.bw does not exist"),
        (["--marks", "a"], "with --depth, write MARK=FILE"),
        (["--chrom-sizes", "x"], "--chrom-sizes goes with --npy-dir"),
        (["--tss", "x"], "one source of start sites"),
        (["--hic", "x"], "give --contacts or --hic"),
        (["--contacts", "no.tsv"], r"no\.tsv does not exist"),
        (["--folds", "1=chr1", "2=chr1"], "--folds puts chr1 into fold 1 and fold 2"),
        (["--folds", "1=chr5"], "no gene of .* lies on a chromosome of --folds 1=chr5"),
        (["--min-score", "50"], "none scores above 50"),
        (["--chrom-prefix", "strip", "--folds", "1=chr1"], "it calls them 1, 2, 7"),
    ],
)
def test_wrong_options_with_depth_files(genes, refused, more, sentence):
    assert re.search(sentence, refused(genes.files(), *more))


def test_wrong_region_files_name_gene_and_file(genes, refused):
    sizes = genes.folder / "sizes"
    sizes.write_text("chr1\t59999\nchr7\t60000\n")
    assert "gene A of" in refused(genes.npy(), "--chrom-sizes", sizes)  # its neighbours lie beyond
    sizes.write_text("chr1 90000\nchr7 20000\n")
    sentence = refused(genes.npy(), "--chrom-sizes", sizes)
    assert "gene D of" in sentence and "start site 20000 on chr7, but chr7 is 20000 bp long in" in sentence
    promoter = genes.folder / "npy" / "chr7:0-40000.npy"
    np.save(promoter, np.zeros((2, 39_000)))
    sentence = refused(genes.npy())
    assert "gene D has a promoter array of 39000 bp" in sentence and str(promoter) in sentence
    promoter.unlink()
    assert "gene D of" in (sentence := refused(genes.npy())) and str(promoter) in sentence


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("region", "gene", "array", "what"),
    [
        ("chr7:0-40000", "D", None, "needs the array of its promoter"),
        ("chr7:50000-50250", "D", None, "needs the array of its neighbour"),
        ("chr7:50000-50250", "D", np.zeros((3, 250)), "has 3 marks in"),
        ("chr1:10000-50000", "A", np.zeros((1, 40_000)), "has 1 marks in"),
        ("chr1:80000-81000", "A", np.zeros((2, 990)), "has a neighbour array of 990 bp in"),
        ("chr1:10000-50000", "A", np.zeros((2, 40_100)), "has a promoter array of 40100 bp in"),
        ("chr7:50000-50250", "D", np.full((2, 250), np.nan), "has depths below 0 or not finite in"),
        ("chr7:50000-50250", "D", b"no array", "missing or damaged"),
    ],
)
def test_each_wrong_region_file_is_named_with_its_gene(genes, refused, region, gene, array, what, processes):
    path = genes.folder / "npy" / f"{region}.npy"
    if array is None:
        path.unlink()
    elif isinstance(array, bytes):
        path.write_bytes(array)
    else:
        np.save(path, array)
    sentence = refused(genes.npy(), "--processes", processes)
    assert f"gene {gene} " in sentence and what in sentence and str(path) in sentence


def test_wrong_metadata_names_gene_and_file(genes, refused):
    table = genes.folder / "meta.csv"
    text = table.read_text()
    table.write_text(text.replace("3.0;2.0", "3.0"))
    assert f"gene A in {table} (line 2) has 2 neighbors and 1 scores" in refused(genes.npy())
    table.write_text(text.replace("-,1", "-,3"))
    assert f"chr1 is in two folds of {table}: gene A is in split 1 and gene B in split 3" in refused(genes.npy())
    table.write_text(text.replace("gene_id,", "gene,"))
    assert "has no column 'gene_id' (did you mean 'gene'?)" in refused(genes.npy())
    table.unlink()
    assert f"{table} does not exist" in refused(genes.npy())


def test_files_of_different_genomes(genes, refused):
    contacts = genes.folder / "c.tsv"
    text = contacts.read_text()
    contacts.write_text(text.replace("chr", ""))
    assert "the contacts lie on 1, 7 and the genes of" in refused(genes.files())
    contacts.write_text(text.replace("80000-81000", "90000-91000"))
    assert "gene A of" in (sentence := refused(genes.files())) and "neighbour chr1:90000-91000" in sentence
    contacts.write_text(text)
    gtf = genes.folder / "a.gtf"
    gtf.write_text(gtf.read_text().replace("chr1\tx\ttranscript\t50001\t60000", "chr1\tx\ttranscript\t50001\t95000"))
    sentence = refused(genes.files())
    assert f"gene B of {gtf} has its start site 94999 on chr1, but chr1 is 90000 bp long in" in sentence


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--biotype", "lncRNA"], "--biotype does nothing without --annotation"),
        (["--expression-column", "x"], "--expression-column does nothing without --expression"),
        (["--score-column", "x"], "--score-column does nothing without --contacts"),
        (["--hic-bin", "500"], "--hic-bin does nothing without --hic"),
        (["--min-score", "2"], "--min-score does nothing without --contacts or --hic"),
        (["--min-score", "nan"], "--min-score is nan"),
        (["--bam-reads", "all"], "--bam-reads does nothing without --depth"),
        (["--gene-versions", "keep"], "--gene-versions does nothing beside --metadata"),
        (["--overwrite", "--metadata-out", "{folder}/meta.csv"], "is an input of this command"),
        (["--metadata-out", "{folder}/d/genes.csv"], "lies in --out"),
    ],
)
def test_options_that_do_nothing_or_harm_are_refused(genes, refused, more, sentence):
    before = (genes.folder / "meta.csv").read_bytes()
    assert sentence in refused(genes.npy(), *[word.format(folder=genes.folder) for word in more])
    assert (genes.folder / "meta.csv").read_bytes() == before
