"""Tables of label tracks."""

import pytest

from data_prep.labels.track_table import LabelTrack, paper_tracks, read_table, track_paths
from jaxepi.errors import JaxepiError


def test_the_tracks_of_the_paper():
    tracks = paper_tracks()
    assert len(tracks) == 18 == len({track.name for track in tracks})
    assert [track.kind for track in tracks] == ["log2_sum"] * 12 + ["ratio"] * 3 + ["count", "ratio", "count"]
    assert [track.scale for track in tracks[12:]] == [500, 500, 500, 10, 500, 10]
    assert [track.window_scale for track in tracks[12:]] == [500, 500, 500, 0.01, 500, 0.01]
    assert tracks[9].file == "GSM5669232_Liver_rep1_LB1.bigwig" and not tracks[9].lifted
    assert tracks[16].files[0] == "{chrom}/gm12878_dimelo_feb2022_{chrom}_bigwig_modCpG.bw" and tracks[16].lifted


def test_a_table(tmp_path):
    (tmp_path / "t.csv").write_text(
        "name,kind,file,valid,scale,window_scale,lifted\n"
        "a,log2_sum,a.bw\nb,ratio,{chrom}/m.bw,{chrom}/v.bw,500,,yes\nc,count,v.bw,,10,0.01,no\n"
    )
    assert read_table(tmp_path / "t.csv") == (
        LabelTrack("a", "log2_sum", "a.bw"),
        LabelTrack("b", "ratio", "{chrom}/m.bw", "{chrom}/v.bw", 500, 500, True),
        LabelTrack("c", "count", "v.bw", "", 10, 0.01, False),
    )


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("name,kind\n", "has no column 'file'"),
        ("name,kind,file\n", "names no track"),
        ("name,kind,file,skale\na,count,a.bw,3\n", "has a column 'skale' .did you mean 'scale'"),
        ("name,kind,file\na,sum,a.bw\n", "line 2: the kind is 'sum'"),
        ("name,kind,file\na,count,\n", "line 2 has an empty cell"),
        ("name,kind,file\na,ratio,a.bw\n", "line 2: a track of kind ratio needs the file of all calls in `valid`"),
        ("name,kind,file,valid\na,count,a.bw,b.bw\n", "line 2: a track of kind count has no use for a file in `valid`"),
        ("name,kind,file,scale\na,count,a.bw,-1\n", "line 2: `scale` is '-1', but a number above 0"),
        ("name,kind,file,lifted\na,count,a.bw,maybe\n", "`lifted` is 'maybe', but yes or no"),
        ("name,kind,file\na,count,a.bw\na,count,b.bw\n", "line 3: a track 'a' was there before"),
    ],
)
def test_what_a_table_must_not_say(tmp_path, table, sentence):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(JaxepiError, match=sentence):
        read_table(tmp_path / "t.csv")


def test_files_are_looked_up(tmp_path):
    tracks = (LabelTrack("b", "ratio", "{chrom}/m.bw", "{chrom}/v.bw"), LabelTrack("c", "count", "c.bw"))
    for name in ("c.bw", "chr1/m.bw", "chr1/v.bw", "chr2/m.bw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(track_paths(tracks, tmp_path, ["chr1"])) == ["chr1/m.bw", "chr1/v.bw", "c.bw"]
    with pytest.raises(JaxepiError, match="chr2/v.bw does not exist: a BigWig file of track 'b'"):
        track_paths(tracks, tmp_path, ["chr1", "chr2"])
