"""Experiments by name and by path, and what is told of those that do not load."""

from pathlib import Path

import pytest

from jaxepi.errors import JaxepiError
from jaxepi.verbs.command import main
from jaxepi.verbs.config_file import find_config, header, read_config, run_name, shipped_configs, variants

ROOT = Path(__file__).parents[2]
GOOD = "from configs.base import get_base\ndef get_config(variant='plain'):\n    config = get_base()\n"


def test_a_config_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # outside a checkout: the shipped ones
    shipped = shipped_configs()["melody_mt"]
    assert shipped.samefile(ROOT / "configs" / "melody_mt.py")
    for given in ("melody_mt", "melody_mt.py", "configs/melody_mt.py", "configs/melody_mt", str(shipped)):
        assert find_config(given) == (shipped, None)
        assert find_config(f"{given}:sample") == (shipped, "sample")
    own = tmp_path / "configs" / "melody_mt.py"
    own.parent.mkdir()
    own.write_text(GOOD + "    return config\n")
    assert find_config("melody_mt")[0].samefile(own) and find_config("configs/melody_mt.py")[0].samefile(own)
    assert read_config("melody_mt", ["--config.steps=3"]).steps == 3
    for missing in ("melody_m", "elsewhere/melody_mt.py", "melody_mt.txt"):
        with pytest.raises(JaxepiError, match=r"There is no config .*melody_m.*\(did you mean 'melody_mt'\?\)"):
            find_config(missing)


def test_the_name_of_a_run():
    assert [run_name(given) for given in ("configs/a.py", "a:b", "x/a.py:b")] == ["a", "a_b", "a_b"]


def test_shipped_configs_are_listed_with_their_variants(capsys):
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(shipped_configs()) and "base" not in shipped_configs()
    for name, path in shipped_configs().items():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name} "))
        assert header(path).splitlines()[0] in lines[at]
        assert lines[at + 1].split() == [f":{variant}" for variant in variants(header(path))]
    assert variants(header(shipped_configs()["chromoformer_reg"])) == [
        "fold1", "fold2", "fold3", "fold4", "modern", "sample"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def get_config(:\n", r"mine\.py line 1 is no Python: invalid syntax"),
        ("x = 1\n\0", r"mine\.py is no Python: source code string cannot contain null bytes"),
        ("import sys\nsys.exit(0)\n", r"mine\.py ends the program when it is read"),
        ("import nothing_such\n", r"mine\.py line 1 has an error: ModuleNotFoundError: No module named 'nothing_such'"),
        (GOOD + "    return config.stepz\n", r"mine\.py line 4 has an error: AttributeError: .*stepz"),
        (GOOD + "    config.steps = 'x'\n", r"mine\.py line 4 has an error: TypeError: "),
        (GOOD, r"get_config of .*mine\.py returns a NoneType, but a ConfigDict was expected"),
        ("x = 1\n", r"mine\.py has no function get_config\(variant\), so it is no config"),
        ("from jaxepi.errors import JaxepiError\nraise JaxepiError('Told as it is.')\n", "^Told as it is.$"),
    ],
)
def test_an_error_in_a_config_is_told_with_file_and_line(text, sentence, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(JaxepiError, match=sentence) as told:
        read_config(f"{path}:variant", [])
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--config.steps=few"], "--config.steps is 'few', but a whole number was expected"),
        (["--config.steps"], "--config.steps needs a value"),
        (["--config.optimizer=adam"], "--config.optimizer is 'adam', which is no ConfigDict"),
        (["--config.optimizer={}", "--config.optimizer.b1=2"], "b1 is not a valid key"),
        (
            ["--config.optimizer.b1=2", "--config.optimizer={}"],
            "Flag --config.optimizer is provided after --config.opt",
        ),
        (["--noconfig.steps"], "noconfig.steps"),
        (["--config.=3"], "Unknown config field ''"),
        (["--config.steps=3", "stray"], "'stray' is no option"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(words, sentence):
    with pytest.raises(JaxepiError, match=sentence) as told:
        read_config("melody_mt:smoke", words)
    assert "\n" not in str(told.value) and not str(told.value).endswith("..")


def test_fields_are_set_in_every_spelling():
    config = read_config(
        "melody_mt:smoke",
        ["--config.steps=9", "--config.optimizer.b1", "0.5", "--noconfig.report", "--config.dataset.tracks=('a','b')"],
    )
    assert (config.steps, config.optimizer.b1, config.report) == (9, 0.5, False)
    assert config.dataset.tracks == ("a", "b")
    assert read_config("melody_mt:smoke", []).steps == 20  # nothing stays from one reading to the next
