"""Names of chromosomes in one form for all files: one says `1`, another `chr1`. The one rule, and its one sentence."""

from collections.abc import Iterable

PREFIX_MODES = ("as-is", "add", "strip")


def harmonise(name: str, mode: str) -> str:
    """The name a chromosome goes by in the dataset.

    Args:
        name: as the file has it.
        mode: `as-is` keeps it; `add` puts `chr` in front of names that lack it (`MT` becomes `chrM`);
            `strip` takes it away (`chrM` becomes `MT`).
    """
    if mode == "add":
        return "chrM" if name == "MT" else name if name.startswith("chr") else f"chr{name}"
    if mode == "strip":
        return "MT" if name == "chrM" else name.removeprefix("chr")
    return name


def harmonise_all(names: Iterable[str], mode: str) -> dict[str, str]:
    """Name in the dataset -> name in the file; the first one wins where two names fall together."""
    table: dict[str, str] = {}
    for name in names:
        table.setdefault(harmonise(name, mode), name)
    return table


def other_name(name: str, known: Iterable[str]) -> str | None:
    """What `known` calls a chromosome that it does not have as `name`; None if it has that name, or neither."""
    other = harmonise(name, "strip" if name.startswith("chr") else "add")
    known = known if isinstance(known, dict | set | frozenset) else set(known)
    return other if name not in known and other in known else None


def misnamed(names: Iterable[str], known: Iterable[str]) -> tuple[str, str] | None:
    """The first of `names` that `known` has under the other name only, with that name; None if there is none."""
    known = set(known)
    return next(((name, other) for name in names if (other := other_name(name, known)) is not None), None)


def naming_error(who: object, name: str, where: object, other: str, options: str = "") -> str:
    """The sentence for two files that name a chromosome differently.

    Args:
        who: the file that says `name`.
        name: as it says it.
        where: the file that says `other`.
        other: as that one says it.
        options: what else can be done, on the command line.
    """
    also = f", or {options}" if options else ""
    return f"{who} names {name!r} where {where} has {other!r}: use the same style of names in both{also}"


PREFIX_OPTIONS = "add --chrom-prefix add (all become chrN) or --chrom-prefix strip (all become N)"
