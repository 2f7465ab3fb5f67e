"""What can be reached on a sample whose rules are known."""

import json
from pathlib import Path
from typing import Any


def expectation(config: Any) -> dict[str, Any] | None:
    """What can be reached on the embedded sample, whose rules are known, for the report; None for other data."""
    path = Path(config.dataset.path).parent / "raw" / "ceiling.json"
    if not config.dataset.sample or not path.is_file():
        return None
    reachable = json.loads(path.read_text())
    # A sample that serves several targets tells each by itself.
    target = config.task.get("target")
    return reachable | {"splits": reachable["splits"].get(target, reachable["splits"])}
