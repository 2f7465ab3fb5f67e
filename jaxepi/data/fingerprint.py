"""The fingerprint of a prepared dataset: a digest of what it was made from and of what it holds."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# entries of a manifest that are not content
_AROUND = ("kind", "system", "jaxepi_version", "arguments", "inputs", "fingerprint")
_LATER_COUNTS = ("ambiguous_bases",)  # of a split; came after the first datasets, whose fingerprints stay


def fingerprint_of(manifest: Mapping[str, Any]) -> str | None:
    """The fingerprint that belongs to a manifest; None if it does not tell what the dataset was made from.

    Paths stay out: a dataset made from moved files is the same dataset.
    """
    if not all(name in manifest for name in ("system", "arguments", "inputs")):
        return None
    content = {name: value for name, value in manifest.items() if name not in _AROUND}
    if isinstance(content.get("splits"), dict):
        content["splits"] = {split: _without_later(counts) for split, counts in content["splits"].items()}
    identity = {
        "system": manifest["system"],  # the kind, under the name that it had first: fingerprints stay
        "arguments": manifest["arguments"],
        "inputs": [[entry["role"], entry["digest"]] for entry in manifest["inputs"]],
        "content": content,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _without_later(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: count for name, count in counts.items() if name not in _LATER_COUNTS}
