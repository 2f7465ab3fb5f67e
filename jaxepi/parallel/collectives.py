"""What a compiled program moves between devices, read from its optimized HLO."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
_OPERATION = re.compile(rf"^\s*(?:ROOT )?%?[\w.\-]+ = (.+?) ({'|'.join(KINDS)})(-start|-done)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{\s*$")
_CALLED = re.compile(r"(?:body|condition|calls|to_apply)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CHANNEL = re.compile(r"channel_id=(\d+)")
_GROUPS = re.compile(r"replica_groups=(?:\{\{([\d,]*)\}|\[\d+,(\d+)\]|mesh\[(.*?)\] ?\{(.*?)\})")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One array that a collective operation gives to a device.

    Attributes:
      kind: one of `KINDS`.
      dtype: as HLO names it, such as "f32".
      shape: of the result on one device.
      bytes: of the whole array that is gathered, reduced or exchanged; a reduce-scatter counts what it reduces, as an
        all-reduce does, so that compilers that write it as all-reduce and slice (XLA's for CPUs) have the same figure.
      times: how often a step runs it; more than 1 within a loop.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    times: int


def collectives(hlo: str) -> list[Collective]:
    """The collectives of `compiled.as_text()`; asynchronous ones count once, those in loops as often as they run.

    TPU programs write an operation that runs beside others several times, once for its start, for what it overlaps with
    and for its end, with one number of its channel.
    """
    times = _times(hlo)
    found: list[Collective] = []
    computation, seen = "", set[tuple[str, str]]()
    for line in hlo.splitlines():
        if header := _COMPUTATION.match(line):
            computation = header[1]
        operation = _OPERATION.match(line)
        if operation is None or operation[3] == "-start":  # the matching -done has the result alone
            continue
        channel = _CHANNEL.search(line)
        if channel is not None:
            if (operation[2], channel[1]) in seen:
                continue
            seen.add((operation[2], channel[1]))
        for dtype, sizes in _ARRAY.findall(operation[1]):
            shape = tuple(int(size) for size in sizes.split(",") if size)
            count = math.prod(shape) * (_group_size(line) if operation[2] == "reduce-scatter" else 1)
            found.append(Collective(operation[2], dtype, shape, count * _width(dtype), times[computation]))
    return found


def bytes_moved(found: Iterable[Collective]) -> dict[str, int]:
    """Bytes a step of each kind that occurs."""
    total: Counter[str] = Counter()
    for one in found:
        total[one.kind] += one.bytes * one.times
    return dict(total)


def _times(hlo: str) -> Counter[str]:
    """How often each computation runs; a loop of unknown length counts once."""
    calls: list[tuple[str, str, int]] = []
    entry = computation = ""
    for line in hlo.splitlines():
        if header := _COMPUTATION.match(line):
            computation = header[1]
            entry = computation if line.startswith("ENTRY") else entry
            continue
        trips = _TRIPS.search(line)
        for called in _CALLED.findall(line):
            calls.append((computation, called, int(trips[1]) if trips else 1))
    times: Counter[str] = Counter()

    def visit(name: str, count: int) -> None:
        times[name] += count
        for caller, called, trips in calls:
            if caller == name:
                visit(called, count * trips)

    visit(entry, 1)
    return times


def _group_size(line: str) -> int:
    """How many devices take part together, in each of the three ways in which HLO says it."""
    groups = _GROUPS.search(line)
    if groups is None:
        return 1
    listed, iota, axes, used = groups.groups()
    if listed is not None:
        return len(listed.split(","))
    if iota is not None:
        return int(iota)
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes))
    # an axis may be named as a whole or, as in 'a':(2)4, by a part of it
    return math.prod(int(part or sizes[name]) for name, part in re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", used))


def _width(dtype: str) -> int:
    """Bytes of an element."""
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1
