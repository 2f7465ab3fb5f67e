"""The files of an attention job: what they hold is what the predictor attends to; all of it or nothing."""

import csv
import json

import h5py
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from toys import gene_data
from toys.gene_data import MANIFEST, SIZES, WIDTH, Data

from jaxepi.data.subset import choose_records
from jaxepi.errors import JaxepiError
from jaxepi.systems.chromoformer import attention_files
from jaxepi.systems.chromoformer.attention import attend, of_genes
from jaxepi.systems.chromoformer.attention_files import attend_genes
from jaxepi.systems.chromoformer.attention_plots import _apart, _distance, _squeezed, _ticks, gene_figure


@pytest.fixture(scope="module")
def predictor():
    return gene_data.predictor()


@pytest.fixture(scope="module")
def job(predictor, tmp_path_factory):
    """A job over eight genes: its folder, its summary, and the genes as the predictor gives them."""
    out = tmp_path_factory.mktemp("attention") / "out"
    chosen = choose_records(Data())
    told = attend_genes(predictor, chosen, out, figures=2, batch_size=3, progress=False)
    task = predictor.for_dataset(MANIFEST)
    genes = [
        gene
        for records, found in predictor.over(chosen.records, task, attend, 3)
        for gene in of_genes(records, found, task)
    ]
    return out, told, genes


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_contacts_are_ranked_gene_by_gene(job):
    out, told, genes = job
    rows = table(out / "contacts.tsv")
    assert list(rows[0]) == [
        "gene", "rank", "contact", "distance", "score", "attention", "attention_400", "attention_100", "effect",
        "strongest_bin", "strongest_bin_attention",
    ]  # fmt: skip
    assert told["contacts"] == len(rows) == sum(len(gene.record["score"]) for gene in genes) == 16
    for gene in genes:
        own = [row for row in rows if row["gene"] == gene.record["key"]]
        assert [int(row["rank"]) for row in own] == list(range(1, len(own) + 1))
        assert sorted(row["contact"] for row in own) == sorted(filter(None, gene.record["neighbors"].split(";")))
        attention = np.array([float(row["attention"]) for row in own])
        assert np.all(np.diff(attention) <= 0)
        np.testing.assert_allclose(attention.sum() + gene.self_attention, 1, rtol=1e-4)
        by_size = [[float(row[f"attention_{size}"]) for size in SIZES] for row in own]
        np.testing.assert_allclose(np.mean(by_size, axis=1) if own else [], attention, rtol=1e-4)
        for row, contact in zip(own, gene.contacts, strict=True):
            assert row["distance"] == ("NA" if contact.distance is None else str(contact.distance))
            assert float(row["score"]) == contact.score
            assert float(row["effect"]) == pytest.approx(contact.effect, rel=1e-4)
            chrom, low, high = contact.strongest
            assert row["strongest_bin"] == f"{chrom}:{low}-{high}" and 0 < high - low <= min(SIZES)
            assert contact.region[1] <= low < high <= contact.region[2]


def test_genes_come_with_prediction_and_measured_value(job, predictor):
    out, told, genes = job
    rows = table(out / "genes.tsv")
    assert told["genes"] == 8 and [row["gene"] for row in rows] == [f"gene{number}" for number in range(8)]
    predictions = predictor.predict(Data().split("fold1+fold2"))[:, 0, 0]
    np.testing.assert_allclose([float(row["prediction"]) for row in rows], predictions, atol=1e-5)
    assert [int(row["contacts"]) for row in rows] == [len(gene.contacts) for gene in genes]
    assert float(rows[0]["self_attention"]) == 1.0  # no contact
    assert rows[1]["expression"] == "NA"


def test_all_weights_are_in_the_arrays(job):
    out, _, genes = job
    with h5py.File(out / "attention.h5") as file:
        assert list(file.attrs["bin_sizes"]) == list(SIZES) and list(file.attrs["marks"]) == ["a", "b"]
        assert [name.decode() for name in file["gene"]] == [gene.record["key"] for gene in genes]
        for row, gene in enumerate(genes):
            names = [name.decode() for name in file["contact"][row]]
            assert ";".join(filter(None, names)) == gene.record["neighbors"] and len(names) == 5
            scores = np.pad(gene.record["score"], (0, 5 - len(gene.record["score"])), constant_values=np.nan)
            np.testing.assert_array_equal(file["score"][row], scores)
            np.testing.assert_array_equal(np.isnan(file["effect"][row]), np.isnan(scores))
            for size in SIZES:
                np.testing.assert_array_equal(file[f"{size}/promoter"][row], gene.promoter[size])
                np.testing.assert_array_equal(file[f"{size}/contacts"][row], gene.contact_bins[size])
                np.testing.assert_array_equal(file[f"{size}/regulation"][row], gene.regulation[size])
                attended = gene.contact_bins[size].sum(axis=(1, 2)) > 0
                np.testing.assert_array_equal(file[f"{size}/contact_start"][row] >= 0, attended)
                start = file[f"{size}/promoter_start"][row]
                assert set(start[start >= 0] % size) == {(100_000 - WIDTH // 2) % size}


def test_figures_of_the_first_genes(job, predictor):
    out, _, genes = job
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["gene0.png", "gene1.png"]
    assert (out / "figures" / "gene0.png").read_bytes()[:4] == b"\x89PNG"
    for gene in (genes[0], genes[5]):
        figure = gene_figure(gene, ["a", "b"], "label")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        arcs, ranked = figure.subfigs[0].axes
        drawn = [line for line in arcs.lines if len(line.get_xdata()) == 80]
        assert len(drawn) == sum(contact.distance is not None for contact in gene.contacts)
        assert len(ranked.patches) == len(gene.contacts) + 1
        numbers = [text for text in arcs.texts if text.get_text().isdigit()]
        boxes = sorted((text.get_window_extent(canvas.get_renderer()) for text in numbers), key=lambda box: box.x0)
        for left, right in zip(boxes, boxes[1:], strict=False):
            assert left.x1 < right.x0
        assert f"predicted probability {gene.prediction:.3f}   measured" in figure.get_suptitle()
    unknown = gene_figure(genes[1], ["a", "b"], "expression").get_suptitle()
    assert unknown.endswith(f"log2(RPKM + 1): predicted {genes[1].prediction:.2f}")


def test_the_strongest_contact_has_the_widest_arc(job):
    gene = job[2][5]
    arcs = [
        line for line in gene_figure(gene, ["a", "b"], "label").subfigs[0].axes[0].lines if len(line.get_xdata()) == 80
    ]
    widths = {round(float(line.get_xdata()[-1]), 6): line.get_linewidth() for line in arcs}
    near = [contact for contact in gene.contacts if contact.distance is not None]
    ordered = [widths[round(_squeezed(contact.distance, WIDTH / 2), 6)] for contact in near]
    assert len(near) == 4 and ordered == sorted(ordered, reverse=True)


def test_the_axis_by_hand():
    assert [_squeezed(bp, 20_000) for bp in (0, 10_000, -20_000, 200_000, -2_000_000)] == [0, 0.5, -1, 2, -3]
    assert [_distance(bp) for bp in (0, 20_000, -1_500_000)] == ["TSS", "+20 kb", "-1.5 Mb"]
    assert sorted(_ticks(-1.5, 2.5, 20_000)) == [-50_000, -20_000, 0, 20_000, 50_000, 200_000, 500_000]
    apart = _apart([0.0, 0.01, 0.02, 5.0], 0.5, -10, 10)
    assert np.all(np.diff(apart) >= 0.49) and apart[3] == 5.0 and np.mean(apart[:3]) == pytest.approx(0.01)


def test_a_finished_job_is_not_repeated_and_others_are_refused(job, predictor):
    out, told, _ = job
    before = (out / "attention.h5").stat().st_mtime_ns
    again = attend_genes(predictor, choose_records(Data()), out, figures=2, progress=False)
    assert again == told == json.loads((out / "attention.json").read_text())
    assert (out / "attention.h5").stat().st_mtime_ns == before
    with pytest.raises(JaxepiError, match="holds an attention job with figures 2, not 3: remove it"):
        attend_genes(predictor, choose_records(Data()), out, figures=3, progress=False)
    with pytest.raises(JaxepiError, match="--figures is -1"):
        attend_genes(predictor, choose_records(Data()), out, figures=-1, progress=False)


def test_nothing_is_left_of_a_job_that_fails(predictor, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(attention_files, "_draw", full)
    with pytest.raises(JaxepiError, match=r"Cannot write .*out \(No space left on device\): make room"):
        attend_genes(predictor, choose_records(Data()), tmp_path / "out", batch_size=3, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_model_of_promoters_alone_has_no_contacts(tmp_path):
    alone = gene_data.predictor(max_pcres=0)
    data = Data(4)
    told = attend_genes(alone, choose_records(data), tmp_path / "out", figures=0, progress=False)
    assert told["contacts"] == 0 and len(table(tmp_path / "out" / "contacts.tsv")) == 0
    with h5py.File(tmp_path / "out" / "attention.h5") as file:
        assert file["100/contacts"].shape == (4, 0, 2, 2, 40)
        np.testing.assert_allclose(file["400/regulation"][:], 1, rtol=1e-6)
