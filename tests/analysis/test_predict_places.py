"""Regions and genes: their files agree with the model, with each other, and with what was measured."""

import json

import h5py
import numpy as np
import pyBigWig
import pytest
from flax import nnx
from toys.binned import BIN, WINDOW, counts_predictor

from jaxepi.analysis import predict_bins
from jaxepi.analysis.bins import along, region_files
from jaxepi.analysis.bins.places import Place, read_regions
from jaxepi.analysis.predict_bins import predict_bin_files
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Interval
from jaxepi.metrics.exact import pearson
from jaxepi.predictor import Predictor
from jaxepi.regions import PerBase
from jaxepi.registry import get_system, task_of
from jaxepi.task import Views

LENGTHS = {"chr2": 150, "chr1": 1005}
GENE = Place(Interval("chr1", 640, 641), "BIN1", 640, True)
PLACES = [*read_regions(["chr1:200-500,chr2:40-60"]), GENE]
STARTS = [("chr1", 170), ("chr1", 310), ("chr1", 450), ("chr2", -50), ("chr1", 540)]


@pytest.fixture(scope="module")
def predictor():
    return counts_predictor()


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """A FASTA, and a BigWig of values at all bases of chr1 and of the middle of chr2."""
    folder, random = tmp_path_factory.mktemp("places"), np.random.default_rng(3)
    letters = {name: "".join(random.choice(list("ACGT"), length)) for name, length in LENGTHS.items()}
    (folder / "genome.fa").write_text("".join(f">{name}\n{text}\n" for name, text in letters.items()))
    with pyBigWig.open(str(folder / "m.bw"), "w") as file:
        file.addHeader(sorted(LENGTHS.items()))
        for name, low, high in (("chr1", 0, 1005), ("chr2", 60, 110)):
            file.addEntries(name, low, values=random.gamma(0.5, 2.0, high - low), span=1, step=1)
    return folder


def job(genome, out, **more):
    usual = {"fasta": genome / "genome.fa", "regions": PLACES, "batch_size": 4, "progress": False}
    return usual | {"out_dir": out, **more}


@pytest.fixture(scope="module")
def whole(predictor, genome):
    out = genome / "whole"
    more = {"measured": {"track-1": genome / "m.bw"}, "formats": ["hdf5", "bigwig", "table", "plot"]}
    return out, predict_bin_files(predictor, **job(genome, out, **more))


def test_places_are_predicted_in_full_precision_where_they_are_said_to_lie(predictor, genome, whole):
    out, told = whole
    fasta = Genome(genome / "genome.fa")
    codes = [fasta.codes(chrom, start, start + WINDOW, pad=True) for chrom, start in STARTS]
    with h5py.File(out / "predict.h5") as file:
        assert file["preds"].dtype == np.float32
        np.testing.assert_allclose(file["preds"], predictor.predict(np.stack(codes), batch_size=4), atol=1e-5)
        assert file["region"][:].tolist() == [0, 0, 0, 1, 2]
        region = predictor.predict_region("chr1:200-500", genome / "genome.fa", batch_size=4)
        np.testing.assert_array_equal(region.values, file["preds"][:3])
    assert told["places"] == [
        "chr1:200-500: 3 windows over chr1:170-650, bins chr1:200-620",
        "chr2:40-60: window chr2:-50-150, bins chr2:-20-120",
        "BIN1, TSS chr1:640 (-): window chr1:540-740, bins chr1:570-710",
    ]
    assert [note for note in told["notes"] if "tile" in note] == [
        "regions longer than the 140 bp that a window predicts, which several windows tile (--site-length 140 predicts "
        "the middle of each by one): 1"
    ]


def test_the_table_holds_the_bins_inside_chromosomes(predictor, whole):
    out, _ = whole
    titles, *lines = [line.split("\t") for line in (out / "predict.tsv").read_text().splitlines()]
    assert titles == ["chrom", "start", "end", *predictor.tracks]
    with h5py.File(out / "predict.h5") as file:
        wanted = file["preds"][:].reshape(-1, 3)
    inside = np.ones(70, bool)
    inside[42:44] = False  # of chr2, bins before its first base
    np.testing.assert_allclose(np.array([line[3:] for line in lines], float), wanted[inside], rtol=1e-5)
    assert lines[42][:3] == ["chr2", "0", "10"] and lines[-1][:3] == ["chr1", "700", "710"]


def test_agreement_with_what_was_measured_is_that_of_the_bins(genome, whole):
    out, told = whole
    titles, *lines = [line.split("\t") for line in (out / "measured.tsv").read_text().splitlines()]
    assert [line[:6] for line in lines] == [
        ["chr1:200-500", "chr1", "200", "620", "track-1", "42"],
        ["chr2:40-60", "chr2", "0", "120", "track-1", "12"],
        ["BIN1", "chr1", "570", "710", "track-1", "14"],
    ]
    found = []
    with h5py.File(out / "predict.h5") as file, pyBigWig.open(str(genome / "m.bw")) as bigwig:
        preds, rows = file["preds"][:, :, 1].astype(float), [slice(0, 3), slice(3, 4), slice(4, 5)]
        for line, own in zip(lines, rows, strict=True):
            bases = np.nan_to_num(bigwig.values(line[1], int(line[2]), int(line[3]), numpy=True))
            x, y = preds[own].ravel()[-int(line[5]) :], bases.reshape(-1, BIN).mean(axis=1)
            found.append([pearson(x, y), pearson(np.log2(1 + x), np.log2(1 + y))])
    np.testing.assert_allclose([[float(cell) for cell in line[6:]] for line in lines], found, rtol=1e-4)
    means = told["measured"]["track-1"]
    assert list(means) == ["pearson_region_mean", "pearson_log2_region_mean"]
    np.testing.assert_allclose(list(means.values()), np.mean(found, axis=0), rtol=1e-6)
    assert "measured bins without any record in their file, which count as 0: 7" in told["notes"]


def test_every_region_has_two_plots_and_few_have_many(predictor, genome, whole, tmp_path, monkeypatch):
    names = ["BIN1", "chr1_200-500", "chr2_40-60"]
    plots = sorted((whole[0] / "plot").iterdir())
    assert [path.name for path in plots] == [f"{name}{end}" for name in names for end in (".log2.png", ".png")]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots)
    monkeypatch.setattr(along, "MOST_PLOTS", 1), monkeypatch.setattr(along, "MOST_PANELS", 2)
    drawn = []
    monkeypatch.setattr(region_files, "along_region", lambda *given, **more: drawn.append((given, more)))
    monkeypatch.setattr(region_files, "save_figure", lambda path, figure: path.write_text("x"))
    told = predict_bin_files(predictor, **job(genome, tmp_path / "out", formats=["plot"]))
    assert len(list((tmp_path / "out/plot").iterdir())) == 2 and not (tmp_path / "out/measured.tsv").exists()
    assert told["notes"][-3:-1] == ["plots show the first 1 of 3 regions", "plots show the first 2 of 3 tracks"]
    (span, start, width, panels), more = drawn[0]
    assert (span, start, width, more["unit"], more["asked"]) == (("chr1", 200, 620), 200, BIN, "counts", (200, 500))
    assert [panel.track for panel in panels] == ["track-0", "track-1"] and panels[0].measured is None
    with h5py.File(whole[0] / "predict.h5") as file:
        np.testing.assert_allclose(panels[1].predicted, file["preds"][:3, :, 1].ravel(), rtol=1e-6)
        np.testing.assert_allclose(drawn[1][0][3][1].predicted, np.log2(1 + panels[1].predicted), rtol=1e-6)
    assert drawn[1][1]["unit"] == "log2(1 + counts)"


def test_of_many_bins_means_are_drawn(monkeypatch):
    monkeypatch.setattr(along, "MOST_POINTS", 4)
    curves = along.Curves.over(-20, 10, 10, 1)  # points of three bins
    values = np.arange(10.0)[:, None, None] * np.ones((1, 2, 1))
    values[8:, 1] = np.nan
    for low in (0, 5):
        curves.add(-20 + 10 * low, 10, values[low : low + 5])
    assert (curves.start, curves.width, curves.each) == (-20, 30, 3)
    np.testing.assert_array_equal(curves.values[:, 0, 0], [1, 4, 7, 9])
    np.testing.assert_array_equal(curves.values[:, 1, 0], [1, 4, 6.5, np.nan])


class Killed(BaseException):
    """What no code catches."""


def test_a_job_killed_among_its_plots_leaves_nothing_half_and_goes_on(predictor, genome, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = job(genome, out, measured={"track-1": genome / "m.bw"}, formats=["hdf5", "bigwig", "table", "plot"])

    def killed(folder, *rest):
        (folder / "measured.tsv").write_text("half")
        (folder / "plot").mkdir()
        (folder / "plot" / "other.png").write_text("half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(predict_bins, "write_regions", killed)
        with pytest.raises(Killed):
            predict_bin_files(predictor, **arguments)
    assert not out.exists() and (tmp_path / "out.partial/measured.tsv").exists()
    monkeypatch.setattr(Predictor, "begin", None)  # rows that are there are not computed again
    assert predict_bin_files(predictor, **arguments) == whole[1]
    files = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert files == {path.relative_to(whole[0]) for path in whole[0].rglob("*") if path.is_file()} and len(files) == 13
    assert all((out / name).read_bytes() == (whole[0] / name).read_bytes() for name in files)
    with pytest.raises(JaxepiError, match="holds a prediction with measured .*'stat': 'mean'.*, not .*'sum'"):
        predict_bin_files(predictor, **arguments, measured_stat="sum")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"regions": read_regions(["chr1:900-1006"])},
            r"region chr1:900-1006 reaches beyond chr1, 1005 bp in .*genome",
        ),
        ({"regions": read_regions(["chr3:1-2"])}, r"region chr3:1-2 names 'chr3', which is not in .*did you mean 'chr"),
        ({"regions": read_regions(["1:1-2"])}, r"The region 1:1-2 names '1' where .*genome\.fa has 'chr1'"),
        ({"regions": []}, "regions holds no place"),
        ({"total": True, "formats": ["plot"]}, "plot is of bins and not of their sums: leave out one"),
        ({"total": True, "measured": ["a.bw"]}, "measured is of bins and not of their sums"),
        ({"per_base": {"conservation": "c.bw"}}, "counts reads no 'conservation': it takes nothing along the sequence"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_is_written(predictor, genome, tmp_path, change, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        predict_bin_files(predictor, **job(genome, tmp_path / "out") | change)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def conserved():
    """A model that nobody trained, whose bins depend on the conservation of their bases."""
    system = get_system("epiformer")
    toy = system.toy(bins=16, bin_width=4)
    task = task_of(system, toy.model, toy.task, toy.manifest)
    return Predictor(task.build_model(nnx.Rngs(0)), system, task, source="toy")


@pytest.fixture(scope="module")
def conservation(genome):
    """A BigWig that lacks chr2 and some bases of chr1."""
    with pyBigWig.open(str(genome / "c.bw"), "w") as file:
        file.addHeader([("chr1", 1005)])
        file.addEntries("chr1", 300, values=np.random.default_rng(0).random(200), span=1, step=1)
    return genome / "c.bw"


def test_conservation_is_read_along_each_window_and_turns_with_it(
    conserved, genome, conservation, tmp_path, monkeypatch
):
    views, length = Views(True, (0, 3)), conserved.window
    places = {"formats": ["hdf5"], "regions": read_regions(["chr1:280-360,chr2:5-9"]), "views": views}
    beside = {"per_base": {"conservation": conservation}}
    told = predict_bin_files(conserved, **job(genome, tmp_path / "out", **places, **beside))
    assert f"windows on chromosomes that {conservation} lacks, where conservation is 0: 1" in told["notes"]
    fasta = Genome(genome / "genome.fa")
    with h5py.File(tmp_path / "out/predict.h5") as file:
        rows = zip(file["chrom"][:].astype(str), file["start"][:] - conserved.grid.crop, strict=True)
        starts = [(chrom, int(start)) for chrom, start in rows]
        codes = np.stack([fasta.codes(chrom, start, start + length, pad=True) for chrom, start in starts])
        values = np.zeros((len(starts), length), np.float32)
        with pyBigWig.open(str(conservation)) as bigwig:
            for row, (chrom, start) in zip(values, starts, strict=True):
                if chrom == "chr1":
                    row[:] = np.nan_to_num(bigwig.values(chrom, start, start + length, numpy=True))
        given = {"rc": True, "shifts": (0, 3), "batch_size": 4}
        np.testing.assert_allclose(file["preds"], conserved.predict(codes, conservation=values, **given), atol=1e-5)
        without = conserved.predict(codes, conservation=0 * values, **given)
        assert np.abs(file["preds"][0] - without[0]).max() > 1e-3
        np.testing.assert_allclose(file["preds"][-1], without[-1], atol=1e-5)
    region = conserved.predict_region("chr1:280-360", genome / "genome.fa", batch_size=4, conservation=conservation)
    whole = conserved.predict(codes, conservation=values, batch_size=4)
    np.testing.assert_allclose(region.values, whole[: len(starts) - 1], atol=1e-5)
    inputs = PerBase({}, conserved.task, "toy", fasta)
    assert inputs.notes(["chr1"]) == [
        "the model was trained with conservation and predicts without it, as if it were 0 at every base"
    ]
    monkeypatch.setattr(conserved, "predict", lambda codes, size: size)
    with pytest.warns(UserWarning, match="was trained with conservation and predicts without it"):
        assert conserved.predict_region("chr1:280-360", genome / "genome.fa", batch_size=4).values == 4


def test_a_file_that_is_no_conservation_of_this_genome_is_one_sentence(conserved, genome, tmp_path):
    with pyBigWig.open(str(tmp_path / "short.bw"), "w") as file:
        file.addHeader([("chr1", 900)])
        file.addEntries("chr1", 0, values=[0.5], span=1, step=1)
    with pytest.raises(JaxepiError, match=r"chr1 has 900 bp in .*short\.bw and 1005 in .*genome\.fa"):
        predict_bin_files(conserved, **job(genome, tmp_path / "o", per_base={"conservation": tmp_path / "short.bw"}))
    with pytest.raises(JaxepiError, match=r"reads no 'conservatio' .did you mean 'conservation'.*takes conservation"):
        conserved.predict_region("chr1:0-9", genome / "genome.fa", conservatio="x.bw")
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["short.bw"]'
