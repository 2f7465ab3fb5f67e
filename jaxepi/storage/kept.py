"""Which checkpoints of a run stay: the newest few, and that of an interrupted start until a regular one is complete."""

from collections.abc import Sequence
from typing import Any


class Kept:
    """The rule by which old checkpoints go, as orbax's `PreservationPolicy`.

    A start that is interrupted saves at whatever step it has come to. Such a checkpoint is passing: it displaces none
    of the regular ones, and goes itself once a later one is complete, so that a run that was interrupted leaves the
    steps that it would have left.

    Attributes:
      keep: how many regular ones stay; passing: steps of the others.
    """

    def __init__(self, keep: int):
        self.keep, self.passing = keep, set[int]()

    def staying(self, steps: Sequence[int]) -> set[int]:
        """Those of the complete steps, ascending, that stay."""
        regular = [step for step in steps if step not in self.passing]
        return {*regular[max(len(regular) - self.keep, 0) :], *steps[-1:]}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """See orbax; checkpoints have a `step` and come in its order."""
        del context
        staying = self.staying([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in staying for checkpoint in checkpoints]
