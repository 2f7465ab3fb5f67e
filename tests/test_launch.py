"""The command line: every mistake is one sentence and exit status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config.batchsize=3"], "Unknown config field 'batchsize' (did you mean 'batch_size'?)"),
        (["--config.optimizer.learnin_rate=1"], "Unknown config field 'learnin_rate' (did you mean 'learning_rate'?)"),
        (["--batch_size=3"], "Unknown flag --batch_size (did you mean 'config.batch_size'?)"),
        (["--config.batch_size=abc"], "invalid literal for int"),
        (["--mode=trian"], "value should be one of <train|crossval|eval|predict|impute|motifs|effects|attention>"),
        (["stray"], "'stray' is no flag"),
        (["--config.dataset.path=/nowhere"], "There is no dataset at /nowhere: make it with `python -m data_prep"),
        (["--mode=eval"], "No checkpoint in"),
        (["--mode=crossval"], "config.dataset.folds is (), but cross-validation needs two or more splits"),
        (["--mode=impute"], "No checkpoint in"),
        (["--mode=effects", "--effects=exat"], "value should be one of <gradient|exact>"),
        (["--mode=predict"], "There is no run and no file of weights at"),
        (["--mode=attention"], "There is no run and no file of weights at"),
    ],
)
def test_mistakes(arguments, sentence, tmp_path):
    check(["--config=configs/melody_mt.py", f"--workdir={tmp_path / 'run'}", *arguments], sentence)


def test_unknown_configs_and_variants():
    check(["--config=configs/melody_m.py"], "There is no config configs/melody_m.py (did you mean 'melody_mt'?)")
    check(["--config=configs/melody_mt.py:sampel"], "Unknown variant 'sampel' (did you mean 'sample'?)")
    check(["--config.steps=3"], "--config.steps needs --config, the experiment whose field it sets")
    check([], "--config is needed here, such as --config configs/melody_mt.py:sample")


def check(arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "launch.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and sentence in errors[0], done.stderr
    assert "Traceback" not in done.stderr
