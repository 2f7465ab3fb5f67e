"""The synthetic sample: deterministic files, records as the rules say, a ceiling that is one."""

import json

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.coverage import sample
from jaxepi.data import open_dataset
from jaxepi.errors import JaxepiError

SMALL = 0.3  # Mb


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "out"
    assert main(["coverage-sample", "--out", str(out), "--megabases", str(SMALL), "--seed", "3"]) == 0
    return out


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    sample.prepare(tmp_path, seed=3, megabases=SMALL)
    for path in (tmp_path / "raw").iterdir():
        if path.name != "genome.fa.fai":
            assert path.read_bytes() == (made / "raw" / path.name).read_bytes(), path.name
    sample.prepare(tmp_path / "other", seed=4, megabases=SMALL)
    assert (tmp_path / "other" / "raw" / "genome.fa").read_bytes() != (made / "raw" / "genome.fa").read_bytes()


def test_records_hold_what_the_generator_wrote(made):
    """Bins of the dataset against bins from the reads, through FASTA, BigWig and table."""
    dataset = open_dataset(made / "dataset", ("coverage",))
    assert dataset.manifest["strand_pair"] == list(sample.STRAND_PAIR)
    assert dataset.manifest["tracks"] == [track.name for track in sample.TRACKS]
    lengths = sample.chromosome_lengths(SMALL)
    random = np.random.default_rng(3).spawn(len(lengths))[list(lengths).index("chr5")]
    codes = sample.make_chromosome(lengths["chr5"], sample.MOTIFS, random)
    expected = sample.expected_reads(codes)
    reads = sample.measure(expected, random)
    split = dataset.split("test")
    assert len(split) > 2
    for record in split:
        first = record["start"] + sample.CROP
        assert record["chrom"] == "chr5" and first >= 0
        pieces = slice(first // sample.PIECE, (first + sample.BIN * len(record["target"])) // sample.PIECE)
        want = sample.bins_of(reads[pieces])
        np.testing.assert_allclose(record["target"], want, rtol=2e-3, atol=1e-3)
    told = json.loads((made / "raw" / "ceiling.json").read_text())["splits"]["test"]
    assert told == json.loads(json.dumps(sample.ceiling(expected, reads)))
    assert 0.6 < told["pearson_bin_per_track_mean"] < 0.98


def test_strands_are_told_apart(made):
    """A directional motif raises the track of its own strand."""
    codes = np.random.default_rng(0).integers(0, 2, 4_000).astype(np.uint8)  # A and C only
    codes[2_000:2_007] = [0, 2, 0, 3, 0, 0, 2]  # AGATAAG
    plus, minus = sample.expected_reads(codes)[:, 3:].T
    assert plus[62] > 3 * minus[62] and plus[0] == minus[0]


def test_a_genome_without_room_is_refused():
    with pytest.raises(JaxepiError, match="--megabases is 0.05, but a chromosome would hold no window"):
        sample.chromosome_lengths(0.05)
