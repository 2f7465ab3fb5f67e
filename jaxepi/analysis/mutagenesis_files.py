"""Effects of base changes at many sites on disk: a SiteStore of effects, which becomes an HDF5 file and a profile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.sequence import decode
from jaxepi.storage.atomic import write_text
from jaxepi.storage.job import require_h5py
from jaxepi.storage.site_store import SiteStore

MATRIX, PROFILE, SUMMARY = "effects.h5", "profile.tsv", "effects.json"
_COMPRESSION = 4


class EffectStore(SiteStore):
    """Appends sites with their effects (W, 4) and base codes (W,); `finish` turns them into the final files."""

    def __init__(self, out: Path, arguments: Mapping[str, Any], width: int):
        """`width`: W, bp around a site. See SiteStore."""
        self.width = width
        super().__init__(out, arguments, {"effect": (np.float32, (width, 4)), "sequence": (np.uint8, (width,))})

    def finish(self, summary: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
        """Writes `effects.h5` with these attributes, `profile.tsv` and the summary, and renames the folder."""
        self.sync()
        self._write_matrix(self.partial / MATRIX, attributes)
        write_text(self.partial / PROFILE, self._profile())
        self.publish(SUMMARY, summary)

    def _write_matrix(self, path: Path, attributes: Mapping[str, str]) -> None:
        """`chrom`, `position` (n,), `sequence` (n,) letters, `effect` (n, W, 4) with channels A C G T."""
        h5py = require_h5py()
        text, options = h5py.string_dtype(), {"compression": "gzip", "compression_opts": _COMPRESSION, "chunks": True}
        with h5py.File(path, "w") as file:
            file.attrs.update(channels="ACGT", **attributes)
            for name, shape, kind in (
                ("chrom", (), text), ("position", (), "i8"), ("sequence", (), text), ("effect", (self.width, 4), "f4")
            ):  # fmt: skip
                file.create_dataset(name, (self.sites, *shape), kind, **options)
            low = 0
            for chrom, position, columns in self.site_blocks():
                rows = slice(low, low + len(position))
                file["chrom"][rows], file["position"][rows] = chrom.astype(object), position
                file["sequence"][rows] = [decode(codes) for codes in columns["sequence"]]
                file["effect"][rows] = columns["effect"]
                low += len(position)

    def _profile(self) -> str:
        """A line a place: its offset from the middle, and the mean over sites of the largest |effect| there."""
        total = np.zeros(self.width)
        for _, _, columns in self.site_blocks():
            total += np.abs(columns["effect"]).max(axis=2).sum(axis=0, dtype=np.float64)
        rows = [f"{i - self.width // 2}\t{value / self.sites:.6g}\n" for i, value in enumerate(total)]
        return "offset\tmean_largest_effect\n" + "".join(rows)
