"""Names of chromosomes in one form for all sources: FASTA, tracks and BED files may say `1` or `chr1`."""

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


def harmonise_all(names: list[str], mode: str) -> dict[str, str]:
    """Name in the dataset -> name in the file; the first one wins where two names fall together."""
    table: dict[str, str] = {}
    for name in names:
        table.setdefault(harmonise(name, mode), name)
    return table
