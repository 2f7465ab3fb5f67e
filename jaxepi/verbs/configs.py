"""The verb configs."""

import argparse
from pathlib import Path
from typing import Any

from jaxepi.verbs.config_file import header, shipped_configs, variants

ABOUT = "Lists the experiments that ship with the package, and their variants."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb has no options."""


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Prints a paragraph for each experiment."""
    for name, path in shipped_configs().items():
        text = header(path)
        print(f"{name:<18} {text.splitlines()[0]}")
        print(f"{'':<18} {' '.join(f':{variant}' for variant in variants(text))}".rstrip())
