"""Every config and every variant that its header names: it loads, and its sections are those of the code."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from configs.base import get_base
from data_prep.__main__ import COMMANDS
from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.registry import check_config, get_system
from jaxepi.train.optimizer import OptimizerConfig, make_schedule

FOLDER = Path(__file__).parents[1] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "base"))


def header(name: str) -> str:
    return ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text())) or ""


def variants(name: str) -> list[str]:
    """Names behind a colon in the header's part on variants, and those of the config that it refers to."""
    part = header(name).partition("\nVariants")[2]
    own = re.findall(r"(?:^|\s|,):(\w+)", part)
    if "fold1" in own:
        own += ["fold2", "fold3"]
    referred = re.search(r"as configs/(\w+)\.py", part)
    return sorted({*own, *(variants(referred[1]) if referred else [])})


def get_config(name: str, *variant: str):
    return importlib.import_module(f"configs.{name}").get_config(*variant)


CASES = [(name, variant) for name in NAMES for variant in variants(name)]


def test_headers_name_variants_and_all_that_a_user_asks():
    assert len(NAMES) >= 7 and len(CASES) > 20
    for name in NAMES:
        for word in ("Paper", "Data", "Run", "Hardware", "Expected", "Variants"):
            assert re.search(rf"^{word} ", header(name), re.MULTILINE), (name, word)


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_variant_of_a_header_loads(name, variant):
    config, base = get_config(name, variant), get_base()
    assert set(config) == set(base) | {"system", "model", "task"}
    for section in ("dataset", "optimizer", "mesh"):
        assert set(config[section]) == set(base[section]), section
    check_config(config)
    system = get_system(config.system)
    from_section(system.objective, config.task, "config.task")
    make_schedule(from_section(OptimizerConfig, config.optimizer, "config.optimizer"), config.steps)


@pytest.mark.parametrize(("name", "variant"), [case for case in CASES if case[1] in ("sample", "smoke")])
def test_samples_are_made_by_the_command_that_the_config_names(name, variant):
    dataset = get_config(name, variant).dataset
    folder = Path(dataset.path)
    assert folder.name == "dataset" and dataset.sample in COMMANDS
    assert dataset.command == f"python -m data_prep {dataset.sample} --out {folder.parent}"


@pytest.mark.parametrize("name", NAMES)
def test_a_config_without_variant_needs_no_sample_and_unknown_variants_are_told(name):
    assert not get_config(name).dataset.sample
    with pytest.raises(JaxepiError, match="Unknown variant 'sampel' \\(did you mean 'sample'\\?\\); known are"):
        get_config(name, "sampel")
