"""Some records out of many."""

import numpy as np

from jaxepi.errors import JaxepiError


def drawn(count: int, most: int | None, flag: str, seed: int = 0) -> list[int]:
    """Numbers below `count`, in order: all of them, or a draw of `most` that the seed decides.

    Raises:
      JaxepiError: `most` is not positive (`flag` names it).
    """
    if most is not None and most < 1:
        raise JaxepiError(f"{flag} is {most}: a positive number was expected.")
    if most is None or most >= count:
        return list(range(count))
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False)).tolist()
