"""The laws of the house: who may import whom, who may name a system, how large a room may be."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from jaxepi.registry import known_systems

ROOT = Path(__file__).parents[1]
MOST_FILES = 14  # a folder, its __init__ not counted
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FORBIDDEN_NAMES = {"utils", "util", "misc", "helpers", "common", "tools"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, ast.Module]:
    """Module -> its syntax tree, of both packages."""
    paths = [path for package in ("jaxepi", "data_prep") for path in (ROOT / package).rglob("*.py")]
    return {module_of(path): ast.parse(path.read_text()) for path in paths}


@cache
def imports() -> dict[str, frozenset[str]]:
    """Module -> modules of ours that it imports, also inside functions."""
    known, found = sources(), {}
    for module, tree in known.items():
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{module} imports relatively"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    names.add(full if full in known else node.module)
        found[module] = frozenset(name for name in names if name in known and name != module)
    return found


@cache
def outside() -> dict[str, frozenset[str]]:
    """Module -> top-level names of everything that it imports."""
    found = {}
    for module, tree in sources().items():
        nodes = list(ast.walk(tree))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        found[module] = frozenset(name.split(".")[0] for name in names)
    return found


def room_of(module: str) -> str:
    """jaxepi.train.loop -> jaxepi.train; each file at the top is a room of its own."""
    return ".".join(module.split(".")[:2])


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle of a graph, empty if there is none."""
    state: dict[str, int] = {}

    def visit(node: str, path: list[str]) -> list[str]:
        state[node] = 1
        for other in sorted(graph.get(node, ())):
            if state.get(other) == 1:
                return [*path[path.index(other) :], other]
            if other not in state and (found := visit(other, [*path, other])):
                return found
        state[node] = 2
        return []

    for node in sorted(graph):
        if node not in state and (found := visit(node, [node])):
            return found
    return []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_law_1_a_system_imports_no_other_system():
    for module, names in imports().items():
        if module.startswith("jaxepi.systems."):
            own = module.split(".")[2]
            others = [name for name in names if name.startswith("jaxepi.systems.") and name.split(".")[2] != own]
            assert not others, f"{module} imports {others}"


def test_law_2_no_loop_no_optimizer_no_flag_inside_a_system():
    for module, names in imports().items():
        if module.startswith("jaxepi.systems."):
            assert not [name for name in names if name.startswith(("jaxepi.train", "jaxepi.verbs"))], module
            assert not outside()[module] & {"absl", "argparse", "orbax", "grain"}, module


def test_law_3_no_other_room_names_a_system():
    words = set(known_systems())
    for module, tree in sources().items():
        if not module.startswith("jaxepi") or module.startswith(("jaxepi.systems", "jaxepi.registry")):
            continue
        owners = [node for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and ast.get_docstring(node)]
        described = {id(node.body[0].value) for node in owners}
        for node in ast.walk(tree):
            text = ""
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
                text = node.value
            elif isinstance(node, ast.Name | ast.Attribute):
                text = node.id if isinstance(node, ast.Name) else node.attr
            elif isinstance(node, ast.ImportFrom):
                text = node.module or ""
            named = [word for word in words if word in text.lower()]
            assert not named, f"{module} line {getattr(node, 'lineno', '?')} names {named[0]}: {text[:80]!r}"


PURE = ("jaxepi.layers", "jaxepi.metrics")
BELOW_PURE = ("jaxepi.errors", "jaxepi.sequence", "jaxepi.layers", "jaxepi.metrics")
DOORS = {"open", "print", "input"}


@pytest.mark.parametrize("kind", ["layers", "metrics", "models"])
def test_law_4_models_layers_and_metrics_are_pure(kind):
    chosen = [
        module
        for module in sources()
        if module.startswith(f"jaxepi.{kind}.")
        or (kind == "models" and module.startswith("jaxepi.systems.") and module.split(".")[-1] in ("model", "losses"))
    ]
    assert chosen
    for module in chosen:
        own = ".".join(module.split(".")[:3]) if kind == "models" else f"jaxepi.{kind}"
        above = [name for name in imports()[module] if not name.startswith((*BELOW_PURE, own))]
        assert not above, f"{module} imports {above}"
        assert not outside()[module] & {"os", "pathlib", "io", "shutil", "subprocess", "h5py"}, module
        calls = [node.func.id for node in ast.walk(sources()[module]) if isinstance(node, ast.Call)
                 and isinstance(node.func, ast.Name)]  # fmt: skip
        assert not DOORS & set(calls), f"{module} reads or writes"


def test_law_5_no_circles_between_modules_or_rooms():
    assert circle({module: set(names) for module, names in imports().items()}) == []
    rooms = defaultdict(set)
    for module, names in imports().items():
        rooms[room_of(module)] |= {room_of(name) for name in names} - {room_of(module)}
    assert circle(rooms) == []


def test_law_5_rooms_are_small_and_named_after_what_they_hold():
    folders = {path.parent for package in ("jaxepi", "data_prep", "configs") for path in (ROOT / package).rglob("*.py")}
    for folder in folders:
        files = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
        flat = folder.name == "configs"  # one file an experiment, whatever their number
        assert flat or len(files) <= MOST_FILES, f"{folder.relative_to(ROOT)} holds {len(files)} files"
        assert not FORBIDDEN_NAMES & {*files, folder.name}, folder


def test_law_6_a_verb_asks_for_a_capability():
    for module, names in imports().items():
        if module.startswith(
            ("jaxepi.verbs", "jaxepi.runs", "jaxepi.analysis", "jaxepi.train", "jaxepi.evaluate", "jaxepi.report")
        ):
            systems = [name for name in names if name.startswith("jaxepi.systems.")]
            assert not systems, f"{module} imports {systems}"


def test_data_flows_one_way():
    """data_prep imports no model and no training code; jaxepi imports no TensorFlow, and PyTorch in one place only."""
    for module, names in imports().items():
        if module.startswith("data_prep"):
            rooms = ("systems", "train", "task", "layers", "evaluate", "runs", "verbs")
            wrong = tuple(f"jaxepi.{room}" for room in rooms)
            assert not [name for name in names if name.startswith(wrong)], module
            assert not outside()[module] & {"jax", "flax", "optax", "torch"}, module
        else:
            assert not outside()[module] & {"tensorflow", "apache_beam", "torch"}, module
            assert not [name for name in names if name.startswith("data_prep")] or module == "jaxepi.verbs.prep", module
