import numpy as np
import pytest

from data_prep.build.recipe import Block
from data_prep.chromoformer.gene_table import Gene
from data_prep.chromoformer.recipe import ChromoformerRecipe, SumsDoNotFit, bin_sums
from jaxepi.genome.intervals import Interval

PCRES = (Interval("chr1", 5000, 5250), Interval("chr2", 100, 130))
GENES = [
    Gene("G1", "chr1", 1000, True, 2, 3.0, 1, PCRES, (3.0, 2.0)),
    Gene("G2", "chr1", 150, False, 2, 0.5, 0),
    Gene("G3", "chr3", 1000, False, 4, float("nan"), -1),
]


class Ramp:
    """Depth of two marks: the position, and 1; chromosomes begin at 0 and end at 1100."""

    marks = ("position", "one")
    scale = 1

    def promoter(self, gene, flank):
        first, last = max(gene.tss - flank, 0), min(gene.tss + flank, 1100)
        return self.depth(first, last), first - (gene.tss - flank)

    def neighbor(self, gene, region):
        return self.depth(region.start, region.end)

    def depth(self, start, end):
        return np.stack([np.arange(start, end), np.ones(end - start)]).astype(np.float32) * self.scale


def recipe(dtype="float32", scale=1):
    source = Ramp()
    source.scale = scale
    return ChromoformerRecipe(source, GENES, promoter_length=400, resolution=100, sum_dtype=dtype)


def make(made):
    return {split: [made.make_block(block) for block in blocks] for split, blocks in made.blocks().items()}


def test_last_bin_may_be_shorter():
    depth = np.arange(14.0).reshape(2, 7)
    np.testing.assert_array_equal(bin_sums(depth, 3), [[3, 24], [12, 33], [6, 13]])
    assert bin_sums(np.full((1, 100), 2048, np.float32), 100) == 204_800


def test_a_record():
    first, second = (record for _, record in make(recipe())["fold2"][0].records)
    assert (first["key"], first["chrom"], first["start"], first["minus"], first["fold"]) == ("G1", "chr1", 1000, 1, 2)
    assert (first["expression"], first["label"]) == (3.0, 1)
    # The chromosome ends at 1100: the last bin of the promoter lies beyond.
    assert first["promoter_span"].tolist() == [0, 300]
    starts = np.array([800, 900, 1000])
    assert first["promoter_sum"][:3, 0].tolist() == (100 * starts + 4950).tolist()
    assert first["promoter_sum"][:, 1].tolist() == [100, 100, 100, 0]
    assert first["pcre_length"].tolist() == [250, 30] and first["score"].tolist() == [3.0, 2.0]
    assert first["pcre_sum"][:, 1].tolist() == [100, 100, 50, 30]
    assert first["neighbors"] == "chr1:5000-5250;chr2:100-130"
    # Cut in the middle of a bin by the start of the chromosome.
    assert second["promoter_span"].tolist() == [50, 400]
    assert second["promoter_sum"][:, 1].tolist() == [50, 100, 100, 100]
    assert second["pcre_sum"].shape == (0, 2) and second["neighbors"] == ""


def test_records_fit_the_features():
    for dtype in ("uint16", "float32"):
        made = recipe(dtype, scale=0 if dtype == "uint16" else 0.3)
        features = made.features()
        for results in make(made).values():
            for _, record in results[0].records:
                assert set(record) == set(features)
                for name, feature in features.items():
                    if feature.shape:
                        array = record[name]
                        assert array.dtype == feature.dtype and array.ndim == len(feature.shape), name
                        fits = zip(feature.shape, array.shape, strict=True)
                        assert all(want in (None, have) for want, have in fits), name


def test_one_split_a_fold_in_the_order_of_the_table():
    made = recipe()
    many = [Gene(f"G{i}", "chr1", 500, False, 1 + i % 2, 1.0, 1) for i in range(150)]
    assert list(made.blocks()) == ["fold2", "fold4"]
    blocks = ChromoformerRecipe(Ramp(), many, 400, 100).blocks()
    for split, own in (("fold1", many[::2]), ("fold2", many[1::2])):
        assert [gene for block in blocks[split] for gene in block.payload] == own
        firsts = np.cumsum([0, *(block.size for block in blocks[split])])
        assert [block.first_key for block in blocks[split]] == firsts[:-1].tolist()


@pytest.mark.parametrize("scale", [0.5, 1])
def test_sums_that_do_not_fit(scale):
    made = recipe("uint16", scale)  # halves, then sums around 100,000
    with pytest.raises(SumsDoNotFit, match="gene G1 has depth sums over 100 bp that are no whole numbers up to 65535"):
        made.make_block(Block(0, 1, (GENES[0],)))


def test_manifest_counts():
    made = recipe()
    tallies = {}
    for split, results in make(made).items():
        tallies[split] = results[0].tally
    manifest = made.manifest(tallies)
    assert manifest["marks"] == ["position", "one"] and manifest["tracks"] == ["expression"]
    assert manifest["window"] == manifest["promoter_length"] == 400 and manifest["resolution"] == 100
    assert (manifest["max_pcres"], manifest["max_pcre_length"], manifest["sum_dtype"]) == (2, 250, "float32")
    counts = {"records": 2, "positive": 1, "unlabelled": 0, "pcres": 2, "without_pcre": 1, "promoters_cut": 2}
    assert manifest["splits"]["fold2"] == counts | {"chroms": ["chr1"]}
    assert manifest["splits"]["fold4"]["unlabelled"] == 1 and manifest["splits"]["fold4"]["chroms"] == ["chr3"]
    assert made.bytes_per_record() >= 4 * 2 * 4
