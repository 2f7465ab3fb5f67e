"""What the filters of a first convolution have learned: motifs from the sub-sequences that activate them.

    activate = convolution(kernel, bias)  # (11, 4, 128) and (128,)
    collector = MotifCollector(filters=128, width=11)
    for codes in batches:  # (B, L)
        collector.add(codes, activate(codes))
    write_motifs("motifs", collector, kernel)

After Basset and DeepCpG's `dcpg_filter_motifs`: the sub-sequences behind the strongest activations of a filter are laid
upon each other. Letters: B sites, L bp, P positions of the activation, F filters, C columns of a motif.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.sequence import BASES, N, decode, one_hot
from jaxepi.storage.atomic import write_text

SUMMARIES = ("mean", "wmean", "max")
_FEWEST_SITES = 10
_EPSILON = 1e-7


def convolution(kernel: np.ndarray, bias: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function from base codes (B, L) to activations (B, L - width + 1, F) of a convolution with ReLU.

    Args:
      kernel: (width, 4, F), channels A C G T; an N counts as zeros.
      bias: (F,).
    """

    @jax.jit
    def run(codes: jax.Array) -> jax.Array:
        hot = one_hot(codes, jnp.float32, n_value=0.0)
        numbers = ("NWC", "WIO", "NWC")
        made = jax.lax.conv_general_dilated(hot, jnp.asarray(kernel), (1,), "VALID", dimension_numbers=numbers)
        return jax.nn.relu(made + jnp.asarray(bias)[None, None])

    return lambda codes: np.asarray(run(jnp.asarray(codes)))


def triangular_weights(length: int) -> np.ndarray:
    """Weights (length,) that rise from 0.1 at the ends to 1 in the middle."""
    half = np.linspace(0.1, 1.0, -(-length // 2))
    return np.concatenate([half, half[: length // 2][::-1]])


def summarise(values: np.ndarray, how: str, width: int | None = None) -> np.ndarray:
    """Values (B, P, F) over positions, (B, F).

    Args:
      values: such as activations, or effects with F = 4.
      how: mean; wmean = mean with triangular weights; max.
      width: only so many positions in the middle (an even number counts as the next odd one); None = all.
    """
    if how not in SUMMARIES:
        raise JaxepiError(f"Unknown summary {how!r}{did_you_mean(how, SUMMARIES)}; known are {', '.join(SUMMARIES)}.")
    values = middle(values, width)
    if how == "max":
        return values.max(axis=1)
    weights = None if how == "mean" else triangular_weights(values.shape[1])
    return np.average(values, axis=1, weights=weights)


def middle_slice(length: int, width: int | None) -> slice:
    """The middle of `length` positions: `width` // 2 on both sides of position length // 2; all without a width."""
    if width is None:
        return slice(0, length)
    centre = length // 2
    return slice(max(centre - width // 2, 0), min(centre + width // 2 + 1, length))


def middle(values: np.ndarray, width: int | None) -> np.ndarray:
    """The middle of (B, P, ...), see `middle_slice`."""
    return values[:, middle_slice(values.shape[1], width)]


@dataclasses.dataclass(frozen=True)
class Motif:
    """What a filter likes.

    Attributes:
      filter: its number; frequencies: of A C G T in each column (C, 4); sites: sub-sequences (S, C) as base codes.
      mean, deviation: of the filter's activation over all positions.
    """

    filter: int
    frequencies: np.ndarray
    sites: np.ndarray
    mean: float
    deviation: float

    @property
    def information(self) -> float:
        """Bits of all columns together."""
        return float(column_information(self.frequencies).sum())


def column_information(frequencies: np.ndarray) -> np.ndarray:
    """Bits of each column (C,) of frequencies (C, 4): 2 minus the entropy."""
    return (frequencies * np.log2(frequencies + _EPSILON) + 0.5).sum(axis=1)


def count_frequencies(sites: np.ndarray, pseudocount: float = 0.0) -> np.ndarray:
    """Frequencies (C, 4) of A C G T in sub-sequences (S, C); an N counts a quarter for each."""
    counts = np.stack([(sites == base).sum(axis=0) for base in range(4)], axis=1) + pseudocount
    counts = counts + (sites == N).sum(axis=0)[:, None] / 4
    return (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)


def trim(frequencies: np.ndarray, bits: float, drop_last: bool = False) -> np.ndarray:
    """Frequencies without the columns at both ends that tell less than `bits`; empty if all do.

    Args:
      frequencies: (C, 4).
      bits: a column that tells as much stays.
      drop_last: the last column that should stay goes too, as in the original.
    """
    kept = np.flatnonzero(column_information(frequencies) >= bits)
    if not len(kept):
        return frequencies[:0]
    return frequencies[kept[0] : kept[-1] + (0 if drop_last else 1)]


class MotifCollector:
    """Takes activations batch by batch and keeps the strongest of each filter with the sub-sequences behind them.

    Memory: `most` sub-sequences and activations a filter, whatever the number of sites.
    """

    def __init__(self, filters: int, width: int, share: float = 0.5, most: int = 25_000):
        """Args:
        filters: F.
        width: of a filter and its motif in bp.
        share: a sub-sequence counts if the activation reaches mean + share * (maximum - mean) over all positions.
        most: activations of a filter that may count; the threshold rises until no more do.
        """
        if not 0 <= share <= 1 or most < 1 or width < 1:
            raise JaxepiError(f"share is {share} (0 to 1), most is {most} and width is {width} (1 and more).")
        self.filters, self.width, self.share, self.most = filters, width, share, most
        self.base_counts = np.zeros(4, np.int64)  # of the part of the sequences that activations are centred on
        self._count = 0
        self._sum, self._squares = np.zeros(filters), np.zeros(filters)
        self._largest = np.zeros(filters)
        empty = (np.empty(0, np.float64), np.empty(0, np.int64), np.empty((0, width), np.uint8), np.empty(0, bool))
        self._kept = [empty] * filters  # activation, number of the position, sub-sequence, whether it is whole

    def add(self, codes: np.ndarray, activation: np.ndarray) -> None:
        """A batch: base codes (B, L), activations (B, P, F) of 0 and above, centred in the sequences.

        Raises:
          JaxepiError: shapes that do not fit, or negative activations.
        """
        rows, places, filters = activation.shape
        if filters != self.filters or rows != len(codes) or places > codes.shape[1]:
            raise JaxepiError(
                f"Activations {activation.shape} do not fit codes {codes.shape} and {self.filters} filters; expected "
                "(sites, positions, filters)."
            )
        if activation.min(initial=0) < 0:
            raise JaxepiError("Activations are negative: take them after the ReLU.")
        # Rounded up, so that filters of even width are met exactly; the original rounds down, which misses them by one.
        left = -(-(codes.shape[1] - places) // 2)
        centred = np.ascontiguousarray(codes[:, left : left + places])
        self.base_counts += np.bincount(centred.ravel(), minlength=5)[:4]
        flat = activation.reshape(rows * places, filters).T.astype(np.float64)
        self._sum += flat.sum(axis=1)
        self._squares += (flat**2).sum(axis=1)
        self._largest = np.maximum(self._largest, flat.max(axis=1, initial=0))
        for number, values in enumerate(flat):
            self._keep(number, values, centred)
        self._count += rows * places

    def _keep(self, number: int, values: np.ndarray, centred: np.ndarray) -> None:
        """Merges the strongest activations of a batch into those of a filter."""
        kept, order, sites, whole = self._kept[number]
        least = kept.min() if len(kept) > self.most else 0.0
        chosen = np.flatnonzero(values > least)
        if not len(chosen):
            return
        places, half = centred.shape[1], self.width // 2
        row, place = np.divmod(chosen, places)
        # The original leaves out more at the right end than it must.
        inside = (place >= half) & (place <= places - self.width - 1)
        first = np.where(inside, place - half, 0)
        columns = np.minimum(first[:, None] + np.arange(self.width), places - 1)
        kept = np.concatenate([kept, values[chosen]])
        order = np.concatenate([order, self._count + chosen])
        sites = np.concatenate([sites, centred[row[:, None], columns]])
        whole = np.concatenate([whole, inside])
        if len(kept) > self.most + 1:
            best = np.argpartition(-kept, self.most)[: self.most + 1]
            kept, order, sites, whole = kept[best], order[best], sites[best], whole[best]
        self._kept[number] = (kept, order, sites, whole)

    def threshold(self, number: int) -> float:
        """The activation from which on sub-sequences of a filter count."""
        mean = self._sum[number] / max(self._count, 1)
        wanted = mean + self.share * (self._largest[number] - mean)
        if self.most >= self._count:
            return float(wanted)
        # The percentile that leaves `most` activations, between the two values next to it.
        strongest = np.zeros(self.most + 1)
        kept = np.sort(self._kept[number][0])[::-1]
        strongest[: len(kept)] = kept
        between = self.most / self._count
        return float(max(wanted, strongest[-1] * (1 - between) + strongest[-2] * between))

    def motifs(self, filters: Sequence[int] | None = None) -> list[Motif]:
        """Motifs of the filters (None = all) that are alive and have at least ten sub-sequences."""
        made = []
        for number in range(self.filters) if filters is None else filters:
            kept, order, sites, whole = self._kept[number]
            counts = (kept >= self.threshold(number)) & whole
            if not self._sum[number] > 0 or counts.sum() < _FEWEST_SITES:
                continue
            own = sites[counts][np.argsort(order[counts])]
            mean = self._sum[number] / self._count
            deviation = float(np.sqrt(max(self._squares[number] / self._count - mean**2, 0.0)))
            made.append(Motif(number, count_frequencies(own), own, float(mean), deviation))
        return made

    def background(self) -> np.ndarray:
        """Frequencies (4,) of A C G T in the sequences, one added to each count."""
        return (self.base_counts + 1) / (self.base_counts + 1).sum()


def meme_text(named: Sequence[tuple[str, np.ndarray, int]], background: np.ndarray) -> str:
    """Motifs as a text in MEME format, version 4.

    Args:
      named: name, frequencies (C, 4) and number of sites of each motif.
      background: frequencies (4,) of A C G T.
    """
    parts = ["MEME version 4", "", f"ALPHABET= {BASES}", "", "Background letter frequencies:"]
    parts += [" ".join(f"{base} {share:.4f}" for base, share in zip(BASES, background, strict=True)), ""]
    for name, frequencies, sites in named:
        parts.append(f"MOTIF {name}")
        parts.append(f"letter-probability matrix: alength= 4 w= {len(frequencies)} nsites= {sites}")
        parts += [" ".join(f"{share:.4f}" for share in column) for column in frequencies]
        parts.append("")
    return "\n".join(parts) + "\n"


def write_motifs(
    out_dir: str | Path,
    collector: MotifCollector,
    kernel: np.ndarray | None = None,
    filters: Sequence[int] | None = None,
    trim_bits: float | None = None,
    logos: str | None = "svg",
) -> list[Motif]:
    """Writes `meme.txt`, `stats.tsv`, `sites/filter<i>.fa` and `logos/filter<i>.<ending>` for each motif.

    Args:
      out_dir: folder, made if needed.
      collector: filled.
      kernel: (width, 4, F), for the column `motif` of `stats.tsv`: the largest weights' letters.
      filters: which ones; None = all.
      trim_bits: leave out end columns that tell less than that; None = none.
      logos: file format of the logos (svg, png, pdf); None = no logos.

    Returns: the motifs.
    """
    from jaxepi.report.logos import write_logo

    out, motifs = Path(out_dir), collector.motifs(filters)
    named, rows = [], ["filter\tmotif\tact_mean\tact_std\tic\tnb_site"]
    for motif in motifs:
        frequencies = motif.frequencies if trim_bits is None else trim(motif.frequencies, trim_bits)
        name = f"filter{motif.filter}"
        if len(frequencies):
            named.append((name, frequencies, len(motif.sites)))
        strongest = motif.frequencies if kernel is None else kernel[:, :, motif.filter]
        consensus = decode(np.argmax(strongest, axis=1).astype(np.uint8))
        numbers = f"{motif.mean:.5g}\t{motif.deviation:.5g}\t{motif.information:.5g}\t{len(motif.sites)}"
        rows.append(f"{motif.filter}\t{consensus}\t{numbers}")
        fasta = "".join(f">{i}\n{decode(site)}\n" for i, site in enumerate(motif.sites))
        write_text(out / "sites" / f"{name}.fa", fasta)
        if logos is not None and len(frequencies):
            write_logo(out / "logos" / f"{name}.{logos}", frequencies, f"{name}, {len(motif.sites)} sites")
    write_text(out / "stats.tsv", "\n".join(rows) + "\n")
    write_text(out / "meme.txt", meme_text(named, collector.background()))
    return motifs
