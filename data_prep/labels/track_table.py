"""The table of tracks that labels are made of, and the 18 tracks of CS282A."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.sources.text_tables import read_rows
from jaxepi.errors import JaxepiError, did_you_mean

KINDS = {
    "log2_sum": "sum over the bases of 2^v; per window the mean of its bins",
    "ratio": "sum of `file` over sum of `valid`",
    "count": "sum of `file`",
}
COLUMNS = ("name", "kind", "file")
_FURTHER = ("valid", "scale", "window_scale", "lifted")
_YES, _NO = ("yes", "1", "true"), ("", "no", "0", "false")
CHROM = "{chrom}"  # in the name of a file: there is one for each chromosome


@dataclass(frozen=True)
class LabelTrack:
    """One track.

    Attributes:
      name: in the dataset.
      kind: one of `KINDS`.
      file: BigWig, with `CHROM` in its path if there is one for each chromosome.
      valid: of a ratio: BigWig of what `file` is a part of.
      scale: of the values per bin.
      window_scale: of those per window.
      lifted: whether the files are of the assembly to which the chain files lead.
    """

    name: str
    kind: str
    file: str
    valid: str = ""
    scale: float = 1.0
    window_scale: float = 1.0
    lifted: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """`file`, and of a ratio `valid`."""
        return (self.file, self.valid) if self.kind == "ratio" else (self.file,)


def paper_tracks() -> tuple[LabelTrack, ...]:
    """The 18 tracks of CS282A: LMNB1 as log2 of ChIP enrichment and as DiMeLo-seq, and CpG methylation and counts."""
    chip = [
        "GSM5669183_CardiacMyocytes", "GSM5669188_APS", "GSM5669193_BorderEctoderm", "GSM5669198_D5Midbrain",
        "GSM5669203_DefEctoderm", "GSM5669209_EarlySomite", "GSM5669214_EndoProgenitor", "GSM5669220_Epicardium",
        "GSM5669226_H9ESC", "GSM5669232_Liver", "GSM5669238_MidHindgut", "GSM5669244_ParaxMesoderm",
    ]  # fmt: skip

    def dimelo(cell: str, what: str) -> str:
        return f"{CHROM}/{cell.lower()}_dimelo_feb2022_{CHROM}_bigwig_{what}.bw"

    def ratio(name: str, cell: str, what: str) -> LabelTrack:
        return LabelTrack(name, "ratio", dimelo(cell, f"mod{what}"), dimelo(cell, f"valid{what}"), 500, 500, True)

    cells = ("HEK293", "GM12878")
    tracks = [LabelTrack(name, "log2_sum", f"{name}_rep1_LB1.bigwig") for name in chip]
    tracks += [ratio(f"{cell}_LMNB1", cell, "mA") for cell in cells]
    for cell in cells:
        tracks.append(ratio(f"{cell}_CpG_methylation", cell, "CpG"))
        tracks.append(LabelTrack(f"{cell}_CpG_motifs", "count", dimelo(cell, "validCpG"), "", 10, 0.01, True))
    return tuple(tracks)


def read_table(path: Path) -> tuple[LabelTrack, ...]:
    """The tracks of a table with the columns name, kind, file and perhaps valid, scale, window_scale, lifted.

    Raises:
      JaxepiError: a column or cell that is missing or does not fit, told with its line, or two tracks of one name.
    """
    tracks: list[LabelTrack] = []
    for line, row in read_rows(path, COLUMNS):
        for name in row:
            if name not in (*COLUMNS, *_FURTHER):
                known = ", ".join((*COLUMNS, *_FURTHER))
                raise JaxepiError(
                    f"{path} has a column {name!r}{did_you_mean(name, _FURTHER)}: a table of label tracks has {known}"
                )
        where = f"{path} line {line}"
        kind, lifted = row["kind"], row.get("lifted", "").lower()
        if kind not in KINDS:
            raise JaxepiError(f"{where}: the kind is {kind!r}{did_you_mean(kind, KINDS)}, not {', '.join(KINDS)}")
        if not row["name"] or not row["file"]:
            raise JaxepiError(f"{where} has an empty cell: each track needs a name and a file")
        if (kind == "ratio") != bool(row.get("valid", "")):
            need = "needs the file of all calls in `valid`" if kind == "ratio" else "has no use for a file in `valid`"
            raise JaxepiError(f"{where}: a track of kind {kind} {need}")
        if lifted not in (*_YES, *_NO):
            raise JaxepiError(f"{where}: `lifted` is {lifted!r}, but yes or no was expected")
        scale = _number(row.get("scale", ""), where, "scale", 1.0)
        window_scale = _number(row.get("window_scale", ""), where, "window_scale", scale)
        track = LabelTrack(row["name"], kind, row["file"], row.get("valid", ""), scale, window_scale, lifted in _YES)
        if track.name in (other.name for other in tracks):
            raise JaxepiError(f"{where}: a track {track.name!r} was there before; name each track once")
        tracks.append(track)
    if not tracks:
        raise JaxepiError(f"{path} names no track: a row a track was expected")
    return tuple(tracks)


def _number(text: str, where: str, column: str, default: float) -> float:
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise JaxepiError(f"{where}: `{column}` is {text!r}, but a number above 0 was expected")
    return value


def track_paths(tracks: Sequence[LabelTrack], folder: Path, chroms: Sequence[str]) -> dict[str, Path]:
    """File as the table names it, with the chromosome filled in -> its path.

    Raises:
      JaxepiError: one is not there.
    """
    paths: dict[str, Path] = {}
    for track in tracks:
        for file in track.files:
            for name in [file.replace(CHROM, chrom) for chrom in chroms] if CHROM in file else [file]:
                paths[name] = path = (folder / name).absolute()
                if not path.is_file():
                    raise JaxepiError(f"{path} does not exist: a BigWig file of track {track.name!r} was expected")
    return paths
