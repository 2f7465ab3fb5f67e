"""Sums of read depth along regions to what Chromoformer reads: bins of several sizes, padded, and their masks.

A region is stored as sums over stretches of R bp (the resolution of the dataset) from its left end. A bin of any
multiple of R is the sum of its stretches over the bases it has, then log(1 + mean). Everything here runs on the device.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a region of up to `width` bp lies in the bins of one size."""

    bin_size: int  # bp
    resolution: int  # R, bp
    width: int  # bp that all bins of a region cover, the longest contact

    @property
    def bins(self) -> int:
        """nb, bins of a region with padding."""
        return self.width // self.bin_size

    @property
    def centre(self) -> int:
        """The bin that the model reads."""
        return self.bins // 2


def log_means(sums: jax.Array, bases: jax.Array, factor: int) -> jax.Array:
    """log(1 + mean depth) (..., bins, M) from sums (..., n, M) of stretches and the bases (..., bins) of each bin."""
    *batch, stretches, marks = sums.shape
    binned = sums.reshape(*batch, stretches // factor, factor, marks).sum(axis=-2)
    return jnp.log1p(binned / jnp.maximum(bases, 1)[..., None])


def contact_bins(
    sums: jax.Array, length: jax.Array, minus: jax.Array, layout: Layout, oriented: bool
) -> tuple[jax.Array, jax.Array]:
    """Contacts in the middle of their bins.

    Args:
      sums: (B, S, width / R, M) from the left end, 0 behind the region.
      length: (B, S) bp; 0 for a contact that is not there.
      minus: (B,) whether the gene is on the minus strand.
      layout: of the bins.
      oriented: reverse the bins, padding included, of genes on the minus strand, as those of their promoters are.
        Otherwise as the original: in genomic order on either strand.

    Returns:
      Features (B, S, nb, M), 0 where padded, and which bins are the region's (B, S, nb).
    """
    nb, size = layout.bins, layout.bin_size
    place = jnp.arange(nb)[None, None]
    bases = jnp.clip(length[..., None] - place * size, 0, size)
    features = log_means(sums, bases, size // layout.resolution)
    used = -(-length // size)[..., None]
    left = (nb - used + 1) // 2  # an odd bin of padding goes to the left
    at = place - left
    known = (at >= 0) & (at < used)
    features = jnp.take_along_axis(features, jnp.clip(at, 0, nb - 1)[..., None], axis=2)
    features = jnp.where(known[..., None], features, 0.0)
    if not oriented:
        return features, known
    turned = minus[:, None, None] > 0
    return jnp.where(turned[..., None], features[:, :, ::-1], features), jnp.where(turned, known[:, :, ::-1], known)


def promoter_bins(
    sums: jax.Array, span: jax.Array, minus: jax.Array, width: int, layout: Layout, centred: bool
) -> tuple[jax.Array, jax.Array]:
    """Promoters in the direction of transcription.

    Args:
      sums: (B, width / R, M) in genomic order, the TSS behind the first half.
      span: (B, 2) bp from the left end between which the region lies on its chromosome.
      minus: (B,) whether the gene is on the minus strand.
      width: bp of the region, at most that of the layout.
      layout: of the bins.
      centred: move the bin that holds the TSS to the centre bin. Otherwise as the original: the region is binned from
        its left end on either strand and the order of its bins is reversed, so that on the minus strand (with the
        default sizes) the centre bin begins just behind the TSS and does not hold it.

    Returns:
      Features (B, nb, M), 0 where padded, and which bins are the region's (B, nb).
    """
    nb, size = layout.bins, layout.bin_size
    used = -(-width // size)
    factor = size // layout.resolution
    sums = jnp.pad(sums, [(0, 0), (0, used * factor - sums.shape[1]), (0, 0)])
    first = jnp.arange(used)[None] * size
    bases = jnp.minimum(first + size, jnp.minimum(span[:, 1:], width)) - jnp.maximum(first, span[:, :1])
    features, known = log_means(sums, jnp.maximum(bases, 0), factor), bases > 0
    left = (nb - used + 1) // 2
    pad = [(0, 0), (left, nb - used - left)]
    features, known = jnp.pad(features, [*pad, (0, 0)]), jnp.pad(known, pad)
    tss = left + width // 2 // size
    moves = [layout.centre - tss, layout.centre - (nb - 1 - tss)] if centred else [0, 0]
    oriented = [(_moved(x, moves[0]), _moved(x[:, ::-1], moves[1])) for x in (features, known)]
    minus = minus[:, None] > 0
    return jnp.where(minus[..., None], oriented[0][1], oriented[0][0]), jnp.where(minus, oriented[1][1], oriented[1][0])


def _moved(x: jax.Array, by: int) -> jax.Array:
    """x (B, nb, ...) with bin i at i + by; what falls off the end is lost, what comes in is 0 or False."""
    if not by:
        return x
    kept = x[:, :-by] if by > 0 else x[:, -by:]
    return jnp.pad(kept, [(0, 0), (max(by, 0), max(-by, 0))] + [(0, 0)] * (x.ndim - 2))
