"""Writes a BigWig that stands in for a conservation track (phastCons) of a genome for which none is at hand.

    python benchmarks/standin_conservation.py --fasta sacCer3.fa.gz --out standin.phastCons.bw

Nothing of it is measured: each word of six bases has a fixed score drawn by chance (both strands of a word the same),
scores are averaged over 25 bases, brought to 0..1 by a logistic function of their standard score, rounded to three
decimals, as phastCons has, and kept for 10 bases each. Where there is an N, there is no record. So it is a function of
the sequence alone: it looks at no signal and tells a model nothing that the sequence does not; it is there to run the
path that a real track takes. The same FASTA gives the same values.

The yeast dataset that other programs train on, with its table of one track:

    printf 'index\\tidentifier\\tfile\\tclip\\tsum_stat\\tdescription\\n0\\tATAC\\t%s\\t128\\tmean\\tATAC:yeast\\n' \\
        $PWD/../shared/data/real/sacCer3/ATAC_SRR1822137.coverage.bw > data/yeast_targets.txt
    python -m data_prep epiformer --fasta ../shared/data/real/sacCer3/sacCer3.fa.gz --targets data/yeast_targets.txt \\
        --conservation data/standin.phastCons.bw --seqlen 16384 --binsize 128 --drop-chroms chrM \\
        --valid chrXII --test chrIV --out data/yeast_epiformer
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from measure import run_program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jaxepi.genome.fasta import Genome  # noqa: E402
from jaxepi.sequence import N  # noqa: E402
from jaxepi.storage.atomic import replacing  # noqa: E402

WORD = 6  # bases
WIDTH = 25  # bp over which scores are averaged
SEED = 2022
PIECE = 10  # bp that share a value: a tenth of the file
STEEPNESS = 2.0  # of the logistic function
DECIMALS = 3


def word_scores() -> np.ndarray:
    """A score (4^WORD,) for each word, the same for a word and its reverse complement."""
    scores = np.random.RandomState(SEED).normal(size=4**WORD)
    digits = np.indices((4,) * WORD).reshape(WORD, -1)
    turned = np.ravel_multi_index(tuple(3 - digits[::-1]), (4,) * WORD)
    return (scores + scores[turned]) / 2


def scores_of(codes: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Values (L,) float32 from 0 to 1 along base codes (L,); NaN where a word holds an N or the sequence ends."""
    values = np.full(len(codes), np.nan, np.float32)
    if len(codes) < WORD:
        return values
    number = np.zeros(len(codes) - WORD + 1, np.int64)
    whole = np.ones(len(number), bool)
    for place in range(WORD):
        own = codes[place : place + len(number)]
        number, whole = number * 4 + np.where(own == N, 0, own), whole & (own != N)
    score = np.where(whole, words[number], 0.0)
    total, count = (np.convolve(part, np.ones(WIDTH), "same") for part in (score, whole.astype(float)))
    # A mean over `count` words of unit variance 1/2 (two halves were averaged) has the standard deviation below.
    standard = total / np.sqrt(np.maximum(count, 1) / 2)
    made = np.round(1 / (1 + np.exp(-STEEPNESS * standard)), DECIMALS)
    middle = slice(WORD // 2, WORD // 2 + len(number))
    values[middle] = np.where(whole, made, np.nan)
    return np.repeat(values[::PIECE], PIECE)[: len(codes)]


def write(fasta: Path, out: Path) -> None:
    """Writes the track; equal neighbours are one record.

    Raises:
        JaxepiError: the FASTA cannot be read.
    """
    import pyBigWig

    genome, words = Genome(fasta), word_scores()
    with replacing(out) as place:
        file = pyBigWig.open(str(place), "w")
        file.addHeader(sorted(genome.lengths.items()))
        for chrom, length in sorted(genome.lengths.items()):
            values = scores_of(genome.codes(chrom, 0, length), words)
            edges = np.flatnonzero(np.diff(np.nan_to_num(values, nan=-1), prepend=-2))
            ends = np.append(edges[1:], length)
            kept = ~np.isnan(values[edges])
            if kept.any():
                file.addEntries(
                    [chrom] * int(kept.sum()), edges[kept].tolist(), ends=ends[kept].tolist(),
                    values=values[edges][kept].astype(float).tolist(),
                )  # fmt: skip
        file.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fasta", type=Path, required=True, help="genome, plain or block-gzipped")
    parser.add_argument("--out", type=Path, required=True, metavar="BIGWIG", help="where the track goes")
    arguments = parser.parse_args()
    write(arguments.fasta, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    run_program(main)
