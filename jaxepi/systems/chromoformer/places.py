"""Where the bins that Chromoformer reads lie on the chromosome: the inverse of `chromoformer_regions`, on the host.

Places are intervals in bp from the left end of the region, 0-based and half-open; a bin that is padding is (-1, -1).
"""

import numpy as np

from jaxepi.systems.chromoformer.bins import Layout


def contact_places(length: int, minus: bool, layout: Layout, oriented: bool) -> np.ndarray:
    """Bins of a contact of `length` bp: (nb, 2) int64.

    Args:
      length: bp of the contact.
      minus: whether its gene is on the minus strand.
      layout: of the bins.
      oriented: whether the bins of such genes were reversed.
    """
    used = -(-length // layout.bin_size)
    left = (layout.bins - used + 1) // 2  # an odd bin of padding goes to the left
    found = _intervals(np.arange(layout.bins) - left, used, length, layout.bin_size)
    return found[::-1] if minus and oriented else found


def promoter_places(width: int, span: tuple[int, int], minus: bool, layout: Layout, centred: bool) -> np.ndarray:
    """Bins of a promoter, which the model reads in the direction of transcription: (nb, 2) int64.

    Args:
      width: bp of the region; the TSS lies at width // 2.
      span: bp from the left end between which the region lies on its chromosome; bins beyond count as padding.
      minus: whether the gene is on the minus strand.
      layout: of the bins.
      centred: whether the bin that holds the TSS was moved to the centre bin.
    """
    nb, size = layout.bins, layout.bin_size
    used = -(-width // size)
    left = (nb - used + 1) // 2
    tss = left + width // 2 // size
    place = np.arange(nb)
    if centred:
        place = place - (layout.centre - (nb - 1 - tss if minus else tss))
    genomic = (nb - 1 - place if minus else place) - left
    found = _intervals(genomic, used, width, size)
    found = np.stack([np.maximum(found[:, 0], span[0]), np.minimum(found[:, 1], span[1])], axis=1)
    return np.where(found[:, :1] < found[:, 1:], found, -1)


def _intervals(number: np.ndarray, used: int, length: int, size: int) -> np.ndarray:
    """Bins (nb,) counted from the left end to intervals (nb, 2) within `length` bp."""
    start = number * size
    known = (number >= 0) & (number < used)
    return np.where(known[:, None], np.stack([start, np.minimum(start + size, length)], axis=1), -1)
