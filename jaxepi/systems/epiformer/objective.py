"""How Epiformer's records become inputs and targets, and what is minimised: the section `config.task`."""

import dataclasses

from jaxepi.config import check_choices
from jaxepi.errors import JaxepiError
from jaxepi.systems.epiformer.augment import SCHEMES
from jaxepi.systems.epiformer.losses import PENALTY_FORMS, PENALTY_WHERE, LossRules


@dataclasses.dataclass(frozen=True)
class EpiformerObjective:
    """Fields of `config.task`; those of the other kind of prediction than `config.model.kind` are not read."""

    epsilon: float = dataclasses.field(default=1e-8, metadata={"above": 0})  # signal: added within the logarithm
    # Signal: weight of values on one side of a quantile of the batch; the others weigh 1. 0 = off, as in the paper.
    penalty: float = 0.0
    # elementwise: each value has its weight; mean: the mean weight multiplies the whole loss, which the original does,
    # as it takes the mean of the loss first (parity)
    penalty_form: str = "elementwise"
    # which values the penalty is for: below_q99, those below the 99 % quantile; above_q90, those above the 90 %
    # quantile, as in an older script of the original
    penalty_where: str = "below_q99"
    class_weights: tuple[float, float] = (1.0, 1.0)  # label: of the loss where there is no peak, and where there is
    reverse_complement: bool = True  # turn training windows
    shift: int = dataclasses.field(default=3, metadata={"least": 0})  # bp; move training windows up to so far
    # window: each window is turned or not, and moved by -shift ... shift bp, by itself. alternate: the original's, no
    # window of the first update of an epoch, every window of the second, and so on; all windows of a micro-batch are
    # moved alike, by one of -shift ... shift - 1 bp to the left
    augment: str = "window"
    # what a moved window has where nothing came in: 0, as an N; the original: 0.25, multiplied by exp(conservation)
    shift_pad: float = 0.0
    # Move conservation along with its bases; the original leaves it where it was, beside other bases.
    shift_conservation: bool = True
    # Validate during training with dropout, the statistics of the batch and augmentation (alternate: plain windows), as
    # the original, which never leaves the training mode. Its validation also changes the running statistics; here those
    # are of training windows alone.
    validate_in_training_mode: bool = False

    def __post_init__(self) -> None:
        """Raises JaxepiError for a value that is no choice."""
        object.__setattr__(self, "class_weights", tuple(self.class_weights))
        check_choices(
            self, "config.task", penalty_form=PENALTY_FORMS, penalty_where=PENALTY_WHERE, augment=SCHEMES
        )  # fmt: skip
        if len(self.class_weights) != 2:
            raise JaxepiError(
                f"config.task.class_weights is {self.class_weights}, but two numbers were expected: the weight of bins "
                "without a peak, and of those with one."
            )

    @property
    def rules(self) -> LossRules:
        """What is minimised."""
        return LossRules(**{field.name: getattr(self, field.name) for field in dataclasses.fields(LossRules)})
