"""Golden networks of Epiformer as a file of the original holds them."""

import json

import pytest


@pytest.fixture(scope="session")
def golden_param(golden_path):
    """golden_param(name): the original's `param` of a golden network."""
    manifest = json.loads(golden_path("epiformer", "manifest.json").read_text())

    def param(name: str) -> dict:
        config = manifest[f"{name}.npz"]["config"]
        return {field: value for field, value in config.items() if field not in ("class_", "batch", "seed")}

    return param


@pytest.fixture(scope="session")
def golden_file(golden, golden_param):
    """golden_file(name): (what a file of the original holds, the arrays of the golden file)."""

    def content(name: str):
        arrays = golden("epiformer", f"{name}.npz")
        weights = {key[6:]: arrays[key] for key in arrays.files if key.startswith("param:")}
        return {"state_dict": weights, "param": golden_param(name) | {"if_cons": True}}, arrays

    return content
