"""The synthetic sample: deterministic files, rules as the README states them, a ceiling that is one."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.build import synthetic
from data_prep.melody import sample as sample
from jaxepi.data import open_dataset
from jaxepi.errors import JaxepiError
from jaxepi.sequence import decode, encode, reverse_complement

SMALL = 0.4  # Mb
FILES = {"genome.fa", "tracks.csv", "README.md", "ceiling.json", *(f"{track.name}.bigwig" for track in sample.TRACKS)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files and dataset of a small sample, made by the command line."""
    out = tmp_path_factory.mktemp("sample") / "out"
    assert main(["melody-sample", "--out", str(out), "--megabases", str(SMALL), "--seed", "3"]) == 0
    return out


def _raw(out: Path) -> dict[str, bytes]:
    return {name: (out / "raw" / name).read_bytes() for name in FILES}


def test_the_same_seed_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    sample.prepare(tmp_path, seed=3, megabases=SMALL)
    assert _raw(tmp_path) == _raw(made)
    sample.prepare(tmp_path / "other", seed=4, megabases=SMALL)
    assert _raw(tmp_path / "other")["genome.fa"] != _raw(made)["genome.fa"]


def test_the_dataset_has_the_splits_of_the_paper(made: Path) -> None:
    dataset = open_dataset(made / "dataset", ("melody",))
    assert dataset.manifest["tracks"] == [track.name for track in sample.TRACKS]
    chroms = {split: {record["chrom"] for record in dataset.split(split)} for split in dataset.splits}
    assert chroms == {"train": {"chr1", "chr2", "chr3", "chr4"}, "valid": {"chr10"}, "test": {"chr8", "chr9"}}
    assert sum(dataset.splits.values()) == sum(sample.chromosome_lengths(SMALL).values()) // synthetic.WINDOW


def test_records_hold_what_the_rules_gave(made: Path) -> None:
    """A record of the validation chromosome against the generator: positions exactly, values up to noise."""
    split = open_dataset(made / "dataset").split("valid")
    codes = np.concatenate([record["sequence"] for record in split])
    cpg = synthetic.cpg_positions(codes)
    expected = synthetic.expected_methylation(synthetic.rule_logits(codes, sample.TRACKS), sample.HIDDEN_NOISE)
    value = np.full((len(codes), len(sample.TRACKS)), np.nan)
    for number, record in enumerate(split):
        value[number * synthetic.WINDOW + record["position"].astype(int)] = record["value"]
    at_cpg = value[cpg]
    assert (at_cpg == -1).any() and np.isnan(at_cpg).any()
    reported = json.loads((made / "raw" / "ceiling.json").read_text())["splits"]["valid"]
    assert reported["cpgs"] == len(cpg)
    for track, measured, best in zip(sample.TRACKS, at_cpg.T, expected.T, strict=True):
        covered = measured >= 0
        correlation = synthetic.pearson(best[covered], measured[covered])
        assert reported["per_track"][track.name]["pearson_cpg"] == pytest.approx(correlation, abs=1e-6)
        assert measured[covered].mean() == pytest.approx(best[covered].mean(), abs=0.03)


def test_a_rerun_does_nothing(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    assert main(["melody-sample", "--out", str(made), "--megabases", str(SMALL), "--seed", "3"]) == 0
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == before


def test_other_arguments_are_refused_with_the_difference(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["melody-sample", "--out", str(made), "--megabases", str(SMALL)]) == 2
    assert "error: " + str(made) in (errors := capsys.readouterr().err) and "with seed 3, not 0" in errors


def test_a_folder_without_its_ceiling_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(JaxepiError, match="ceiling.json is missing or damaged"):
        sample.prepare(tmp_path, megabases=SMALL)


def test_too_small_a_genome_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JaxepiError, match="--megabases is 0.1"):
        sample.prepare(tmp_path, megabases=0.1)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sample, "measure", fail)
    with pytest.raises(OSError, match="No space"):
        sample.prepare(tmp_path, megabases=SMALL)
    assert not list(tmp_path.iterdir())


def test_motifs_match_on_both_strands() -> None:
    text = "A" * 20 + "TGATAAG" + "A" * 20  # WGATAAG
    assert synthetic.motif_centres(encode(text), "WGATAAG").tolist() == [23]
    assert synthetic.motif_centres(reverse_complement(encode(text)), "WGATAAG").tolist() == [23]
    assert len(synthetic.motif_centres(encode(text.replace("TAAG", "TANG")), "WGATAAG")) == 0


def test_rules_by_hand() -> None:
    """One lonely CpG without motifs, then with one match near, two near, one far; then an island."""
    plain = list("A" * 400 + "CG" + "A" * 400)
    near = plain.copy()
    near[350:357] = "TGACTCA"
    twice = near.copy()
    twice[430:437] = "TGAGTCA"
    far = plain.copy()
    far[245:252] = "TGACTCA"  # its middle is 152 bp away: 0.48 of a match
    lonely = synthetic.ISLAND_EFFECT / (1 + np.exp((synthetic.DENSITY_MIDDLE - 1) / synthetic.DENSITY_SCALE))
    for text, matches in ((plain, 0.0), (near, 1.0), (twice, 2.0), (far, 0.48)):
        logits = synthetic.rule_logits(encode("".join(text)), sample.TRACKS)
        expected = [t.base + lonely + t.effects.get("TGASTCA", 0.0) * matches / 2 for t in sample.TRACKS]
        np.testing.assert_allclose(logits, [expected])
    island = synthetic.rule_logits(encode("A" * 200 + "CGTT" * 60 + "A" * 200), sample.TRACKS)
    assert (synthetic.expected_methylation(island, sample.HIDDEN_NOISE)[30, :3] < 0.1).all()


def test_expected_methylation_is_the_mean_over_the_hidden_noise() -> None:
    logits = np.array([[-4.0, 0.0, 2.2]])
    drawn = logits + sample.HIDDEN_NOISE * np.random.default_rng(0).standard_normal((400_000, 1))
    np.testing.assert_allclose(
        synthetic.expected_methylation(logits, sample.HIDDEN_NOISE)[0], (1 / (1 + np.exp(-drawn))).mean(0), atol=1e-3
    )


def test_auc_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    score, positive = random.integers(0, 20, 500) / 20, random.random(500) < 0.3
    assert synthetic.auc(score, positive) == pytest.approx(metrics.roc_auc_score(positive, score), abs=1e-12)


def test_islands_are_dense_in_cpgs_and_the_background_is_not() -> None:
    codes = synthetic.make_chromosome(400_000, synthetic.motifs_of(sample.TRACKS), np.random.default_rng(1))
    share = len(synthetic.cpg_positions(codes)) / len(codes)
    assert 0.008 < share < 0.02
    assert decode(codes[:1000]) == "N" * 1000


def test_the_readme_states_every_rule(made: Path) -> None:
    text = (made / "raw" / "README.md").read_text()
    for track in sample.TRACKS:
        for motif, effect in track.effects.items():
            assert f"| {track.name} | {track.base:+.1f} |" in text and f"{motif} {effect:+.1f}" in text


@pytest.mark.parametrize("system", ["melody", "deepcpg", "chromoformer"])
@pytest.mark.parametrize("value", ["-1", "0"])
def test_sizes_and_seeds_that_make_no_sample_are_refused(prepare, tmp_path, system, value):
    size = "--genes" if system == "chromoformer" else "--megabases"
    for words, sentence in ((["--seed", "-1"], "--seed is -1"), ([size, value], f"{size} is {value}")):
        status, _, err = prepare([f"{system}-sample", "--out", str(tmp_path / "s"), *words])
        assert status == 2 and sentence in err and not (tmp_path / "s").exists()
