"""What --overwrite may replace: a dataset that this program made, and nothing that the command reads."""

import fnmatch
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError

MANIFEST = "manifest.json"
_OURS = (MANIFEST, "record_index.npz", "dataset_info.json", "features.json", "*.tfrecord-*", ".*")
# Of the original Basenji's folder.
_OURS += ("statistics.json", "targets.txt", "sequences.bed", "contigs.bed", "mseqs_unmap.npy", "tfrecords")
_MARKS = ("fingerprint", "jaxepi_version", "inputs")  # entries of every manifest


def check_replaceable(out: Path, inputs: Sequence[Mapping[str, Any]]) -> None:
    """Raises JaxepiError if `out` is there and is more, or something else, than a dataset of this program.

    Args:
        out: folder that is to be replaced.
        inputs: entries with `role` and `path` of what the command reads, files and folders.
    """
    if not out.exists():
        return
    place = out.resolve()
    for entry in inputs:
        path = Path(entry["path"]).resolve()
        if path == place or place in path.parents or path in place.parents:
            raise JaxepiError(
                f"--overwrite would delete {out}, which holds, or lies in, an input of this command ({path}): choose "
                "another --out"
            )
    what = _foreign(out)
    if what:
        raise JaxepiError(
            f"{out} {what}, so --overwrite does not delete it: choose another --out, or remove the folder yourself"
        )


def _foreign(out: Path) -> str | None:
    """Why a folder is no dataset of this program; None if it is one, or is empty."""
    if not out.is_dir():
        return "is a file"
    names = sorted(path.name for path in out.iterdir())
    if not names:
        return None
    try:
        manifest = json.loads((out / MANIFEST).read_text())
    except (OSError, ValueError):
        manifest = None
    if not isinstance(manifest, dict) or not all(mark in manifest for mark in _MARKS):
        return "is no dataset of data_prep (it has no whole manifest.json)"
    other = next((name for name in names if not any(fnmatch.fnmatchcase(name, form) for form in _OURS)), None)
    return None if other is None else f"holds {other!r} beside its dataset"
