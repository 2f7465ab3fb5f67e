"""Reading log.jsonl: the last line of a step counts, broken lines do not."""

import json

from jaxepi.storage.history import read_log


def write(path, lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_a_step_logged_twice_keeps_the_last_and_broken_lines_are_skipped(tmp_path):
    def train(step, loss, **more):
        terms = {"loss": loss, "tracks": loss / 2, "learning_rate": 1e-3, "gradient_norm": None}
        return {"kind": "train", "step": step, "loss": loss, "terms": terms, "samples_per_second": 10 + step, **more}

    log = [
        {"kind": "start", "step": 0, "devices": {"count": 1}},
        train(1, 3.0),
        train(2, 9.0, minutes=1.0),
        '{"kind": "train", "step": 3, "lo\n',
        "[1, 2]\n",
        {"kind": "start", "step": 1, "devices": {"count": 2}},
        train(2, 2.0, minutes=2.0),
        {"kind": "eval", "step": 2, "split": "valid", "metrics": {"auc": 0.7}},
        {"kind": "end", "step": 2, "reason": "finished", "minutes": 2.5},
    ]
    history = read_log(write(tmp_path / "log.jsonl", log))
    assert history.series() == {"loss": ([1, 2], [3.0, 2.0]), "tracks": ([1, 2], [1.5, 1.0])}
    assert history.start["devices"] == {"count": 2} and history.end["reason"] == "finished"
    assert history.evals == {"valid": {2: {"auc": 0.7}}}
    assert history.throughput() == 12 and history.minutes() == 2.5


def test_counts_are_no_terms_of_the_loss(tmp_path):
    terms = {"tracks": 0.5, "tracks_used": 2.0, "unused": 1.0}
    log = [{"kind": "train", "step": 1, "loss": 0.5, "terms": terms}]
    assert read_log(write(tmp_path / "log.jsonl", log)).series().keys() == {"loss", "tracks", "unused"}


def test_a_loss_that_was_no_number_is_left_out(tmp_path):
    log = [{"kind": "train", "step": step, "loss": loss} for step, loss in ((1, 1.0), (2, None))]
    assert read_log(write(tmp_path / "log.jsonl", log)).series() == {"loss": ([1], [1.0])}


def test_no_log_is_an_empty_history(tmp_path):
    for path in (None, tmp_path / "log.jsonl"):
        history = read_log(path)
        assert history.train == {} and history.throughput() is None and history.minutes() is None
