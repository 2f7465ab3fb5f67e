"""Several datasets in one run: exact epochs, batches of one dataset, the same for any readers, hosts and start."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxepi.data import BatchStream, Mixture, MixtureOrder, Order, open_dataset, order_of
from jaxepi.data.mixture import SharedManifest
from jaxepi.data.order import PADDING
from jaxepi.errors import JaxepiError

SIZES = (53, 21, 8)


class Numbers:
    """A split whose records hold their number."""

    def __init__(self, name: str, count: int):
        self.name, self.manifest, self.count = name, {}, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Any]:
        if not 0 <= number < self.count:
            raise IndexError(number)
        return {"number": number}

    def close(self) -> None:
        self.count = 0


def fake(path: str, kind: str = "coverage", **splits: int) -> Any:
    manifest = {"kind": kind, "fingerprint": path, "window": 100, "tracks": [path], "splits": splits}
    return SimpleNamespace(
        path=Path(path), kind=kind, fingerprint=path, manifest=manifest, splits=splits,
        split=lambda name: Numbers(name, splits[name]),
    )  # fmt: skip


@pytest.fixture
def mixture() -> Mixture:
    return Mixture([fake(f"data/{name}", train=size, valid=size) for name, size in zip("abc", SIZES, strict=True)])


def collate(records: list[dict[str, Any] | None]) -> dict[str, np.ndarray]:
    """number and dataset (B,), -1 in padding rows."""
    return {
        name: np.array([-1 if record is None else record[name] for record in records]) for name in ("number", "dataset")
    }


def _batches(mixture: Mixture, **arguments: Any) -> list[tuple[list[int], list[int]]]:
    arguments = {"batch_size": 8, "epochs": 2, "seed": 4, **arguments}
    with BatchStream(mixture.split("train"), collate, **arguments) as stream:
        return [(batch["dataset"].tolist(), batch["number"].tolist()) for batch in stream]


@pytest.mark.parametrize("shuffle", [True, False])
def test_padded_epochs_hold_every_record_of_every_dataset_once(mixture: Mixture, shuffle: bool) -> None:
    batches = _batches(mixture, shuffle=shuffle, remainder="pad")
    assert len(batches) == 2 * (7 + 3 + 1)
    for epoch in (batches[:11], batches[11:]):
        assert all(len(set(datasets) - {-1}) == 1 for datasets, _ in epoch), "a batch is of one dataset"
        held = [pair for batch in epoch for pair in zip(*batch, strict=True) if pair != (-1, -1)]
        assert sorted(held) == [(which, number) for which, size in enumerate(SIZES) for number in range(size)]
    order = [datasets[0] for datasets, _ in batches[:11]]
    assert (order == sorted(order)) != shuffle


def test_dropped_epochs_leave_out_the_ragged_end_of_each_dataset(mixture: Mixture) -> None:
    batches = _batches(mixture)
    assert len(batches) == 2 * (6 + 2 + 1)
    for epoch in (batches[:9], batches[9:]):
        held = [pair for batch in epoch for pair in zip(*batch, strict=True)]
        assert len(set(held)) == len(held) == 72
        assert [sum(which == dataset for dataset, _ in held) for which in range(3)] == [48, 16, 8]
    assert batches[:9] != batches[9:]


@pytest.mark.parametrize("readers", [0, 1, 5])
def test_readers_do_not_change_the_batches(mixture: Mixture, readers: int) -> None:
    assert _batches(mixture, readers=readers) == _batches(mixture, readers=2, prefetch=1)


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_together_give_the_batches_of_one(mixture: Mixture, hosts: int) -> None:
    shares = [_batches(mixture, process_index=host, process_count=hosts, remainder="pad") for host in range(hosts)]
    joined = [tuple(sum(fields, []) for fields in zip(*parts, strict=True)) for parts in zip(*shares, strict=True)]
    assert joined == _batches(mixture, remainder="pad")


@pytest.mark.parametrize("start", range(19))
def test_starting_at_any_batch_gives_the_rest(mixture: Mixture, start: int) -> None:
    assert _batches(mixture, start=start) == _batches(mixture)[start:]


def test_the_state_is_a_number(mixture: Mixture) -> None:
    with BatchStream(mixture.split("train"), collate, 8, seed=4) as stream:
        for _ in range(13):
            next(stream)
        assert stream.state() == {"batch": 13} and stream.batches_per_epoch == 9


def test_datasets_come_in_proportion_throughout_an_epoch() -> None:
    sizes = (34_021, 29_295)
    order = MixtureOrder(sizes, 8)
    total = order.batches_per_epoch
    assert total == 34_021 // 8 + 29_295 // 8
    which = np.array([order.rows(batch).min() >= sizes[0] for batch in range(total)])
    share = which.mean()
    assert share == pytest.approx(29_295 / sum(sizes), abs=1e-3)
    blocks = [part.mean() for part in np.array_split(which, 10)]
    assert max(abs(block - share) for block in blocks) < 0.08, "4.5 standard errors"


def test_the_order_of_a_seed_never_changes() -> None:
    """A run that is resumed under a later version must meet the same records."""
    order = MixtureOrder((20, 12), 4, seed=0)
    assert [order.rows(batch).tolist() for batch in (0, 1, 8)] == [[11, 6, 12, 14], [19, 17, 10, 9], [27, 26, 28, 24]]


def test_each_dataset_has_permutations_of_its_own() -> None:
    mixed = MixtureOrder((40, 40), 8, seed=1)
    rows = [mixed.rows(batch) for batch in range(10)]
    first = [row.tolist() for row in rows if row.max() < 40]
    second = [(row - 40).tolist() for row in rows if row.min() >= 40]
    assert sorted(first) == sorted(Order(40, 8, seed=1).rows(batch).tolist() for batch in range(5))
    assert sorted(first) != sorted(second)


def test_padding_stays_padding() -> None:
    rows = MixtureOrder((3, 5), 4, shuffle=False, remainder="pad").rows(2)
    assert rows.tolist() == [7, PADDING, PADDING, PADDING]


def test_a_dataset_smaller_than_a_batch_is_named() -> None:
    with pytest.raises(JaxepiError, match="dataset 2 of 2: batch_size is 8, but there are only 5 records"):
        MixtureOrder((20, 5), 8)


def test_one_dataset_keeps_the_order_that_it_had() -> None:
    assert order_of(range(103), 8, seed=3) == Order(103, 8, seed=3)
    assert order_of(Numbers("train", 103), 8).records == 103


def test_a_mixture_offers_what_a_dataset_does(mixture: Mixture) -> None:
    assert mixture.kind == "coverage" and mixture.splits == {"train": 82, "valid": 82}
    assert mixture.path == "data/a + data/b + data/c" and list(mixture.parts) == ["a", "b", "c"]
    split = mixture.split("train")
    assert split.sizes == SIZES and len(split) == 82
    assert split[0] == {"number": 0, "dataset": 0} and split[53] == {"number": 0, "dataset": 1}
    assert split[81] == {"number": 7, "dataset": 2}
    for number in (-1, 82):
        with pytest.raises(IndexError, match="0 to 81"):
            split[number]
    part = mixture.parts["b"].split("valid")
    assert len(part) == 21 and part[20] == {"number": 20, "dataset": 1}


def test_the_manifest_holds_what_all_agree_in(mixture: Mixture) -> None:
    manifest = mixture.manifest
    assert manifest["window"] == 100 and manifest["splits"] == {"train": {"records": 82}, "valid": {"records": 82}}
    assert [each["tracks"] for each in manifest["datasets"]] == [["data/a"], ["data/b"], ["data/c"]]
    assert manifest["fingerprint"] == mixture.fingerprint
    with pytest.raises(JaxepiError, match="The datasets of this run differ in 'tracks' of their manifests"):
        manifest["tracks"]
    with pytest.raises(KeyError, match="nothing"):
        manifest["nothing"]
    assert isinstance(manifest, SharedManifest) and manifest.get("tracks") is None


def test_the_fingerprint_tells_datasets_and_their_order() -> None:
    one, two, three = (fake(name, train=8) for name in ("x", "y", "z"))
    prints = {Mixture(datasets).fingerprint for datasets in ([one, two], [two, one], [one, three])}
    assert len(prints) == 3


def test_datasets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(JaxepiError, match="a is of kind 'coverage' and b of kind 'melody'"):
        Mixture([fake("a"), fake("b", kind="melody")])
    with pytest.raises(JaxepiError, match="a is the same dataset as a: name each once"):
        Mixture([fake("a"), fake("a")])


def test_names_are_as_long_as_needed() -> None:
    assert list(Mixture([fake("data/human/set"), fake("data/mouse/set")]).parts) == ["human_set", "mouse_set"]


def test_prepared_datasets_mix(dataset_dir: Path, benchmark: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    benchmark.write_synthetic_dataset(other, {"train": [6], "valid": [3]}, tracks=2, window=2000)
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text().replace("synthetic-0", "synthetic-1"))
    mixture = Mixture([open_dataset(dataset_dir), open_dataset(other)])
    split = mixture.split("train")
    assert [record["value"].shape[1] for record in split] == [3] * 23 + [2] * 6
    assert [record["dataset"] for record in split] == [0] * 23 + [1] * 6
    split.close()
    assert mixture.manifest["window"] == 2000
    assert "tracks" in open_dataset(other).manifest and len(mixture.split("train+valid")) == 37
