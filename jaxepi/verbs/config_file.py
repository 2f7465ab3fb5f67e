"""Experiments by name or path, `NAME:VARIANT` to a config, with its fields set from the command line."""

import ast
import functools
import importlib.util
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxepi.errors import JaxepiError, did_you_mean

_PACKAGE = "configs"  # the shipped experiments
_NO_EXPERIMENTS = ("__init__", "base")


def shipped_configs() -> dict[str, Path]:
    """Name -> file of every experiment that ships with the package, in alphabetical order."""
    found = importlib.util.find_spec(_PACKAGE)
    folders = found.submodule_search_locations if found is not None else None
    paths = sorted(path for folder in folders or () for path in Path(folder).glob("*.py"))
    return {path.stem: path for path in paths if path.stem not in _NO_EXPERIMENTS}


def header(path: Path) -> str:
    """The docstring of a config, without running it."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def variants(text: str) -> list[str]:
    """Names of the variants that a header describes, those of the config that it refers to included.

    Args:
      text: the header; its last part is titled `Variants` and has a line `:name  what it is` for each.
    """
    part = text.partition("\nVariants")[2]
    own = re.findall(r"(?:^|\s|,):(\w+)", part)
    for first, last in re.findall(r":(\w*?\d+) to :(\w*?\d+)", part):
        stem = first.rstrip("0123456789")
        own += [f"{stem}{number}" for number in range(int(first[len(stem) :]), int(last[len(stem) :]))]
    referred = re.search(rf"as {_PACKAGE}/(\w+)\.py", part)
    others = shipped_configs().get(referred[1]) if referred else None
    return sorted({*own, *(variants(header(others)) if others else [])})


def example() -> str:
    """What --config may be, for messages: a shipped experiment that needs no data."""
    names = [name for name, path in shipped_configs().items() if "sample" in variants(header(path))]
    return f"{names[0]}:sample" if names else f"{_PACKAGE}/NAME.py"


def find_config(given: str) -> tuple[Path, str | None]:
    """File and variant of `NAME[:VARIANT]` or `FILE[:VARIANT]`.

    A name without folder is looked for in ./configs, then among the shipped ones; so is configs/NAME.py, which need
    not be in this folder.

    Raises:
      JaxepiError: there is none.
    """
    text, _, variant = given.partition(":")
    path, shipped = Path(text), shipped_configs()
    by_name = path.suffix in ("", ".py") and path.parent in (Path(), Path(_PACKAGE))
    places = [path]
    if by_name:
        places += [Path(_PACKAGE, f"{path.stem}.py"), *filter(None, [shipped.get(path.stem)])]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        near = [other.stem for other in path.parent.glob("*.py")] + [*shipped]
        raise JaxepiError(f"There is no config {text}{did_you_mean(path.stem, near)}; the verb configs lists them.")
    return found, variant or None


def run_name(given: str) -> str:
    """`configs/NAME.py:sample` as the name of a folder: `NAME_sample`; of a variant that is a file, its name."""
    text, _, variant = given.partition(":")
    return "_".join(filter(None, [Path(text).stem, Path(variant).stem]))


def read_config(given: str, words: Sequence[str]) -> Any:
    """The config of an experiment, locked, with fields set.

    Args:
      given: what --config says.
      words: `--config.a.b=value` and the like.

    Raises:
      JaxepiError: no such file, an error in it (named with its line), an unknown field, or a value of another type.
    """
    path, variant = find_config(given)
    return set_fields(_get_config(path, variant), words)


def _get_config(path: Path, variant: str | None) -> Any:
    """What the file's `get_config` returns."""
    from ml_collections import ConfigDict

    try:
        module = _module(path)
        if not hasattr(module, "get_config"):
            raise JaxepiError(f"{path} has no function get_config(variant), so it is no config.")
        config = module.get_config(*filter(None, [variant]))
    except JaxepiError:
        raise
    except SyntaxError as problem:
        place = path if problem.filename is None else f"{problem.filename} line {problem.lineno}"
        raise JaxepiError(f"{place} is no Python: {problem.msg}.") from problem
    except SystemExit as problem:
        raise JaxepiError(f"{path} ends the program when it is read ({problem!r}), so it is no config.") from problem
    except Exception as problem:  # whatever the user's code raises
        raise JaxepiError(
            f"{_place(problem, path)} has an error: {type(problem).__name__}: {_line(problem)}"
        ) from problem
    if not isinstance(config, ConfigDict):
        raise JaxepiError(f"get_config of {path} returns a {type(config).__name__}, but a ConfigDict was expected.")
    return config


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise JaxepiError(f"{path} is no Python file; a config ends in .py.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _place(problem: Exception, path: Path) -> str:
    """`file line n` of the innermost line of the config, or of one beside it."""
    frames = traceback.extract_tb(problem.__traceback__)
    beside = [frame for frame in frames if Path(frame.filename).resolve().parent == path.resolve().parent]
    return f"{beside[-1].filename} line {beside[-1].lineno}" if beside else str(path)


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())


def set_fields(config: Any, words: Sequence[str]) -> Any:
    """Sets fields by `--config.a.b=value`, `--config.a.b value`, or for switches `--config.a` and `--noconfig.a`.

    Raises:
      JaxepiError: a field that the config does not have, a value that does not fit, or a word that is no option.
    """
    from absl import flags
    from ml_collections import config_flags

    from jaxepi.config import check_none

    known = dict(fields(config))
    for word in words:
        name = field_of(word)
        if name is not None and name not in known:
            near = did_you_mean(name, known)
            raise JaxepiError(f"Unknown config field {name!r}{near}; every field is in configs/base.py or the config.")
    values, line = flags.FlagValues(), ["config", *words]
    values.set_gnu_getopt(True)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=line)
        left = values(line)[1:]
    except flags.IllegalFlagValueError as problem:
        raise JaxepiError(_misfit(config, _line(problem))) from None
    except (flags.Error, KeyError) as problem:  # a value is missing, or a section and a field of it are set
        text = re.sub(r"Missing value for flag (\S+)", r"\1 needs a value", _line(problem))
        raise JaxepiError(f"{text.rstrip('.?')}.") from None
    if left:
        raise JaxepiError(f"{left[0]!r} is no option; values are given as --option=value or --option value.")
    check_none(config)
    return config


_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def _misfit(config: Any, text: str) -> str:
    """What is wrong with a value, from `flag --config.a.b=value: reason`."""
    match = re.match(r"flag --config\.([\w.]+)=(.*?): ", text)
    if match is None:
        return f"{text}."
    *sections, name = match[1].split(".")
    kind = functools.reduce(getattr, sections, config).get_type(name)
    expected = f"but {_KINDS[kind]} was expected" if kind in _KINDS else f"which is no {kind.__name__}"
    return f"--config.{match[1]} is {match[2]!r}, {expected}."


def field_of(word: str) -> str | None:
    """`optimizer.b1` of `--config.optimizer.b1=0.5`; None for a word that sets no field."""
    match = re.match(r"--?(?:no)?config\.([^=]*)", word)
    return match[1] if match else None


def fields(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of all fields and sections."""
    from ml_collections import ConfigDict

    for name, value in config.items():
        yield prefix + name, value
        if isinstance(value, ConfigDict):
            yield from fields(value, f"{prefix}{name}.")
