"""Positions of one assembly in another, through one or several chain files of UCSC's liftOver.

pyliftover reads the chains; the search here takes whole arrays of positions, as every bin of every window is lifted.
"""

import gzip
import importlib.util
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import open_bytes


class Lifted(NamedTuple):
    """Where P positions lie in the target assembly."""

    mapped: np.ndarray  # (P,) bool
    chrom: np.ndarray  # (P,) int32, place in `ChainFile.targets`; -1 where there is no mapping
    position: np.ndarray  # (P,) int64, 0-based from the start of the chromosome on either strand
    reverse: np.ndarray  # (P,) bool: on the other strand


class _Stretches(NamedTuple):
    """Stretches [start, end) of a chromosome that one chain aligns without a gap, ascending and apart."""

    start: np.ndarray
    end: np.ndarray
    offset: np.ndarray  # target = offset + source, or offset - source on the reverse strand
    chrom: np.ndarray
    reverse: np.ndarray


class ChainFile:
    """One chain file. Where several chains hold a position, the one of the highest score counts, then the first.

    Attributes:
      path: the file.
      targets: chromosomes of the target assembly.
      target_lengths: bp of each.
    """

    def __init__(self, path: Path):
        """Raises JaxepiError: no such file, damaged, or no chain in it."""
        self.path = path
        chains = _read_chains(path)
        sizes = {chain.target_name: chain.target_size for chain in chains}
        self.targets, self.target_lengths = list(sizes), list(sizes.values())
        place = {name: number for number, name in enumerate(self.targets)}
        own: dict[str, list[tuple[int, int, int, int, bool, int]]] = {}
        for chain in chains:
            reverse = chain.target_strand == "-"
            for start, end, target in chain.blocks:
                offset = chain.target_size - 1 - target + start if reverse else target - start
                row = (start, end, offset, place[chain.target_name], reverse, int(chain.score))
                own.setdefault(chain.source_name, []).append(row)
        self._stretches = {chrom: _apart(np.array(rows, np.int64)) for chrom, rows in own.items()}

    def lift(self, chrom: str, position: np.ndarray) -> Lifted:
        """Positions (P,) int64 of a chromosome in the target assembly."""
        position = np.asarray(position, np.int64)
        nowhere = np.zeros(len(position), bool)
        if chrom not in self._stretches:
            none = np.full(len(position), -1)
            return Lifted(nowhere, none.astype(np.int32), none.astype(np.int64), nowhere)
        own = self._stretches[chrom]
        at = np.searchsorted(own.start, position, "right") - 1
        mapped = (at >= 0) & (position < np.append(own.end, -1)[at])
        mapped_at, inside = at[mapped], position[mapped]
        chrom_id, target = np.full(len(position), -1, np.int32), np.full(len(position), -1, np.int64)
        reverse = np.zeros(len(position), bool)
        chrom_id[mapped], reverse[mapped] = own.chrom[mapped_at], own.reverse[mapped_at]
        sign = np.where(own.reverse[mapped_at], -1, 1)
        target[mapped] = own.offset[mapped_at] + sign * inside
        return Lifted(mapped, chrom_id, target, reverse)


class Chains:
    """Several chain files one after the other, such as hg38 to T2T v1.0 and T2T v1.0 to v1.1; safe to pickle."""

    def __init__(self, paths: Sequence[Path]):
        """Raises JaxepiError: a file that cannot be used, or two that do not follow each other."""
        self.files = [ChainFile(path) for path in paths]
        for before, after in zip(self.files, self.files[1:], strict=False):
            if not any(name in after._stretches for name in before.targets):
                raise JaxepiError(
                    f"{after.path} has no chain from {', '.join(before.targets[:3])} …, to which {before.path} leads: "
                    "give the chain files in the order in which they lead from one assembly to the next"
                )

    @property
    def targets(self) -> list[str]:
        """Chromosomes of the last assembly."""
        return self.files[-1].targets

    def sources(self) -> set[str]:
        """Chromosomes of the first assembly that have a chain."""
        return set(self.files[0]._stretches)

    def lift(self, chrom: str, position: np.ndarray) -> Lifted:
        """Positions (P,) of a chromosome in the last assembly; its chromosomes are `targets`."""
        found = self.files[0].lift(chrom, position)
        for before, file in zip(self.files, self.files[1:], strict=False):
            found = _then(found, before, file)
        return found


def _then(found: Lifted, before: ChainFile, file: ChainFile) -> Lifted:
    """What was lifted, lifted through the next file."""
    mapped, reverse = np.zeros_like(found.mapped), np.zeros_like(found.reverse)
    chrom, position = np.full_like(found.chrom, -1), np.full_like(found.position, -1)
    for number in np.unique(found.chrom[found.mapped]):
        own = found.chrom == number
        step = file.lift(before.targets[number], found.position[own])
        mapped[own], chrom[own], position[own] = step.mapped, step.chrom, step.position
        reverse[own] = step.mapped & (step.reverse ^ found.reverse[own])
    return Lifted(mapped, chrom, position, reverse)


def _apart(rows: np.ndarray) -> _Stretches:
    """Blocks (start, end, offset, chrom, reverse, score) as stretches apart, those of the highest score on top."""
    edges = np.unique(rows[:, :2])
    owner = np.full(max(len(edges) - 1, 0), -1)
    low, high = np.searchsorted(edges, rows[:, 0]), np.searchsorted(edges, rows[:, 1])
    later_first = np.arange(len(rows))[::-1]
    for row in later_first[np.argsort(rows[later_first, 5], kind="stable")]:
        owner[low[row] : high[row]] = row
    kept = np.flatnonzero(owner >= 0)
    best = rows[owner[kept]]
    return _Stretches(edges[kept], edges[kept + 1], best[:, 2], best[:, 3].astype(np.int32), best[:, 4].astype(bool))


def _read_chains(path: Path) -> list:
    if importlib.util.find_spec("pyliftover") is None:
        raise JaxepiError(
            "pyliftover is not installed and chain files need it: run pip install 'jaxepi[prep]', or leave out --chains"
        )
    from pyliftover import LiftOver

    try:
        chains = LiftOver(open_bytes(path, "a chain file")).chain_file.chains
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise JaxepiError(f"{path} cannot be read to its end ({problem}): copy or download it again") from problem
    except JaxepiError:
        raise
    except Exception as problem:  # what pyliftover raises for a line that it cannot read
        reason = " ".join(str(problem).split())[:120] or type(problem).__name__
        raise JaxepiError(f"{path} is damaged or no chain file ({reason}): copy or download it again") from problem
    if not chains:
        raise JaxepiError(f"{path} holds no chain: a chain file of UCSC's liftOver was expected")
    return chains
