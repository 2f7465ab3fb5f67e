"""The command line as a whole: every mistake is one sentence and exit status 2, in this process but for one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxepi.verbs.command import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config.batchsize=3"], "Unknown config field 'batchsize' (did you mean 'batch_size'?)"),
        (
            ["--config.optimizer.learnin_rate=1"],
            "Unknown config field 'optimizer.learnin_rate' (did you mean 'optimizer.learning_rate'?)",
        ),
        (["--batch_size=3"], "Unknown option --batch_size (did you mean 'config.batch_size'?)"),
        (["--config.batch_size=abc"], "--config.batch_size is 'abc', but a whole number was expected"),
        (["--config.optimizer.clip_norm=abc"], "--config.optimizer.clip_norm is 'abc', but a number was expected"),
        (["--config.report=maybe"], "--config.report is 'maybe', but true or false was expected"),
        (["--config.batch_size"], "--config.batch_size needs a value"),
        (
            ["--mode=trian"],
            "There is no verb 'trian' (did you mean 'train'?); known are train, eval, crossval, pre",
        ),
        (["stray"], "'stray' is no option"),
        (["--config.report", "stray"], "'stray' is no option"),
        (["--config.report", "--regoins=x"], "Unknown option --regoins"),
        (["eval"], "'eval' is no option: a verb comes first on the line"),
        (["--config.dataset.path=/nowhere"], "There is no dataset at /nowhere: make it with `python -m data_prep"),
        (["--mode=eval"], "No checkpoint in"),
        (["--mode=crossval"], "config.dataset.folds is (), but cross-validation needs two or more splits"),
        (["--mode=impute"], "No checkpoint in"),
        (["--mode=motifs"], "No checkpoint in"),
        (["--mode=effects"], "No checkpoint in"),
        (["--mode=effects", "--effects=exat"], "--effects is 'exat' (did you mean 'exact'?); it must be gradient or"),
        (["--mode=predict"], "There is no run and no file of weights at"),
        (["--mode=attention"], "There is no run and no file of weights at"),
        (
            ["--tracks", "liver", "--genes", "TP53"],
            "--tracks belongs to predict and impute; train has --config, --",
        ),
    ],
)
def test_mistakes(arguments, sentence, tmp_path, capsys):
    check(["--config=configs/melody_mt.py", f"--workdir={tmp_path / 'run'}", *arguments], sentence, capsys)


def test_unknown_configs_and_variants(capsys):
    check(["--config=configs/melody_m.py"], "no config configs/melody_m.py (did you mean 'melody_mt'?)", capsys)
    check(["--config=configs/melody_mt.py:sampel"], "Unknown variant 'sampel' (did you mean 'sample'?)", capsys)
    check(["--config.steps=3"], "--config.steps needs --config, the experiment whose field it sets", capsys)
    check([], "--config is needed here, such as --config basenji:sample", capsys)


def check(arguments, sentence, capsys):
    status = main(arguments, prog="launch.py")
    err = capsys.readouterr().err
    assert status == 2, err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and sentence in errors[0], err
    assert "Traceback" not in err


def test_the_program_leaves_with_the_status_and_the_sentence():
    done = subprocess.run(
        [sys.executable, "launch.py", "predict", "--regoins", "x"], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: Unknown option --regoins (did you mean 'regions'?); predict has --workdir")
    assert len(done.stderr.splitlines()) == 1


def test_the_installed_program_works_outside_a_checkout(tmp_path):
    """What the console script of setup.cfg does: it finds the shipped configs, and is light until a verb computes."""
    assert "jaxepi = jaxepi.verbs.command:main" in (ROOT / "setup.cfg").read_text()
    script = (
        "import sys; from jaxepi.verbs.command import main\n"
        "for words in (['--help'], ['predict', '--help'], ['configs']): assert main(words) == 0\n"
        "heavy = {'jax', 'flax', 'matplotlib', 'orbax', 'tensorflow', 'torch', 'ml_collections', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "sys.exit(main(['--config', 'melody_mt', '--config.dataset.path=/nowhere']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "usage: jaxepi [VERB]" in done.stdout and "usage: jaxepi predict" in done.stdout
    assert "error: There is no dataset at /nowhere" in done.stderr
    assert (tmp_path / "runs" / "melody_mt").is_dir()
