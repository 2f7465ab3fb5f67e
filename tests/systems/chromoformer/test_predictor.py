"""Predictors of genes: the same numbers as the evaluation, from runs, released files and ready-made inputs."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict
from toys import gene_data
from toys.gene_data import MANIFEST, Data, Records, config, gene, objective

import jaxepi
from jaxepi.data.subset import choose_records
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.registry import make_task, task_of
from jaxepi.systems.chromoformer import SYSTEM
from jaxepi.systems.chromoformer.model import Chromoformer
from jaxepi.systems.chromoformer.predict_files import predict_genes
from jaxepi.systems.chromoformer.weights import MARKS, WEIGHTS


@pytest.fixture(scope="module")
def predictor():
    return gene_data.predictor()


def evaluated(predictor, records):
    """What an evaluation of these records takes as predictions."""
    task = predictor.for_dataset(MANIFEST)

    @nnx.jit
    def evaluate(model, batch):
        inputs, targets = task.prepare(batch, jax.random.key(0), False)
        return task.predictions(task.apply(model, inputs), targets)["prediction"][:, 0, 0], inputs

    values, inputs = evaluate(predictor.model, task.collate(records))
    return np.asarray(values), inputs


def test_splits_and_inputs_give_what_an_evaluation_gives(predictor):
    records = Data().split("fold1+fold2")
    expected, inputs = evaluated(predictor, records)
    for genes, batch_size in ((records, 3), (records, 64), (inputs, 3)):
        values = predictor.predict(genes, batch_size)
        assert values.shape == (8, 1, 1) and values.dtype == np.float32
        np.testing.assert_allclose(values[:, 0, 0], expected, atol=1e-6)
    assert predictor.predict(Records()).shape == (0, 1, 1) and predictor.grid.at == "record"
    assert np.ptp(expected) > 1e-3


@pytest.mark.parametrize(("fields", "outputs"), [({"probability": "sigmoid"}, 2), ({"target": "expression"}, 1)])
def test_other_objectives(fields, outputs):
    other = gene_data.predictor({"outputs": outputs}, **fields)
    records = Data().split("fold2")
    np.testing.assert_allclose(other.predict(records)[:, 0, 0], evaluated(other, records)[0], atol=1e-6)


def test_a_run_predicts_with_its_own_objective_and_the_marks_by_name(predictor):
    sections = {"model": dataclasses.asdict(config()), "task": dataclasses.asdict(objective(marks=("b", "a")))}
    settings = ConfigDict({"system": "chromoformer", **sections})
    restored = Predictor(predictor.model, SYSTEM, make_task(settings, MANIFEST), source="runs/x", config=settings)
    records = Records([gene(3), gene(4)])
    swapped = Records(r | {key: r[key][:, ::-1] for key in ("promoter_sum", "pcre_sum")} for r in records)
    expected = predictor.predict(swapped)
    assert restored.task.settled()["marks"] == ("b", "a") and restored.config is settings
    np.testing.assert_allclose(restored.predict(records), expected, atol=1e-6)
    swapped.manifest = MANIFEST | {"marks": ["b", "a"]}  # the same marks in another order are the same genes
    np.testing.assert_allclose(restored.predict(swapped), expected, atol=1e-6)


def test_a_released_file_is_loaded_as_a_predictor_of_genes(predictor, tmp_path):
    jaxepi.export(predictor.model, tmp_path / "genes.npz")
    loaded = jaxepi.load(tmp_path / "genes.npz", embedding_heads=2, bin_sizes=gene_data.SIZES, precision="highest")
    assert loaded.system is SYSTEM and loaded.digest() == predictor.digest()
    goal = loaded.task.objective
    assert goal.target == "label" and not goal.centre_tss and goal.marks == ("mark_0", "mark_1")
    fields = dataclasses.asdict(objective(marks=("a", "b")))
    own = jaxepi.load(tmp_path / "genes.npz", embedding_heads=2, bin_sizes=gene_data.SIZES, task=fields)
    np.testing.assert_allclose(own.predict(Data().split("fold1")), predictor.predict(Data().split("fold1")), atol=1e-6)
    with pytest.raises(JaxepiError, match="reads no sequence: leave out window"):
        jaxepi.load(tmp_path / "genes.npz", embedding_heads=2, bin_sizes=gene_data.SIZES, window=5)
    with pytest.raises(JaxepiError, match=r"Unknown config field config.task.probabilty \(did you mean"):
        jaxepi.load(tmp_path / "genes.npz", task={"probabilty": "softmax"}, bin_sizes=gene_data.SIZES)


def test_published_marks_are_found_by_name():
    model = Chromoformer(config(marks=7, outputs=1), rngs=nnx.Rngs(1))
    manifest, fields = WEIGHTS.released(model.config, None, {})
    released = Predictor(model, SYSTEM, task_of(SYSTEM, dataclasses.asdict(model.config), fields, manifest), source="r")
    assert fields["marks"] == MARKS and fields["target"] == "expression"
    genes = {**MANIFEST, "resolution": 100, "promoter_length": 40_000}
    assert released.for_dataset(genes | {"marks": [*reversed(MARKS), "DNase"]}).marks == list(MARKS)
    with pytest.raises(JaxepiError, match="names 'H3K9ac' .*but the dataset has H3K4me1"):
        released.for_dataset(genes | {"marks": list(MARKS[:6])})


def test_what_does_not_fit_is_one_sentence(predictor):
    with pytest.raises(JaxepiError, match="names 'b', but the dataset has a, c"):
        predictor.for_dataset(MANIFEST | {"marks": ["a", "c"]})
    with pytest.raises(JaxepiError, match="the dataset was prepared for 'melody'"):
        predictor.for_dataset(MANIFEST | {"system": "melody"})
    with pytest.raises(JaxepiError, match="x holds a model with outputs 2, but this dataset or config.task needs 1"):
        gene_data.predictor_of(predictor.model, objective(target="expression"), source="x")
    with pytest.raises(JaxepiError, match="predicts genes: give records of a dataset"):
        predictor.predict(np.zeros((1, 2000, 4), np.float32))
    with pytest.raises(
        JaxepiError, match="takes no input 'cell'; beside the first argument it takes batch_size, pad, progress"
    ):
        predictor.predict({}, cell=1)
    with pytest.raises(JaxepiError, match="interaction_masks is missing"):
        predictor.predict({"interaction_freq": 0, "promoter_feats": 0, "promoter_pad_masks": 0, "pcre_feats": 0,
                           "pcre_pad_masks": 0})  # fmt: skip


def test_the_table_holds_what_the_dataset_knows_and_the_prediction(predictor, tmp_path):
    data = Data()
    chosen = choose_records(data)
    assert (chosen.split, len(chosen)) == ("fold1+fold2", 8)
    told = predict_genes(predictor, chosen, tmp_path / "out", batch_size=3, progress=False)
    lines = [line.split("\t") for line in (tmp_path / "out" / "genes.tsv").read_text().splitlines()]
    assert lines[0] == ["gene", "chrom", "tss", "strand", "fold", "label", "expression", "prediction"]
    assert lines[1][:7] == ["gene0", "chr1", "100000", "+", "1", "0", "0"]
    assert lines[2][:7] == ["gene1", "chr1", "100000", "-", "1", "NA", "NA"]
    expected = predictor.predict(data.split(chosen.split))[:, 0, 0]
    np.testing.assert_allclose([float(line[7]) for line in lines[1:]], expected, atol=1e-6)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["genes.tsv", "predict.json"]
    assert told["genes"] == 8 == predict_genes(predictor, chosen, tmp_path / "out", progress=False)["genes"]
    with pytest.raises(JaxepiError, match=r"holds a prediction with split fold1\+fold2, not fold1: remove it"):
        predict_genes(predictor, choose_records(data, "fold1"), tmp_path / "out", progress=False)


def test_nothing_is_left_of_a_job_that_fails(predictor, tmp_path):
    data = Data()
    data.records["fold2"][1]["promoter_sum"][:] = np.nan
    with pytest.raises(JaxepiError, match="The model gives NaN or infinity for gene5"):
        predict_genes(predictor, choose_records(data), tmp_path / "out", progress=False)
    assert not list(tmp_path.iterdir())


def test_genes_are_chosen_by_name_or_drawn():
    data = Data()
    assert choose_records(data, keys=["gene6", "gene2", "gene6"]).numbers == [2, 6]
    assert choose_records(data, "fold2", keys=["gene6"]).numbers == [2]
    drawn = choose_records(data, most=3)
    assert drawn == dataclasses.replace(choose_records(Data(), most=3), dataset=data)
    assert len(set(drawn.numbers)) == 3
    assert [r["key"] for r in drawn.records] == [f"gene{number}" for number in drawn.numbers]
    with pytest.raises(JaxepiError, match=r"data, split fold1, has no record 'gene6' \(did you mean 'gene"):
        choose_records(data, "fold1", keys=["gene6"])
    with pytest.raises(JaxepiError, match="--most_genes is 0: a positive number"):
        choose_records(data, most=0, flag="most_genes")
