"""The label pipeline against the golden arrays of CS282A, through the command line and real files."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.labels.track_table import CHROM, paper_tracks

CHROM_NAME, CROP, INNER = "chr14", 8192, 114_688


def chain(lengths: tuple[int, int], blocks: list[tuple[int, int, int]], number: int = 1) -> str:
    """A chain per block (start, end, shift), so that what lies between has no mapping."""
    lines = []
    for start, end, shift in blocks:
        head = f"chain {end - start} {CHROM_NAME} {lengths[0]} + {start} {end} {CHROM_NAME} {lengths[1]} + "
        lines += [f"{head}{start + shift} {end + shift} {number}", str(end - start), ""]
        number += 1
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def world(golden, tmp_path_factory):
    """BigWigs, chain files and windows of the golden case."""
    import pyBigWig

    folder, data = tmp_path_factory.mktemp("golden"), golden("cs282a", "labels.npz")
    here, there = int(data["in:hg38_contig_length"]), int(data["in:t2t_contig_length"])

    def write(name, length, starts, ends, values):
        path = folder / name.replace(CHROM, CHROM_NAME)
        path.parent.mkdir(exist_ok=True)
        with pyBigWig.open(str(path), "w") as file:
            file.addHeader([(CHROM_NAME, length)])
            file.addEntries([CHROM_NAME] * len(starts), starts, ends=ends, values=values)

    for number, track in enumerate(paper_tracks()[:12]):
        start, end, value = data[f"in:shah_log2_intervals_{number}"].T
        write(track.file, here, start.astype(int).tolist(), end.astype(int).tolist(), value.tolist())
    for cell in ("hek293", "gm12878"):
        for what in ("validmA", "modmA", "validCpG", "modCpG"):
            position, count = data[f"in:{cell}_{what}_pos_count"].T.astype(int)
            name = f"{CHROM}/{cell}_dimelo_feb2022_{CHROM}_bigwig_{what}.bw"
            write(name, there, position.tolist(), (position + 1).tolist(), count.astype(float).tolist())
    gap = int(data["in:sequences_start_end"][2, 0]) + CROP
    middle = 700_000
    (folder / "first.chain").write_text(chain((here, middle), [(0, gap, 100), (gap + 1, here - 10_000, 100)]))
    (folder / "second.chain").write_text(chain((middle, there), [(0, there - 1000, 17)], 9))
    rows = [f"{CHROM_NAME}\t{start}\t{end}\ttrain\n" for start, end in data["in:sequences_start_end"]]
    (folder / "sequences.bed").write_text("".join(rows))
    return folder, data


def command(folder: Path, out: Path, *more: object) -> list[str]:
    words = ["labels", "--windows", folder / "sequences.bed", "--tracks", "cs282a", "--folder", folder]
    words += ["--chains", folder / "first.chain", folder / "second.chain", "--processes", 1, "--no-progress"]
    return [str(word) for word in [*words, "--out", out, *more]]


def test_parity_with_the_original(world, prepare, tmp_path):
    import h5py

    folder, data = world
    status, out, err = prepare(
        command(folder, tmp_path / "l", "--lift", "parity", "--gap-log2", 0, "--layout", "original")
    )
    assert status == 0, err
    assert ": 1 unmapped (too few" in out and "over the end of their contig in the other assembly: 1" in out
    with h5py.File(tmp_path / "l" / "labels.h5") as file:
        for name in ("128bp_bins", "single_bin"):
            wanted = data[f"out:{name}"]
            np.testing.assert_allclose(file[name][:], wanted, rtol=1e-6, atol=0, equal_nan=True)
            assert file[name].dtype == np.float32 and file[name].chunks == (1, *wanted.shape[1:])
            assert (file[name].compression, file[name].compression_opts) == ("gzip", 9)
    assert np.isnan(data["out:single_bin"]).sum() == 2  # the case that the original leaves as NaN is in it


def test_sound_labels_agree_where_the_original_is_sound(world, prepare, tmp_path):
    """The first two windows lie wholly in the other assembly: only gaps and bins without a call differ."""
    folder, data = world
    status, _, err = prepare(command(folder, tmp_path / "l", "--gap-log2", 0))
    assert status == 0, err
    bins, window = np.load(tmp_path / "l" / "bins.npy"), np.load(tmp_path / "l" / "window.npy")
    wanted, single = data["out:128bp_bins"], data["out:single_bin"][:, 0]
    np.testing.assert_allclose(bins[..., :12], wanted[..., :12], rtol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(bins[:2]), wanted[:2], rtol=1e-6)
    np.testing.assert_allclose(window[:2], single[:2], rtol=1e-6)
    assert np.isnan(bins[:2]).any() and not np.isnan(bins[:2][..., [15, 17]]).any()  # no call: no ratio, a count of 0
    # the original gives up the third window for the base that has no place, and the last one for the end of its contig
    lost = np.isnan(bins[..., 15]).sum(1)
    assert lost.tolist() == [0, 0, 1, 419] and np.isfinite(window[2:]).all()
    counts = bins[3, :477, 15].sum() / 10  # of the bins that have a place; all bins are taken to be like them
    np.testing.assert_allclose(window[3, 15], 0.01 * counts * 896 / 477, rtol=1e-6)
    assert states(tmp_path / "l") == ["whole"] * 4


def states(folder: Path) -> list[str]:
    return [line.split("\t")[-1] for line in (folder / "regions.tsv").read_text().splitlines()[1:]]


def test_a_window_with_too_few_bins_is_left_out(world, prepare, tmp_path):
    folder, _ = world
    status, out, err = prepare(command(folder, tmp_path / "l", "--least-mapped", 0.9))
    assert status == 0 and "1 unmapped (too few of its bins have a place)" in out, err
    assert states(tmp_path / "l") == ["whole"] * 3 + ["unmapped"]
    assert np.isnan(np.load(tmp_path / "l" / "window.npy")).sum(1).tolist() == [0, 0, 0, 6]


def test_gaps_of_log2_tracks(world, prepare, tmp_path):
    folder, data = world
    assert prepare(command(folder, tmp_path / "l"))[0] == 0
    bins, original = np.load(tmp_path / "l" / "bins.npy")[..., :12], data["out:128bp_bins"][..., :12]
    whole = original == 128  # bins without a record: 2^0 a base in the original, 2^-2 as it was meant
    assert whole.sum() > 100
    np.testing.assert_array_equal(bins[whole], 32)
