"""Predicted against measured values of any range, as counts over a grid whose scale follows the values.

An axis is linear, or logarithmic above a floor f and linear below it, so that 0 has a place: it is then
sign(v) log10(1 + |v| / f).
"""

from collections.abc import Sequence

import numpy as np

from jaxepi.evaluate.sampling import Sample

BINS = 64  # of either axis
MOST_VALUES = 2_000_000  # that a grid counts; of more, those of the first positions, which are a random choice too
MOST_OF_TRACK = 50_000  # the same for the grid of one track
DECADES = 4  # that a logarithmic axis spans at most, below the largest value
WIDE = 30.0  # a largest value of so many times the median needs a logarithmic axis


def floor_of(values: np.ndarray) -> float:
    """The floor of the axis for values (N,): their median, 0 and signs left out; 0 for a linear axis."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not sizes.size:
        return 0.0
    floor = max(float(np.median(sizes)), float(sizes.max()) / 10**DECADES)
    return floor if sizes.max() > WIDE * floor else 0.0


def to_axis(values: np.ndarray, floor: float) -> np.ndarray:
    """Where values lie on the axis; as they are without a floor."""
    return np.sign(values) * np.log10(1.0 + np.abs(values) / floor) if floor else np.asarray(values)


def density(predicted: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (bins, bins) of predicted and measured values (N,), and (3,) the ends of both axes and their floor."""
    known = np.isfinite(predicted) & np.isfinite(measured)
    pair = np.stack([predicted[known], measured[known]]).astype(np.float64)
    floor = floor_of(pair.ravel())
    pair = to_axis(pair, floor)
    low, high = (float(pair.min()), float(pair.max())) if pair.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    cell = np.clip((pair - low) * (BINS / (high - low)), 0, BINS - 1).astype(np.int64)
    counts = np.bincount(cell[0] * BINS + cell[1], minlength=BINS * BINS).reshape(BINS, BINS)
    return counts, np.array([low, high, floor])


def density_curves(sample: Sample, region: str, tracks: Sequence[int]) -> dict[str, np.ndarray]:
    """What `EvalResult.curves` keeps of a sample (N, K): the densities of all values and of some tracks."""
    most = max(1, MOST_VALUES // max(sample.target.shape[1], 1))
    flat = density(sample.prediction[:most].ravel(), sample.target[:most].ravel())
    single = [density(sample.prediction[:MOST_OF_TRACK, k], sample.target[:MOST_OF_TRACK, k]) for k in tracks]
    curves = {f"{region}/density_flat": flat[0][None], f"{region}/density_range_flat": flat[1]}
    if single:
        curves[f"{region}/density"] = np.stack([counts for counts, _ in single])
        curves[f"{region}/density_range"] = np.stack([limits for _, limits in single])
        curves[f"{region}/density_track"] = np.asarray(tracks, np.int64)
    return curves


def ranked(values: Sequence[float], most: int) -> list[int]:
    """Tracks from the best to the worst value, undefined ones left out; of many, some at even distances."""
    order = [k for k in np.argsort(-np.asarray(values, np.float64), kind="stable").tolist() if values[k] == values[k]]
    if len(order) <= most:
        return order
    return [order[place] for place in np.linspace(0, len(order) - 1, most).round().astype(int)]
