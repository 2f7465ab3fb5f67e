"""The manifest of a prepared dataset, manifest.json: written last, protected by a checksum over all of its entries."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from jaxepi.errors import JaxepiError

MANIFEST = "manifest.json"
_CHECKSUM = "checksum"
_REMEDY = "delete the dataset and rerun data_prep"


class Manifest(dict[str, Any]):
    """The entries; one that is asked for and missing is told with the file."""

    def __init__(self, entries: Mapping[str, Any], path: Path):
        super().__init__(entries)
        self.path = path

    def __missing__(self, key: str) -> NoReturn:
        raise JaxepiError(f"{self.path}: the entry {key!r} is missing; {_REMEDY}")


def sealed(entries: Mapping[str, Any]) -> str:
    """The text of manifest.json: the entries and their checksum."""
    return json.dumps({**entries, _CHECKSUM: _checksum(entries)}, indent=1) + "\n"


def read_manifest(path: Path) -> Manifest:
    """Reads manifest.json.

    Raises:
      JaxepiError: it is no JSON object, lacks what every dataset has, or is not what data_prep wrote.
    """
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict):
        raise JaxepiError(f"{path}: this is not a JSON object; {_REMEDY}")
    told = entries.pop(_CHECKSUM, None)  # datasets of earlier versions have none
    if told is not None and told != _checksum(entries):
        raise JaxepiError(f"{path}: it is not what data_prep wrote, as its checksum tells; copy it again, or {_REMEDY}")
    manifest = Manifest(entries, path)
    kind = manifest["system"] if "system" in manifest and "kind" not in manifest else manifest["kind"]
    if not isinstance(kind, str) or not isinstance(manifest["fingerprint"], str) or not _are_splits(manifest["splits"]):
        raise JaxepiError(f"{path}: its kind, fingerprint or splits are not what data_prep writes; {_REMEDY}")
    return manifest


def _are_splits(splits: Any) -> bool:
    """Whether this is split -> {"records": a number, …}."""
    entries = list(splits.values()) if isinstance(splits, dict) else []
    return bool(entries) and all(isinstance(own, dict) and isinstance(own.get("records"), int) for own in entries)


def _checksum(entries: Mapping[str, Any]) -> str:
    """The same for the same entries in any order, however they went through JSON."""
    text = json.dumps(json.loads(json.dumps(entries)), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
