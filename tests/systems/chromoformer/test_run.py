"""The shipped configs, shrunk, on a small dataset of genes: train, evaluate, report."""

import json

import numpy as np
import pytest
from toys.gene_dataset import config_file, shrunk

import jaxepi
from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import weights_of
from jaxepi.runs.evaluation import evaluate_run
from jaxepi.train.loop import train
from jaxepi.trained import restore_model
from jaxepi.verbs.command import main


def lines(workdir, kind):
    return [r for r in map(json.loads, (workdir / "log.jsonl").read_text().splitlines()) if r["kind"] == kind]


@pytest.mark.parametrize(("name", "metric"), [("chromoformer_clf", "auc"), ("chromoformer_reg", "pearson")])
def test_train_evaluate_and_report(name, metric, genes, compilation_cache, tmp_path):
    config = shrunk(name, "fold2", genes, compilation_cache)
    config.log_every, config.steps = 1, 3
    assert train(config, tmp_path) == "finished"
    batches = 36 // 8
    steps = lines(tmp_path, "train")
    assert steps[-1]["step"] == 3 * batches and steps[-1]["loss"] < steps[0]["loss"]
    rates = [record["terms"]["learning_rate"] for record in steps]
    epochs = np.arange(3 * batches) // batches
    np.testing.assert_allclose(rates, 3e-3 * 0.87**epochs, rtol=1e-5)
    evaluations = lines(tmp_path, "eval")
    assert [record["step"] for record in evaluations] == [batches * (epoch + 1) for epoch in range(3)]
    assert evaluations[0]["split"] == "fold2"
    results = evaluate_run(tmp_path, None, None, "last")
    assert list(results) == ["fold2"] and results["fold2"].records == 12
    summary = results["fold2"].summary
    assert summary[f"{metric}_gene_per_track_mean"] == evaluations[-1]["metrics"][f"{metric}_gene_per_track_mean"]
    assert 0 < summary["loss_gene_flat"] < 100 and -1 <= summary["spearman_gene_per_track_mean"] <= 1
    assert results["fold2"].windows == [] and results["fold2"].step == 3 * batches
    assert results["fold2"].unit == ("" if metric == "auc" else "log2(RPKM + 1)")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "12 genes, 12 of known expression" in page and "windows" not in page
    figures = {path.name for path in (tmp_path / "report" / "figures").iterdir()}
    kinds = ("classes", "reliability", "roc_pr") if metric == "auc" else ("density",)
    assert figures == {"loss_curves.png", *(f"fold2_{kind}.png" for kind in kinds)}


@pytest.mark.parametrize(("told", "step"), [("best", 4), ("last", 8)])
def test_the_checkpoint_that_the_config_reports_is_restored(told, step, genes, compilation_cache, tmp_path):
    config = shrunk("chromoformer_clf", "fold1", genes, compilation_cache)
    config.steps, config.report_checkpoint = 2, told
    config.optimizer.learning_rate = 0.0  # the same after every epoch, so that the first stays the best
    train(config, tmp_path)
    restored = {which: restore_model(tmp_path, which).meta["step"] for which in ("best", "last", None)}
    assert restored == {"best": 4, "last": 8, None: step}


def test_a_run_predicts_its_genes_and_tells_what_it_attends_to(genes, compilation_cache, tmp_path, capsys):
    config, run = shrunk("chromoformer_clf", "fold1", genes, compilation_cache), tmp_path / "run"
    config.steps = 1
    train(config, run)
    assert main(["predict", f"--workdir={run}", "--split=fold1", f"--out={tmp_path / 'predictions'}"]) == 0
    lines = (tmp_path / "predictions" / "genes.tsv").read_text().splitlines()
    assert len(lines) == 1 + 12 and lines[1].split("\t")[:4] == ["gene100", "chr0", "10100", "+"]
    attend = ["attention", "--split=fold1+fold2", "--figures=1"]
    chosen = ["--genes=gene102,gene201", "--checkpoint=best", f"--out={tmp_path / 'attention'}"]
    assert main([*attend, f"--workdir={run}", *chosen]) == 0
    rows = [line.split("\t") for line in (tmp_path / "attention" / "contacts.tsv").read_text().splitlines()]
    assert [row[:2] for row in rows[1:]] == [["gene102", "1"], ["gene201", "1"]]
    assert len(list((tmp_path / "attention" / "figures").iterdir())) == 2
    predicted = {line.split("\t")[0]: line.split("\t")[7] for line in lines[1:]}
    again = (tmp_path / "attention" / "genes.tsv").read_text().splitlines()[1].split("\t")
    assert float(again[7]) == pytest.approx(float(predicted["gene102"]), rel=1e-4)
    jaxepi.export(restore_model(run).model, tmp_path / "genes.npz")
    released, of_run = f"--weights={tmp_path / 'genes.npz'}", f"--workdir={run}"
    for words, sentence in (
        ([*attend, released], "--config is needed here, the experiment whose dataset"),
        (["predict", of_run, "--fasta=x.fa"], "predicts the genes of a dataset: leave out --fasta"),
        (["predict", of_run, "--overlap=once"], "predicts the genes of a dataset: leave out --overlap"),
        (["predict", of_run, "--split=fold9"], "there is no split 'fold9' (did you mean"),
        ([*attend, of_run, "--genes=gene999"], "has no record 'gene999' (did you mean"),
    ):
        capsys.readouterr()
        assert main([*words, f"--out={tmp_path / 'x'}"]) == 2
        assert sentence in capsys.readouterr().err


def test_what_nothing_reads_is_neither_trained_nor_decayed(genes, compilation_cache, tmp_path):
    config = shrunk("chromoformer_clf", "fold1", genes, compilation_cache)
    config.steps, config.eval_every = 1, 0
    train(config, tmp_path)
    weights = weights_of(restore_model(tmp_path, "last").model)
    np.testing.assert_array_equal(weights["embedding.0.transformer.layers.0.bias_weight"][...], 1)
    np.testing.assert_array_equal(weights["pairwise.1.kept_scale"][...], 1)
    assert np.all(np.asarray(weights["regulation.0.transformer.layers.0.bias_weight"][...]) != 1)


def test_variants_hold_out_their_fold():
    for name in ("chromoformer_clf", "chromoformer_reg"):
        module = config_file(name)
        for fold in range(1, 5):
            data = module.get_config(f"fold{fold}").dataset
            assert data.validation_split == f"fold{fold}"
            assert sorted(data.train_split.split("+")) == [f"fold{f}" for f in range(1, 5) if f != fold]
        assert module.get_config("modern").task.centre_tss
        with pytest.raises(JaxepiError, match=r"Unknown variant 'fold5' \(did you mean 'fold"):
            module.get_config("fold5")


def test_a_new_unit_or_a_split_named_twice_is_refused(genes, compilation_cache, tmp_path):
    config = shrunk("chromoformer_clf", "fold1", genes, compilation_cache)
    config.unit = "epochs"
    with pytest.raises(JaxepiError, match="config.unit is 'epochs', but must be 'step' or 'epoch'"):
        train(config, tmp_path)
    config.dataset.train_split = "fold2+fold2"
    with pytest.raises(JaxepiError, match="names the split 'fold2' twice"):
        train(config, tmp_path)
    config.dataset.train_split = "fold2+fold9"
    with pytest.raises(JaxepiError, match=r"there is no split 'fold9' \(did you mean"):
        train(config, tmp_path)
