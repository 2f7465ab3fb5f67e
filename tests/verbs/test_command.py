"""Which verb, whose option, what help; and options that a verb needs or cannot use, once the model is known."""

import argparse
import inspect

import pytest
from flax import nnx

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.systems.deepcpg.model import DeepCpG, DeepCpGConfig
from jaxepi.systems.melody.model import Melody, MelodyConfig
from jaxepi.verbs import command
from jaxepi.verbs.command import ALIASES, VERBS, load_verb, main, make_parser, split_verb

OF_OPTIONS = [name for name in VERBS if name != "prep"]


class Recorder:
    """A verb that keeps what it is run with."""

    ABOUT = "Keeps."

    def __init__(self, verb):
        self.add_options = load_verb(verb).add_options

    def run(self, options, config, workdir):
        self.options, self.config, self.workdir = options, config, workdir


@pytest.fixture
def record(monkeypatch):
    """record(words): what the verb gets, without being run."""

    def parse(words):
        name = split_verb(words)[0] or "train"
        recorder, load = Recorder(name), load_verb
        monkeypatch.setattr(command, "load_verb", lambda asked: recorder if asked == name else load(asked))
        assert main(words) == 0
        monkeypatch.setattr(command, "load_verb", load)
        return recorder

    return parse


def sentence(words, capsys):
    """The one line that a mistake gives."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: "), err
    return err


@pytest.mark.parametrize("name", list(VERBS))
def test_a_verb_has_its_three_parts_and_its_file_its_name(name):
    verb = load_verb(name)
    assert VERBS[name].endswith(f".{name}") and verb.ABOUT.endswith(".") and "\n" not in verb.ABOUT
    assert list(inspect.signature(verb.run).parameters) == ["options", "config", "workdir"]
    verb.add_options(argparse.ArgumentParser())


@pytest.mark.parametrize("name", OF_OPTIONS)
def test_help_of_every_verb_shows_its_options_and_nothing_runs(name, capsys, monkeypatch):
    monkeypatch.setattr(load_verb(name), "run", None)
    for words in ([name, "--help"], ["-h", "--mode", name], [f"--mode={name}", "--no-such", "-h"]):
        assert main(words, prog="launch.py") == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"usage: launch.py {name} [-h]") and err == ""
        assert load_verb(name).ABOUT in " ".join(out.split())
        assert all(option in out for option in make_parser(name, "").names())


def test_help_of_the_program_lists_verbs_and_shows_defaults_of_one(capsys):
    assert main(["--help"], prog="launch.py") == 0
    text = capsys.readouterr().out
    for name in VERBS:
        assert f"\n  {name} " in text and load_verb(name).ABOUT in text
    assert "Also called effects." in text
    main(["mutagenesis", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: gradient)" in text and "(default: mean)" in text and "{gradient,exact}" in text


def test_the_verb_comes_first_or_by_mode_anywhere():
    assert split_verb(["--config", "x"]) == (None, ["--config", "x"])
    assert split_verb(["eval", "--split", "test"]) == ("eval", ["--split", "test"])
    assert split_verb(["--split", "test", "--mode", "eval", "--config.a", "3"]) == (
        "eval", ["--split", "test", "--config.a", "3"]
    )  # fmt: skip
    assert split_verb(["--mode=effects"]) == ("mutagenesis", []) == split_verb(["effects"])
    assert split_verb(["mutagenesis", "--mode=effects"]) == ("mutagenesis", [])
    assert split_verb(["prep", "melody", "--mode", "x", "--no_such"])[1] == ["melody", "--mode", "x", "--no_such"]
    with pytest.raises(JaxepiError, match="Both eval and predict are to be done; give one verb"):
        split_verb(["eval", "--mode=predict"])
    with pytest.raises(JaxepiError, match=r"There is no verb 'evla' \(did you mean 'eval'\?\)"):
        split_verb(["evla"])
    assert set(ALIASES.values()) <= set(VERBS)


def test_options_may_be_written_with_underscores(record):
    for words in (["--most_sites=3", "--trim_bits", "0.5"], ["--most-sites", "3", "--trim-bits=0.5"]):
        options = record(["motifs", "--workdir=w", *words]).options
        assert options.most_sites == 3 and options.trim_bits == 0.5 and options.split is None
    assert record(["eval", "--workdir=w", "--checkpoint=best_loss_total"]).options.checkpoint == "best_loss_total"
    assert record(["verify", "a_b", "c"]).options.folders == ["a_b", "c"]
    assert record(["attention", "--most_genes=2", "--genes=a,b", "--workdir", "a_b"]).options.genes == ["a", "b"]


def test_what_a_verb_gets(record):
    got = record(["--config", "configs/melody_mt.py:smoke", "--config.steps", "7", "--noconfig.report", "--multihost"])
    assert got.config.steps == 7 and not got.config.report and got.config.is_locked and got.options.multihost
    assert str(got.workdir) == "runs/melody_mt_smoke"
    again = record(["--config.batch_size=3", "--config=melody_mt:smoke", "--workdir=w"])
    assert (again.config.steps, again.config.batch_size, str(again.workdir)) == (20, 3, "w")
    alone = record(["predict", "--weights=x"])
    assert alone.config is None and alone.workdir is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "--regions=x"], "--regions belongs to predict and embed; train has --config, --workdir"),
        (["eval", "--fasta", "x"], "--fasta belongs to predict and embed; eval has --workdir, --checkpoint"),
        (["predict", "--most_sites=3"], "--most-sites belongs to motifs and mutagenesis; predict has"),
        (["configs", "--out=x"], "--out belongs to predict, embed, impute, motifs, mutagenesis and attention; configs"),
        (["predict", "--regoins=x"], "Unknown option --regoins (did you mean 'regions'?); predict has"),
        (["predict", "--work=x"], "Unknown option --work (did you mean 'workdir'?)"),
        (["motifs", "--most-sites"], "--most-sites needs a value"),
        (["motifs", "--most-sites=few"], "--most-sites is 'few', but a whole number was expected"),
        (["motifs", "--trim-bits=few"], "--trim-bits is 'few', but a number was expected"),
        (["train", "--multihost=yes"], "--multihost takes no value"),
        (["verify", "x", "--out=y"], "--out belongs to predict"),
        (["eval", "--checkpoint=bset"], "--checkpoint is 'bset' (did you mean 'best'?); it must be best or last"),
        (["impute", "--formats=tsv,bed"], "--formats is 'bed' (did you mean 'bedgraph'?); it must be tsv or bedgraph"),
        (["impute", "--tracks=,"], "--tracks is ',', but names were expected, with commas between them"),
        (["eval"], "--workdir is needed here, such as --workdir runs/NAME"),
        (["predict", "--weights=x.npz"], "--out is needed here, such as --out predictions"),
        (["crossval"], "--config is needed here, such as --config basenji:sample"),
        (["eval", "--config.steps=3"], "--config.steps needs --config"),
        (["--mode"], "--mode needs a value"),
        (["prep", "melodi"], "data_prep has no command 'melodi' (did you mean 'melody'?)"),
    ],
)
def test_mistakes_are_one_sentence(words, text, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert text in sentence(words, capsys)


def test_ctrl_c_and_the_status_of_a_verb(monkeypatch, capsys):
    def stop(options, config, workdir):
        raise KeyboardInterrupt

    monkeypatch.setattr(load_verb("configs"), "run", stop)
    assert main(["configs"]) == 130 and capsys.readouterr().err == "\ninterrupted\n"
    monkeypatch.setattr(load_verb("configs"), "run", lambda *got: 3)
    assert main(["configs"]) == 3


def test_an_interrupted_program_does_not_wait_for_what_still_computes(monkeypatch):
    def stop(*more):
        raise KeyboardInterrupt

    left = []
    monkeypatch.setattr(load_verb("configs"), "run", stop)
    monkeypatch.setattr(command.os, "_exit", left.append)
    assert main(["configs"]) == 130 and not left, "a caller goes on"
    monkeypatch.setattr(command.sys, "argv", ["jaxepi", "configs"])
    main()
    assert left == [130]


def test_prep_passes_everything_on(monkeypatch):
    from data_prep import __main__ as data_prep

    given = []
    monkeypatch.setattr(data_prep, "main", lambda *words: given.append(words))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert main(["--debug", "prep", "melody", "--out_dir", "-h"], prog="launch.py") == 0
    assert given == [(["melody", "--out_dir", "-h", "--debug"], "launch.py prep")]


def test_help_of_prep_is_that_of_data_prep(capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["prep", "--help"]) == 0
    text = capsys.readouterr().out
    assert "deepcpg-sample" in text and text.startswith("usage: jaxepi prep <command>")
    for kind in ("melody", "melody-sample", "deepcpg", "deepcpg-sample", "chromoformer", "chromoformer-sample"):
        assert main(["prep", kind, "--help"], prog="launch.py") == 0
        assert capsys.readouterr().out.startswith(f"usage: launch.py prep {kind} ")


def test_the_traceback_of_an_error_is_shown_with_debug_alone(monkeypatch, capsys):
    def fail(*more):
        raise RuntimeError("out of order")

    monkeypatch.setattr(load_verb("configs"), "run", fail)
    assert main(["configs"], prog="launch.py") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line.startswith("error: launch.py configs failed in command.py line ") and "RuntimeError: out of order" in line
    )
    for words in (["configs", "--debug"], ["--debug", "--mode", "configs"]):
        assert main(words) == 1 and capsys.readouterr().err.startswith("Traceback")
    from data_prep.__main__ import COMMANDS
    from data_prep.__main__ import main as data_prep

    monkeypatch.setitem(COMMANDS, "melody", ("configs.none_such", ""))
    assert data_prep(["melody"]) == 1
    assert "python -m data_prep melody failed" in capsys.readouterr().err
    assert data_prep(["--debug", "melody"]) == 1 and capsys.readouterr().err.startswith("Traceback")


@pytest.fixture(scope="module")
def melody(tmp_path_factory):
    """A released-style file of a model that reads sequence."""
    path = tmp_path_factory.mktemp("weights") / "melody.npz"
    jaxepi.export(Melody(MelodyConfig(width=4, tracks=2), rngs=nnx.Rngs(0)), path)
    return path


@pytest.mark.parametrize("network", ["CnnL1h128", "FcAvg"])
def test_a_model_of_single_sites_predicts_calls_unless_it_reads_neighbours(tmp_path, capsys, network):
    path = tmp_path / "sites.npz"
    jaxepi.export(DeepCpG(DeepCpGConfig(network, ("cpg/a",), window=1001, hidden=4), rngs=nnx.Rngs(0)), path)
    (tmp_path / "x.fa").write_text(">a\n" + "A" * 500 + "CG" + "T" * 499 + "\n")
    words = ["predict", f"--weights={path}", f"--fasta={tmp_path / 'x.fa'}", f"--out={tmp_path / 'out'}"]
    if network == "FcAvg":
        assert "predicts neither bins nor CpGs from sequence alone" in sentence(words, capsys)
        assert not (tmp_path / "out").exists()
    else:
        assert main(words) == 0
        _, call = (tmp_path / "out" / "calls.tsv").read_text().splitlines()
        assert call.startswith("a\t500\tcpg/") and 0 < float(call.split("\t")[3]) < 1


def test_a_model_of_sequence_needs_a_fasta_and_has_no_contacts(melody, tmp_path, capsys):
    source = [f"--weights={melody}", f"--out={tmp_path / 'x'}"]
    assert "--fasta is needed here, such as --fasta genome.fa" in sentence(["predict", *source], capsys)
    assert "leave out --split" in sentence(["predict", *source, "--fasta=x.fa", "--split=test"], capsys)
    assert "predicts no bins: leave out --site-length" in sentence(["predict", *source, "--site-length=9"], capsys)
    assert "no run with checkpoints: leave out --ch" in sentence(["predict", *source, "--checkpoint=best"], capsys)
    assert "has no attention; " in sentence(["attention", *source], capsys)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def counts(monkeypatch):
    """The predictor that every --weights of a test gives."""
    from toys.binned import counts_predictor

    from jaxepi.runs import source

    predictor = counts_predictor()
    monkeypatch.setattr(source, "load_predictor", lambda *asked, **more: predictor)
    return predictor


def test_a_model_of_bins_gets_its_options(counts, tmp_path, capsys, monkeypatch):
    from jaxepi.analysis import predict_bins

    (tmp_path / "g.fa").write_text(">a\n" + "ACGT" * 100 + "\n")
    (tmp_path / "r.bed").write_text("a 100 110\na 0 400\n")
    words = ["predict", "--weights=x", f"--out={tmp_path / 'out'}", f"--fasta={tmp_path / 'g.fa'}"]
    words += [f"--regions={tmp_path / 'r.bed'}", "--site_length", "40", "--sum", "--shifts", "-1,0,1", "--rc"]
    words += ["--tracks=track-2,track-0", "--formats=hdf5", "--dtype=float16"]
    given, write = [], predict_bins.predict_bin_files
    monkeypatch.setattr(predict_bins, "predict_bin_files", lambda *a, **k: given.append(k) or write(*a, **k))
    assert main(words) == 0
    assert "2 windows of 2 tracks written to" in capsys.readouterr().err
    (options,) = given
    assert (options["site_length"], options["total"], options["formats"]) == (40, True, ["hdf5"])
    assert options["views"].shifts == (-1, 0, 1) and options["views"].reverse_complement
    assert (options["tracks"], options["dtype"], options["batch_size"]) == (["track-2", "track-0"], "float16", 4)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["predict.h5", "predict.json"]


def test_regions_and_genes_are_named_on_the_command_line(counts, tmp_path, capsys, monkeypatch):
    import pyBigWig

    from jaxepi.analysis import predict_bins

    (tmp_path / "g.fa").write_text(">a\n" + "ACGT" * 200 + "\n")
    (tmp_path / "g.gtf").write_text('a\tx\ttranscript\t301\t360\t.\t-\t.\tgene_id "G1"; gene_name "BIN1";\n')
    with pyBigWig.open(str(tmp_path / "m.bw"), "w") as file:
        file.addHeader([("a", 800)])
        file.addEntries("a", 0, values=[float(base % 7) for base in range(800)], span=1, step=1)
    given, write = [], predict_bins.predict_bin_files
    monkeypatch.setattr(predict_bins, "predict_bin_files", lambda *a, **k: given.append(k) or write(*a, **k))
    words = ["predict", "--weights=x", f"--out={tmp_path / 'out'}", f"--fasta={tmp_path / 'g.fa'}", "--region=a:1-90,"]
    words[-1] += "a:1,0-2,0"
    words += ["--region", "a:400-420", "--gene=BIN1", f"--gtf={tmp_path / 'g.gtf'}", "--formats=table.gz"]
    assert main([*words, f"--measured=track-1={tmp_path / 'm.bw'}", "--measured-stat=sum"]) == 0
    out, err = capsys.readouterr()
    assert [str(place) for place in given[0]["regions"]] == ["a:1-90", "a:10-20", "a:400-420", "BIN1"]
    assert "note: BIN1, TSS a:359 (-): window a:259-459, bins a:289-429" in err and given[0]["measured_stat"] == "sum"
    assert out.splitlines()[-1].startswith("BIN1, track-1: Pearson ") and len(out.splitlines()) == 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "measured.tsv", "predict.json", "predict.tsv.gz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--overlap=once"], "predicts bins, not CpGs: leave out --overlap"),
        ([], "--fasta is needed here, such as --fasta genome.fa"),
        (["--split=test", "--site-length=20"], "of the records of a dataset: leave out --site-length"),
        (["--split=test", "--fasta=x"], "of the records of a dataset: leave out --fasta"),
        (["--split=test"], "--config is needed here, the experiment whose dataset counts is to read"),
        (["--shifts=1,b"], "--shifts is '1,b', but whole numbers were expected, with commas between them"),
        (["--shifts", "-999", "--fasta=x"], "shifts has -999 bp, but the window of counts has only 200 bp"),
        (["--formats=h5"], "--formats is 'h5' (did you mean 'hdf5'?); it must be hdf5 or bigwig or table"),
        (["--region=a:1-9", "--regions=r.bed", "--fasta=x"], "--region and --gene say what to predict: leave out"),
        (["--region=a:9", "--fasta=x"], "'a:9' is no region: expected chrom:start-end"),
        (["--region=a:1-9", "--gtf=g", "--fasta=x"], "--gtf tells where the genes of --gene are: leave out --gtf"),
        (["--gene=A", "--fasta=x"], "--gtf is needed here, such as --gtf genes.gtf.gz"),
        (["--measured-stat=sum", "--fasta=x"], "--measured-stat is of the files of --measured: leave out --measured-s"),
        (["--measured=a=1.bw,2.bw", "--fasta=x"], "--measured names the tracks of some files only"),
        (["--measured=a=1.bw,a=2.bw", "--fasta=x"], "--measured has two files of one name"),
        (["--split=test", "--region=a:1-9"], "of the records of a dataset: leave out --region"),
    ],
)
def test_what_a_model_of_bins_cannot_do_is_one_sentence(counts, tmp_path, capsys, words, text):
    assert text in sentence(["predict", "--weights=x", f"--out={tmp_path / 'out'}", *words], capsys)
    assert not list(tmp_path.iterdir())
