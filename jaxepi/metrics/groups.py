"""Metrics of parts of the records, such as the sites inside an annotation: sums like all others, shown as bars.

A task computes them beside its other metrics and hands them to the evaluator as `summarize(...)["groups"]`.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from jaxepi.metrics.base import Array, Metric, namespace
from jaxepi.metrics.histograms import Histogram
from jaxepi.metrics.sums import ClassificationSums

GROUP_BINS = 2048  # of the AUC histogram: errors below one part in 2048, and a tenth of the memory

GroupValues = dict[str, dict[str, list[float]]]  # group -> name of a value -> K values


@dataclasses.dataclass(frozen=True)
class Groups:
    """Named groups of records; a record may be in any number of them.

    Attributes:
        kind: what a group is, the beginning of the names of its sums: `annotation`.
        names: of the G groups.
    """

    kind: str
    names: tuple[str, ...]

    def _key(self, number: int) -> str:
        return f"{self.kind}-{number}"  # not its name, which may hold anything

    def metrics(self, prediction: Array, target: Array, mask: Array, inside: Array) -> dict[str, Metric]:
        """Sums of every group over prediction, target, mask (B, S, K) where `inside` (B, G) is not 0."""
        xp, found = namespace(prediction, target, mask, inside), {}
        for number in range(len(self.names)):
            within = xp.asarray(mask != 0) & (inside[:, number] != 0)[:, None, None]
            values = (prediction, target, within)
            found[f"{self._key(number)}/classes"] = ClassificationSums.from_values(*values)
            found[f"{self._key(number)}/histogram"] = Histogram.from_values(*values, bins=GROUP_BINS)
        return found

    def split(self, metrics: Mapping[str, Metric]) -> tuple[dict[str, Metric], GroupValues]:
        """The other metrics, and the values of the groups per track, in order; `n_values` counts what a group holds."""
        keys = [self._key(number) for number in range(len(self.names))]
        rest = {name: metric for name, metric in metrics.items() if name.partition("/")[0] not in keys}
        groups: GroupValues = {}
        for key, group in zip(keys, self.names, strict=True):
            for kind in ("classes", "histogram"):
                if f"{key}/{kind}" in metrics:
                    host = metrics[f"{key}/{kind}"].to_host()
                    values = groups.setdefault(group, {})
                    values |= {name: [float(v) for v in column] for name, column in host.finalize().items()}
                    if isinstance(host, Histogram):
                        values["n_values"] = [int(n) for n in np.asarray(host.counts).sum(axis=(1, 2))]
        return rest, groups
