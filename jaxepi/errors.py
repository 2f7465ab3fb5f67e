"""The one exception users see, and the suggestion of a near name that many messages end with."""

import difflib
from collections.abc import Iterable


class JaxepiError(ValueError):
    """A problem with the user's input, told in one sentence: file, value, what was expected, what to do.

    The command lines print the sentence without a traceback and leave with status 2. It is one line, whatever it
    quotes.
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the nearest of `known`, or an empty string if nothing is near."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
