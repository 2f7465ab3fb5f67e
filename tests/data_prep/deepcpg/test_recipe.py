"""Records of random cells against a brute-force reading of the contract, one site at a time."""

import pickle

import numpy as np
import pytest

from data_prep.build.recipe import Block
from data_prep.deepcpg.profiles import Profile
from data_prep.deepcpg.recipe import DeepCpGRecipe, Layout, SiteTable, Statistics
from data_prep.deepcpg.sequences import Sequences
from data_prep.deepcpg.splits import choose_sites, split_by_chromosome
from data_prep.deepcpg.store import CellStore, save_profile
from jaxepi.genome.intervals import Intervals


class Cells:
    """Random profiles as dictionaries, and the same as a store."""

    def __init__(self, folder, rng, cells=4, binary=True, lengths=None):
        self.lengths = lengths or {"chr1": 900, "chr2": 400}
        self.values = []
        made = []
        for number in range(cells):
            own = {}
            profile = Profile()
            for chrom, length in self.lengths.items():
                places = np.arange(0, length - 1, 3)  # so that cells share sites
                positions = np.sort(rng.choice(places, rng.integers(1, length // 8), replace=False)).astype(np.int32)
                values = rng.integers(0, 2, len(positions)) if binary else np.round(rng.random(len(positions)), 2)
                profile.positions[chrom], profile.values[chrom] = positions, values.astype(np.float32)
                own[chrom] = dict(zip(positions.tolist(), values.astype(np.float32).tolist(), strict=True))
            self.values.append(own)
            made.append(save_profile(folder, number, folder / f"cell{number}.tsv", profile))
        self.store = CellStore(folder, made)

    def sites(self, chrom, least):
        count = {}
        for own in self.values:
            for position in own[chrom]:
                count[position] = count.get(position, 0) + 1
        return sorted(position for position, n in count.items() if n >= least)


@pytest.fixture(params=[0, 1, 2])
def rng(request):
    return np.random.default_rng(request.param)


def genome(folder, rng, lengths, tools):
    codes = {chrom: tools.random_codes(rng, length) for chrom, length in lengths.items()}
    return codes, Sequences([tools.write_fasta(folder / "g.fa", codes)])


def records_of(recipe):
    return {s: [r for b in blocks for _, r in recipe.make_block(b).records] for s, blocks in recipe.blocks().items()}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("least", [1, 2])
def test_records_say_what_the_contract_says(rng, tmp_path, tools, binary, least, monkeypatch):
    monkeypatch.setattr("data_prep.deepcpg.recipe._BLOCK_BYTES", 1)  # many blocks
    cells = Cells(tmp_path, rng, binary=binary)
    codes, sequences = genome(tmp_path, rng, cells.lengths, tools)
    sites = choose_sites(cells.store, None, least)
    splits = {"train": SiteTable({"chr1": sites["chr1"]}), "test": SiteTable({"chr2": sites["chr2"]})}
    spans = {"chr1": [(100, 300), (250, 400), (700, 710)]}
    statistics = Statistics(("mean", "cov"), 2, ("mean", "cov"), (51, 201))
    layout = Layout(31, 6, max_distance=60, statistics=statistics)
    annotation = Intervals.of((chrom, *span) for chrom, own in spans.items() for span in own)
    recipe = DeepCpGRecipe(cells.store, sequences, splits, layout, {"regions": annotation})
    made = records_of(recipe)
    for split, chrom in (("train", "chr1"), ("test", "chr2")):
        assert [r["start"] for r in made[split]] == cells.sites(chrom, least)
        for record in made[split]:
            check_record(record, cells, codes[chrom], chrom, layout, spans, binary)


def check_record(record, cells, codes, chrom, layout, spans, binary):
    site = record["start"]
    assert record["key"] == f"{chrom}:{site}" and record["chrom"] == chrom
    window = [codes[i] if 0 <= i < len(codes) else 4 for i in range(site - 15, site + 16)]
    np.testing.assert_array_equal(record["sequence"], window)
    assert record["state"].dtype == (np.uint8 if binary else np.float16)
    observed = [n for n, own in enumerate(cells.values) if site in own[chrom]]
    assert record["cell"].tolist() == observed
    assert record["value"].tolist() == [cells.values[n][chrom][site] for n in observed]
    for n, own in enumerate(cells.values):
        others = sorted(own[chrom])
        left, right = [p for p in others if p < site][-3:], [p for p in others if p > site][:3]
        padded = [None] * (3 - len(left)) + left + right + [None] * (3 - len(right))
        for column, neighbour in enumerate(padded):
            state, distance = record["state"][n, column], record["distance"][n, column]
            if neighbour is None:
                assert distance == 65535 and (state == 255 if binary else np.isnan(state))
            else:
                assert distance == min(abs(neighbour - site), layout.max_distance)
                assert state == np.float16(own[chrom][neighbour])
    values = [own[chrom][site] for own in cells.values if site in own[chrom]]
    want = [np.mean(values), len(values)] if len(values) >= 2 else [np.nan, np.nan]
    for size in layout.statistics.windows:
        means = []
        for own in cells.values:
            near = [v for p, v in own[chrom].items() if abs(p - site) <= size // 2]
            means += [np.mean(near)] if near else []
        want += [np.mean(means), len(means)] if means else [np.nan, np.nan]
    np.testing.assert_allclose(record["statistics"], want, rtol=1e-5, atol=1e-6)
    assert record["annotation"].tolist() == [int(any(a <= site < b for a, b in spans.get(chrom, [])))]


def test_other_processes_need_no_table_of_sites(rng, tmp_path, tools):
    cells = Cells(tmp_path, rng)
    _, sequences = genome(tmp_path, rng, cells.lengths, tools)
    recipe = DeepCpGRecipe(
        cells.store, sequences, {"train": SiteTable(choose_sites(cells.store, None, 1))}, Layout(9, 2)
    )
    packed = pickle.dumps(recipe)
    recipe.splits["train"].sites["chr1"] = np.zeros(1_000_000, np.int32)
    assert len(pickle.dumps(recipe)) == len(packed)
    recipe = pickle.loads(packed)
    block = Block(7, 3, ("chr2", np.array(cells.sites("chr2", 1)[:3], np.int32)))
    made = recipe.make_block(block)
    assert [key for key, _ in made.records] == [7, 8, 9] and made.tally.sums["records"] == 3


def test_counts_of_the_manifest(rng, tmp_path):
    cells = Cells(tmp_path, rng)
    splits = split_by_chromosome(choose_sites(cells.store, None, 1), {"train": ["1"], "valid": ["none"], "test": ["2"]})
    recipe = DeepCpGRecipe(cells.store, None, splits, Layout(0, 4, statistics=Statistics(("mode", "var"), 1)))
    tallies = {}
    for split, blocks in recipe.blocks().items():
        results = [recipe.make_block(block) for block in blocks]
        tallies[split] = results[0].tally
        for result in results[1:]:
            tallies[split].merge(result.tally)
    manifest = recipe.manifest(tallies)
    made = records_of(recipe)
    assert manifest["tracks"] == [f"cpg/cell{n}" for n in range(4)] + ["cpg_stats/mode", "cpg_stats/var"]
    for n in range(4):
        labels = list(cells.values[n]["chr1"].values())
        assert manifest["class_counts"][f"cpg/cell{n}"] == [labels.count(0), labels.count(1)]
        assert manifest["splits"]["test"]["observed"][n] == len(cells.values[n]["chr2"])
    modes = [float(r["statistics"][0]) for r in made["train"]]
    assert manifest["class_counts"]["cpg_stats/mode"] == [modes.count(0), modes.count(1)]
    assert "cpg_stats/var" not in manifest["class_counts"]
    assert manifest["splits"]["train"]["records"] == len(made["train"]) == len(splits["train"])
    keys = [key for blocks in [recipe.blocks()["train"]] for b in blocks for key, _ in recipe.make_block(b).records]
    assert keys == list(range(len(keys)))


def test_segments_of_the_union(rng, tmp_path, monkeypatch):
    cells = Cells(tmp_path, rng)
    monkeypatch.setattr("data_prep.deepcpg.store._SEGMENT", 37)
    for least in (1, 2, 3):
        for chrom in cells.lengths:
            assert cells.store.sites(chrom, least).tolist() == cells.sites(chrom, least)


def test_given_sites_and_draws(rng, tmp_path):
    cells = Cells(tmp_path, rng)
    union = np.array(cells.sites("chr1", 1), np.int32)
    absent = np.setdiff1d(np.arange(900, dtype=np.int32), union)[:5]
    given = {"chr1": np.sort(np.concatenate([union[:4], absent]))}
    assert choose_sites(cells.store, given, 1)["chr1"].tolist() == union[:4].tolist()
    assert choose_sites(cells.store, given, 0)["chr1"].tolist() == given["chr1"].tolist()
    drawn = choose_sites(cells.store, None, 1, most=7, seed=3)
    assert all(len(own) == 7 and (np.diff(own) > 0).all() for own in drawn.values())
    assert set(drawn["chr1"].tolist()) <= set(union.tolist())
    again = choose_sites(cells.store, None, 1, most=7, seed=3)
    assert all((drawn[chrom] == again[chrom]).all() for chrom in drawn)
    assert (choose_sites(cells.store, None, 1, most=7, seed=4)["chr1"] != drawn["chr1"]).any()


def test_random_bases_do_not_depend_on_the_blocks(rng, tmp_path, tools, monkeypatch):
    cells = Cells(tmp_path, rng)
    _, sequences = genome(tmp_path, rng, cells.lengths, tools)
    sites = choose_sites(cells.store, None, 1)
    made = []
    for size in (1, 1 << 20):
        monkeypatch.setattr("data_prep.deepcpg.recipe._BLOCK_BYTES", size)
        splits = {"train": SiteTable({"chr2": sites["chr2"]}), "test": SiteTable({"chr1": sites["chr1"]})}
        recipe = DeepCpGRecipe(cells.store, sequences, splits, Layout(61, 0, random_n=True, seed=5))
        made.append({r["key"]: r["sequence"] for own in records_of(recipe).values() for r in own})
    assert made[0].keys() == made[1].keys()
    for key in made[0]:
        np.testing.assert_array_equal(made[0][key], made[1][key])
        assert made[0][key].max() < 4


def test_ambiguity_codes_are_counted_in_every_window(tmp_path):
    cells = Cells(tmp_path, np.random.default_rng(0), lengths={"chr1": 300})
    (tmp_path / "g.fa").write_text(">chr1\n" + "ACRTNACGYT" * 30 + "\n")
    sequences = Sequences([tmp_path / "g.fa"])
    sites = np.array([50, 53, 80], np.int32)
    recipe = DeepCpGRecipe(cells.store, sequences, {"test": SiteTable({"chr1": sites})}, Layout(11, 0))
    (block,) = recipe.blocks()["test"]
    for _ in range(2):
        tally = recipe.make_block(block).tally
        assert (tally.sums["n_bases"], tally.sums["ambiguous_bases"]) == (10, 7)  # 45 to 55, 48 to 58, 75 to 85
    without = DeepCpGRecipe(cells.store, None, {"test": SiteTable({"chr1": sites})}, Layout(0, 4))
    assert without.make_block(block).tally.sums["ambiguous_bases"] == 0
