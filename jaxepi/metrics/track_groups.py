"""Tracks of several assays: what a description begins with, and the mean over the tracks of each.

Descriptions of tracks are such as `CAGE:liver, adult` and `CHIP:H3K27ac:K562`: the assay stands before the first colon.
"""

from collections.abc import Mapping, Sequence

import numpy as np

OTHER = "other"  # tracks whose description names no assay, among others that do


def assays_of(descriptions: Sequence[str]) -> list[str]:
    """The assay of each track (K,); nothing if no description names one."""
    names = [text.partition(":")[0].strip() if ":" in text else OTHER for text in descriptions]
    return names if set(names) - {OTHER} else []


def group_means(assays: Sequence[str], per_track: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Assay -> `n_tracks`, and of every value of `per_track` the mean over its tracks, NaN left out.

    The order is that of the number of tracks, the largest first.
    """
    members: dict[str, list[int]] = {}
    for track, assay in enumerate(assays):
        members.setdefault(assay, []).append(track)
    return {
        assay: {"n_tracks": len(own)} | {name: _mean(values, own) for name, values in per_track.items()}
        for assay, own in sorted(members.items(), key=lambda item: -len(item[1]))
    }


def _mean(values: Sequence[float], tracks: Sequence[int]) -> float:
    own = np.asarray(values, np.float64)[tracks]
    own = own[~np.isnan(own)]
    return float(own.mean()) if own.size else float("nan")


def spread_over(assays: Sequence[str], tracks: int, most: int) -> list[int]:
    """Numbers of at most `most` of so many tracks, in order: all, or some of each assay at even distances."""
    if tracks <= most:
        return list(range(tracks))
    members: dict[str, list[int]] = {}
    for track in range(tracks):
        members.setdefault(assays[track] if assays else "", []).append(track)
    groups = sorted(members.values(), key=len, reverse=True)[:most]
    share = [most // len(groups) + (number < most % len(groups)) for number in range(len(groups))]
    chosen = [
        own[place]
        for own, count in zip(groups, share, strict=True)
        for place in np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(int)
    ]
    return sorted(chosen)
