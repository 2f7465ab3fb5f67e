"""Which files make which tracks, and reading them."""

import pickle
import struct

import numpy as np
import pytest

from data_prep.sources.tracks import TrackFile, TrackReader, read_header, resolve_tracks
from jaxepi.errors import JaxepiError


@pytest.fixture
def folder(tools, tmp_path):
    for name in ("GSM1_Blood-B-Z1.hg38.bigwig", "GSM2_Blood-NK-Z2.hg38.bigwig", "GSM3_Liver.bw"):
        tools.write_bigwig(tmp_path / name, {"chr1": 100}, {"chr1": (np.array([5]), np.array([7]), np.array([0.5]))})
    return tmp_path


def names(tracks):
    return [(track.name, track.path.name) for track in tracks]


def test_a_list_of_files_is_named_after_the_stems(folder):
    tracks = resolve_tracks([str(folder / "GSM3_Liver.bw"), str(folder / "GSM1_Blood-B-Z1.hg38.bigwig")])
    assert [t.name for t in tracks] == ["GSM3_Liver", "GSM1_Blood-B-Z1.hg38"]
    assert all(t.path.is_absolute() for t in tracks)


def test_names_in_a_folder(folder):
    tracks = resolve_tracks(["Liver", "Blood-B", "GSM2_Blood-NK-Z2.hg38.bigwig"], str(folder))
    assert [n for _, n in names(tracks)] == [
        "GSM3_Liver.bw",
        "GSM1_Blood-B-Z1.hg38.bigwig",
        "GSM2_Blood-NK-Z2.hg38.bigwig",
    ]
    assert len(resolve_tracks(folder=str(folder))) == 3


@pytest.mark.parametrize("header", ["name,file", "index,bigwig_file,track_name", "\ufeffname,file"])
def test_tables(folder, header):
    table = folder / "t.csv"
    row = {"name": "b cells", "file": "Blood-B", "index": "0", "bigwig_file": "Blood-B", "track_name": "b cells"}
    table.write_text(header + "\n" + ",".join(row[c] for c in header.removeprefix("\ufeff").split(",")) + "\n", "utf-8")
    assert names(resolve_tracks(folder=str(folder), table=str(table))) == [("b cells", "GSM1_Blood-B-Z1.hg38.bigwig")]


def test_a_table_without_folder_names_files_beside_it(folder):
    table = folder / "t.csv"
    table.write_text("name,file\nliver,GSM3_Liver.bw\n")
    assert names(resolve_tracks(table=str(table))) == [("liver", "GSM3_Liver.bw")]


def test_wrong_names(folder):
    table = folder / "t.csv"
    table.write_text("title,path\nx,y\n")
    double = folder / "d.csv"
    double.write_text("name,file\nx,Liver\nx,Blood-B\n")
    for call, message in [
        (lambda: resolve_tracks(["Blood"], str(folder)), r"fits 2 files .*Blood-B.*Blood-NK.*full file name"),
        (lambda: resolve_tracks(["GSM3_Livr.bw"], str(folder)), r"fits no BigWig .*did you mean 'GSM3_Liver.bw'"),
        (lambda: resolve_tracks(["x.bw"]), "x.bw does not exist"),
        (lambda: resolve_tracks(), "no tracks"),
        (lambda: resolve_tracks(folder=str(folder / "none")), "is not a folder"),
        (lambda: resolve_tracks(folder=str(folder), table=str(table)), "has the columns title, path"),
        (lambda: resolve_tracks(folder=str(folder), table=str(double)), "two tracks are called 'x'"),
    ]:
        with pytest.raises(JaxepiError, match=message):
            call()


def test_reading(folder):
    reader = TrackReader([TrackFile("liver", folder / "GSM3_Liver.bw")])
    for own in (reader, pickle.loads(pickle.dumps(reader))):
        values = own.read(0, "chr1", 4, 9)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, np.array([np.nan, 0.5, 0.5, np.nan, np.nan], np.float32))
        assert np.isnan(own.read(0, "chr7", 0, 3)).all()
    assert TrackReader(reader.tracks, "strip").read(0, "1", 5, 6).tolist() == [0.5]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_truncated_files(folder, share):
    path = folder / "GSM3_Liver.bw"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(JaxepiError, match="is truncated or not a BigWig file"):
        read_header(TrackFile("liver", path))


def test_damage_inside_a_file_is_told_when_it_is_read(tools, tmp_path):
    rng = np.random.default_rng(0)
    first = np.arange(0, 90_000, 3)
    path = tools.write_bigwig(
        tmp_path / "t.bw", {"chr1": 100_000}, {"chr1": (first, first + 2, rng.random(len(first)))}
    )
    raw = bytearray(path.read_bytes())
    raw[2000:30_000] = bytes(28_000)
    path.write_bytes(raw)
    with pytest.raises(JaxepiError, match=r"t.bw cannot be read at chr1:0-90000: the file is damaged"):
        TrackReader([TrackFile("t", path)]).read(0, "chr1", 0, 90_000)


def test_a_header_alone_and_a_folder_are_told(tools, tmp_path):
    path = tools.write_bigwig(
        tmp_path / "t.bw", {"chr1": 100}, {"chr1": (np.array([5]), np.array([7]), np.array([1.0]))}
    )
    raw = path.read_bytes()
    bare = tools.write_bigwig(tmp_path / "bare.bw", {"chr1": 100}, {}).read_bytes()
    for content in (bare, *(raw[:cut] + raw[:4] for cut in (0, 4, 60, 64, 100, 200)), raw[:8] + bytes(56) + raw[64:]):
        path.write_bytes(content)  # the library would read beyond the end of some
        with pytest.raises(JaxepiError, match=r"t\.bw is truncated or not a BigWig file"):
            read_header(TrackFile("t", path))
    (tmp_path / "folder.bw").mkdir()
    with pytest.raises(JaxepiError, match=r"folder\.bw is a folder: the BigWig file of track 't' was expected"):
        read_header(TrackFile("t", tmp_path / "folder.bw"))


def test_empty_cells_of_a_table_are_told(folder):
    table = folder / "t.csv"
    for row in ("liver,\n", ",GSM3_Liver.bw\n", "liver\n"):
        table.write_text("name,file\nblood,Blood-B\n" + row)
        with pytest.raises(JaxepiError, match=r"t\.csv line 3 has an empty cell: each track needs a name and a file"):
            resolve_tracks(folder=str(folder), table=str(table))


@pytest.mark.parametrize(("name", "told"), [("9" * 5000, "does not exist: a BigWig"), ("a\x00b", "a zero byte")])
def test_a_name_that_no_file_can_have_is_told(tmp_path, name, told):
    (tmp_path / "t.csv").write_text(f"name,file\nx,{name}\n")
    with pytest.raises(JaxepiError, match=told):
        resolve_tracks(table=str(tmp_path / "t.csv"))


def test_a_damaged_index_or_tree_of_chromosomes_is_told(tmp_path):
    import pyBigWig

    path = tmp_path / "a.bw"
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader([("chr1", 1000), ("chr2", 500)])
        file.addEntries(["chr1", "chr1"], [0, 10], ends=[5, 20], values=[0.5, 0.25])
    good = path.read_bytes()
    tree, _, index = struct.unpack("<QQQ", good[8:32])
    read_header(TrackFile("a", path))
    # number of the second chromosome, entries of the root of the index, place of its first block
    for at in (tree + 36 + 12 + 4, index + 50, index + 52 + 16):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x80 if at < index else 0]) + good[at + 1 :])
        with pytest.raises(JaxepiError, match=r"a\.bw is truncated or not a BigWig file"):
            read_header(TrackFile("a", path))
