"""Every module, function and file that the documentation, the configs and the benchmarks speak of exists."""

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("jaxepi", "data_prep", "configs", "benchmarks")
# jaxepi.task.Grid, data_prep.build.dataset.build; not the start of a path or of a file's name
DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.(?!md\b|py\b)[A-Za-z_]\w*)+(?![\w/-])")
IMPORT = re.compile(r"^ *from ((?:jaxepi|data_prep)[\w.]*) import ([\w, ]+)", re.M)
FILE = re.compile(rf"(?<![\w./-])((?:{'|'.join(PACKAGES)}|docs|tests)/[\w/]*(?:\.(?:py|md)\b)?)")
PLACEHOLDERS = ("configs/NAME.py", "jaxepi/unpacked")  # any config; a folder in the user's cache
TOYS = ("jaxepi.systems.windowsum", "jaxepi.verbs.describe")  # where those of docs/extending.md would be
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([\w-]+))?\)|\]\(#([\w-]+)\)")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def prose(path: Path) -> str:
    """A document, or of a program the docstrings and comments."""
    text = path.read_text()
    if path.suffix == ".md":
        return text
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    strings = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return "\n".join([*strings, *re.findall(r"#[^\n]*", text)])


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        try:
            if importlib.util.find_spec(module) is None:
                continue
        except ModuleNotFoundError:
            continue
        return count == len(parts) or _holds(importlib.import_module(module), parts[count:])
    return False


def _holds(thing: object, names: list[str]) -> bool:
    fields = getattr(thing, "__dataclass_fields__", {}) | getattr(thing, "__annotations__", {})
    if not hasattr(thing, names[0]):
        return len(names) == 1 and names[0] in fields  # a field without default
    return len(names) == 1 or _holds(getattr(thing, names[0]), names[1:])


def mentions(pattern: re.Pattern[str]) -> Iterator[tuple[Path, str]]:
    for path in [*DOCUMENTS, *SOURCES]:
        for match in pattern.finditer(prose(path)):
            yield path.relative_to(ROOT), match[match.lastindex or 0]


def imported() -> Iterator[tuple[Path, str]]:
    """What the examples of the documents import."""
    for path in DOCUMENTS:
        for module, names in IMPORT.findall(path.read_text()):
            yield from ((path.relative_to(ROOT), f"{module}.{name.split()[0]}") for name in names.split(","))


def test_a_name_that_does_not_exist_is_found():
    assert exists("jaxepi.task.Grid.values") and exists("jaxepi.load") and exists("data_prep.build")
    assert not exists("jaxepi.tasks") and not exists("jaxepi.task.Gird") and not exists("jaxepi.no.such")
    assert DOTTED.findall("see `jaxepi.task.Grid`, jaxepi/x.py, x.jaxepi.y and jaxepi.load.") == [
        "jaxepi.task.Grid",
        "jaxepi.load",
    ]


def test_every_dotted_name_exists():
    names = [(path, name) for path, name in [*mentions(DOTTED), *imported()] if name not in TOYS]
    wrong = {f"{path}: {name}" for path, name in names if not exists(name)}
    assert not wrong, "\n".join(sorted(wrong))


def test_every_file_exists():
    named = [(path, name) for path, name in mentions(FILE) if name not in PLACEHOLDERS]
    wrong = {f"{path}: {name}" for path, name in named if not (ROOT / name).exists()}
    assert not wrong, "\n".join(sorted(wrong))


def anchors(path: Path) -> set[str]:
    """What a link may point to in a document, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    for target, anchor, here in LINK.findall(path.read_text()):
        if target.startswith("http"):
            continue
        file = path.parent / target if target else path
        assert file.exists(), f"{path.name} links to {target}"
        assert not (anchor or here) or (anchor or here) in anchors(file), f"{path.name} links to {target}#{anchor}"


def test_the_readme_names_every_room():
    """The table of the README lists every package of ours, none twice, and every document is linked."""
    text = (ROOT / "README.md").read_text()
    table = text.partition("## Where things are")[2]
    named = re.findall(r"`([a-z_]+/(?:[a-z_]+/)?)`", table)
    folders = [ROOT / name for name in ("configs", "data_prep", "benchmarks", "tests")]
    folders += [path.parent for path in (ROOT / "jaxepi").glob("*/__init__.py")]
    missing = {f"{folder.relative_to(ROOT)}/" for folder in folders} - set(named)
    assert not missing, missing
    assert len(named) == len(set(named))
    assert not [path.name for path in DOCUMENTS[1:] if f"docs/{path.name}" not in text]
