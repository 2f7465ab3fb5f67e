"""How values a base become bins: the ways of the original's programs over the years, and the one without their slips.

Letters: N windows, L bp of what the bins cover, T bins of w bp.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxepi.errors import JaxepiError

FEW_BINS = 8  # windows of fewer bins have the baseline 0: a peak may fill them
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Transform:
    """One way from values to bins. The defaults are the correct ones; what the originals do is said beside each field.

    Steps: values of the type `dtype`; missing ones filled; blacklisted ones limited to the baseline of their window;
    scale; pool; soft clip; clip.
    """

    dtype: str = "float32"  # of the values before pooling; the original's float16 rounds them, above 65,504 to infinity
    baseline: float = 0.5  # quantile of a window's values; of 2020: 0.1
    few_bins_rule: bool = True  # baseline 0 for windows of few bins; of 2020: no such rule
    # One missing value makes the originals' baseline 0, and the others take its place; False = what --missing says.
    missing_spoils: bool = False
    # The originals put a value of 0 before and behind a window and interpolate towards it; False = the nearest value.
    interpolate_to_zero: bool = False
    blacklist: str = "clip"  # to +- baseline; of 2020: set to the baseline
    # A listed region that begins before the window has a negative place in it, which the originals take from its end:
    # mostly nothing is blacklisted then. False = from the first base on.
    slices_wrap: bool = False
    scale_first: bool = True  # before pooling, so that clips are on the scaled values; False until March 2023
    soft_offset: int = 1  # soft clip at c: c - offset + sqrt(x - c + offset); 0 until March 2023
    symmetric: bool = True  # clip to +-clip; of 2020, and of Epiformer: to 0 … clip
    root: str = (
        "sqrt"  # *_sqrt: sqrt(1 + x) - 1; "power": x^0.75, until March 2023; "none": there was no such statistic
    )
    exp75: bool = True  # sum_exp75: (1 + x)^0.75 - 1
    median: bool = True  # the originals of Basenji have no such statistic
    # Epiformer's program repeats the values of a bin `scale` times instead of multiplying them: only sums change.
    scale_repeats: bool = False
    # --clip-pct is a quantile of magnitudes; in the originals of the values, which leaves nothing of a negative track.
    clip_magnitude: bool = True
    one_hot_bytes: bool = False  # sequence bytes of the original's folder are one-hot; of 2020 only

    def check(self, name: str, sum_stat: str, track: str) -> None:
        """Raises JaxepiError if this transform (called `name`) has no such statistic."""
        lacking = (
            (self.root == "none" and sum_stat.endswith("_sqrt"))
            or (not self.exp75 and sum_stat == "sum_exp75")
            or (not self.median and sum_stat == "median")
        )
        if lacking:
            raise JaxepiError(
                f"track {track!r} has the sum_stat {sum_stat}, which the programs of --transform {name} did not know: "
                "change the table, or use another --transform"
            )


_PARITY = {
    "missing_spoils": True, "interpolate_to_zero": True, "slices_wrap": True, "clip_magnitude": False, "median": False,
}  # fmt: skip
_OLD = {"scale_first": False, "soft_offset": 0, "root": "power", "exp75": False}
TRANSFORMS = {
    "float32": Transform(),  # as baskerville, without the slips
    "original": Transform(dtype="float16", exp75=False, **_PARITY),  # Basenji since March 2023
    "pre2023": Transform(dtype="float16", **_OLD, **_PARITY),  # Basenji until then
    "cross2020": Transform(
        dtype="float16", **(_OLD | {"root": "none"}), **_PARITY, baseline=0.1, few_bins_rule=False, blacklist="set",
        symmetric=False, one_hot_bytes=True,
    ),  # June 2020: the targets of the released Basenji2
    "baskerville": Transform(**_PARITY),
    "borzoi": Transform(**_OLD, **_PARITY),  # baskerville's --transform_old
}  # fmt: skip


def pooled(values: np.ndarray, sum_stat: str, root: str) -> np.ndarray:
    """One value a bin (N, T), from values (N, T, w); sums are float32; one of a bin with a NaN is NaN.

    Args:
        values: scaled or not.
        sum_stat: see `data_prep.coverage.targets.SUM_STATS`.
        root: see `Transform.root`.
    """
    stat, _, form = sum_stat.partition("_")
    if stat == "max":
        return values.max(axis=-1)
    if stat == "median":
        return np.median(values, axis=-1)
    if stat == "peak":
        return np.clip(np.sqrt(4 * values.mean(axis=-1, dtype=np.float32)), 0, 1)
    bins = (values.sum if stat == "sum" else values.mean)(axis=-1, dtype=np.float32)
    if form == "exp75":
        return (1 + bins) ** 0.75 - 1
    if form == "sqrt":
        return np.sqrt(1 + bins) - 1 if root == "sqrt" else bins**0.75
    return bins


def soft_clipped(bins: np.ndarray, above: float, offset: int) -> np.ndarray:
    """Bins above c grow as a square root: c - offset + sqrt(x - c + offset)."""
    high = bins > above
    bins[high] = above - offset + np.sqrt(bins[high] - above + offset)
    return bins


def interpolated(values: np.ndarray, to_zero: bool) -> np.ndarray:
    """Values (N, L) with those that are missing on the lines between their neighbours.

    Args:
        values: NaN where missing.
        to_zero: as if a 0 stood before and behind each window, and as float64, as the original does; else ends take the
            nearest value, and 0 without any.
    """
    filled = values.astype(np.float64)
    places = np.arange(-1, values.shape[1] + 1)
    for number in np.flatnonzero(np.isnan(values).any(axis=1)):
        row = np.concatenate([[0.0], filled[number], [0.0]])
        known = ~np.isnan(row)
        known[[0, -1]] = to_zero or not known[1:-1].any()
        row[~known] = np.interp(places[~known], places[known], row[known])
        filled[number] = row[1:-1]
    return filled if to_zero else filled.astype(values.dtype)


def baselines(values: np.ndarray, transform: Transform, bins: int) -> np.ndarray:
    """The baseline (N,) of windows (N, L): a quantile of the values that there are, unless missing ones spoil it."""
    if transform.few_bins_rule and bins < FEW_BINS:
        return np.zeros(len(values), values.dtype)
    quantile: Callable[..., np.ndarray] = np.percentile if transform.missing_spoils else np.nanpercentile
    with np.errstate(invalid="ignore"):
        found = quantile(values, 100 * transform.baseline, axis=1)
    return np.nan_to_num(found, nan=0.0).astype(values.dtype)
