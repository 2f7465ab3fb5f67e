"""The report: one self-contained page with every figure, names escaped, numbers in metrics.json."""

import base64
import dataclasses
import html.parser
import json

import pytest

from jaxepi.errors import JaxepiError
from jaxepi.evaluate.result import EvalResult
from jaxepi.report.run_report import _monitor, write_report
from jaxepi.storage.history import read_log
from jaxepi.task import Options

NASTY = ['<script>alert("x")</script>', "a&b' onload=$y$", "plain"]


class Page(html.parser.HTMLParser):
    """Collects tags, attributes, images and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.images, self.text, self.open = [], [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "data", "srcset", "action", "poster", "style"):
                self.links.append(value)
            assert not name.startswith("on"), name
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def written(tmp_path, run, split):
    lines = [
        {"kind": "start", "step": 0, "devices": {"platform": "cpu", "count": 1}, "versions": {"jax": "0.10"},
         "dataset": {"path": "<b>data</b>", "fingerprint": "abc"}, "parameters": 1234},
        *({"kind": "train", "step": s, "loss": 2.0 / s, "terms": {"<i>t</i>": 1.0 / s}, "samples_per_second": 5.0,
           "minutes": 0.1} for s in range(1, 5)),
        {"kind": "eval", "step": 4, "split": "valid", "metrics": {"auc_cpg_per_track_mean": 0.8}},
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    place = {"locate": lambda record: ("<chr&1>", 10_000 * record), "options": Options(windows=2)}
    result = run(split, names=NASTY, **place)
    config = {"system": "melody", "note": "</pre><script>1</script>", "monitor": "auc_cpg_per_track_mean"}
    best = {"pearson_cpg_per_track_mean": 0.987, "per_track": {"plain": {"pearson_cpg": 0.99}}}
    expectation = {"text": "Noise <limits> it.", "splits": {"test": best}}
    path = write_report(tmp_path, {"test": result}, tmp_path / "log.jsonl", config, expectation)
    return tmp_path, path, result


def test_page_is_self_contained_and_well_formed(written):
    _, path, _ = written
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text


def test_names_from_files_are_escaped_and_shown(written):
    _, path, _ = written
    page = Page(path.read_text())
    for shown in (*NASTY, "<chr&1>", "<b>data</b>", "</pre><script>1</script>", "Noise <limits> it."):
        assert shown in page.text or json.dumps(shown)[1:-1] in page.text, shown


def test_every_figure_is_in_the_page_and_a_file(written):
    workdir, path, result = written
    files = sorted((workdir / "report" / "figures").iterdir())
    names = {file.name for file in files}
    assert names == {
        "loss_curves.png", "test_per_track.png", "test_density.png", "test_reliability.png", "test_roc_pr.png",
        *(f"test_window{n + 1}.png" for n in range(len(result.windows))),
    }  # fmt: skip
    embedded = {base64.b64decode(src.partition(",")[2]) for src in Page(path.read_text()).images}
    assert embedded == {file.read_bytes() for file in files}
    assert all(png.startswith(b"\x89PNG") for png in embedded)


def test_every_number_is_in_metrics_json(written):
    workdir, path, result = written
    numbers = json.loads((workdir / "metrics.json").read_text())
    saved = numbers["splits"]["test"]
    assert saved["summary"]["auc_cpg_per_track_mean"] == result.summary["auc_cpg_per_track_mean"]
    assert saved["per_track"]["pearson_cpg"] == result.per_track["pearson_cpg"]
    assert numbers["training"]["loss_curves"]["loss"] == {"step": [1, 2, 3, 4], "value": [2.0, 1.0, 2 / 3, 0.5]}
    assert numbers["training"]["validation"]["valid"]["4"]["auc_cpg_per_track_mean"] == 0.8
    text = Page(path.read_text()).text
    assert f"{result.summary['pearson_cpg_per_track_mean']:.4f}" in text and "0.9870" in text
    assert "5.00 samples/s" in text and "1,234" in text


def test_report_from_saved_results_equals_the_first(written):
    workdir, path, result = written
    first = path.read_bytes()
    result.save(workdir / "eval" / "test")
    again = EvalResult.load(workdir / "eval" / "test")
    config = {"system": "melody", "note": "</pre><script>1</script>", "monitor": "auc_cpg_per_track_mean"}
    best = {"pearson_cpg_per_track_mean": 0.987, "per_track": {"plain": {"pearson_cpg": 0.99}}}
    expectation = {"text": "Noise <limits> it.", "splits": {"test": best}}
    write_report(workdir, {"test": again}, workdir / "log.jsonl", config, expectation)
    assert Page(path.read_text()).images == Page(first.decode()).images


def test_without_log_and_with_undefined_values(tmp_path, run, split):
    result = run(dataclasses.replace(split, tracks=1), names=["<i>"])
    undefined = dataclasses.replace(result, undefined={"auc_cpg": {0: "only one class"}})
    path = write_report(tmp_path, {"test": undefined}, None, None, "One line.\nAnother.")
    page = Page(path.read_text())
    assert "only one class" in page.text and "1 undefined values" in page.text and "One line.\nAnother." in page.text
    assert not (tmp_path / "report" / "figures" / "loss_curves.png").exists()


def test_the_curve_shows_the_metric_that_the_run_watched(tmp_path):
    lines = [
        *(
            {"kind": "eval", "step": s, "split": "valid", "metrics": {"auc_cpg_flat": 0.5, "mae_cpg_flat": 0.1}}
            for s in (1, 2)
        ),
        {"kind": "end", "step": 2, "reason": "finished", "best": {"metric": "mae_cpg_flat"}},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    history = read_log(tmp_path / "log.jsonl")
    assert _monitor({"monitor": None}, history) == "mae_cpg_flat"
    assert _monitor({"monitor": "auc_cpg_flat"}, history) == "auc_cpg_flat"
    assert _monitor({}, read_log(None)) is None


def test_the_page_tells_of_all_starts_and_of_the_weights_that_it_is_about(tmp_path, run, split):
    lines = [
        {"kind": "start", "step": 0, "time": "2026-01-01T10:00", "config": {"steps": 2000, "unit": "step"}},
        {"kind": "train", "step": 1450, "loss": 1.0, "minutes": 3.0},
        {"kind": "resume", "step": 1400, "time": "2026-01-02T10:00"},
        {"kind": "start", "step": 1400, "time": "2026-01-02T10:00", "config": {"steps": 3000, "unit": "step"}},
        {"kind": "train", "step": 1450, "loss": 1.0, "minutes": 4.0},
        {"kind": "end", "step": 1457, "reason": "interrupted", "minutes": 4.5},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = dataclasses.replace(run(split, options=Options(windows=0)), step=1400)
    path = write_report(tmp_path, {"test": result}, tmp_path / "log.jsonl", {})
    text = " ".join(Page(path.read_text()).text.split())
    assert "1,457 of 3,000 planned (interrupted)" in text and "those of step 1,400" in text
    assert "4.5 minutes in 2 starts" in text and "2026-01-01T10:00, again at 2026-01-02T10:00" in text
    told = json.loads((tmp_path / "metrics.json").read_text())["training"]
    assert (told["steps_done"], told["steps_planned"], told["first_start"], told["starts"]) == (
        1457, "3,000", "2026-01-01T10:00", 2
    )  # fmt: skip
    epochs = read_log(tmp_path / "log.jsonl")
    epochs.start["config"]["unit"] = "epoch"
    assert epochs.planned() == "3,000 epochs" and read_log(None).planned() is None


def test_figures_of_an_earlier_report_go(tmp_path, run, split):
    result = run(split, options=Options(windows=0))
    write_report(tmp_path, {"valid": result, "test": result}, None, {})
    assert (tmp_path / "report" / "figures" / "valid_density.png").exists()
    write_report(tmp_path, {"test": result}, None, {})
    assert not (tmp_path / "report" / "figures" / "valid_density.png").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, run, split):
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(JaxepiError, match="Cannot write .*figures"):
        write_report(tmp_path, {"test": run(split, options=Options(windows=0))}, None, {})
