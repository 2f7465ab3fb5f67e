"""Figures of a report as PNGs: rendered, put into its page, written beside it."""

import base64
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path

import jinja2
import markupsafe
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxepi.report.page import FIGURE
from jaxepi.storage.atomic import write_atomically

DPI = 160


@dataclasses.dataclass(frozen=True)
class Picture:
    """A rendered figure."""

    file: str
    title: str
    caption: str
    png: bytes
    width: int  # CSS pixels

    @property
    def data(self) -> str:
        """The PNG in base64."""
        return base64.b64encode(self.png).decode("ascii")


def make_pictures(
    figures: Mapping[str, Figure | None], prefix: str, about: Mapping[str, tuple[str, str]]
) -> list[Picture]:
    """Renders the figures that are there; `about` has title and caption of each name, files begin with `prefix`."""
    pictures = []
    for name, figure in figures.items():
        if figure is None:
            continue
        title, caption = about[name]
        width, png = _render(figure)
        pictures.append(Picture(f"{prefix}{name}.png", title, caption, png, width))
    return pictures


def _render(figure: Figure) -> tuple[int, bytes]:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    # No date or version inside: the same numbers give the same bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return round(figure.get_size_inches()[0] * 100), buffer.getvalue()


def save_figure(path: Path, figure: Figure) -> None:
    """Writes a figure as PNG; the same numbers give the same bytes.

    Raises:
        JaxepiError: it cannot be written.
    """
    png = _render(figure)[1]
    write_atomically(path, lambda file: file.write(png))


def write_pictures(folder: Path, pictures: list[Picture]) -> None:
    """Writes the PNGs; figures of an earlier report that this one does not have are removed.

    Raises:
        JaxepiError: a file cannot be written.
    """
    for picture in pictures:
        write_atomically(folder / picture.file, lambda file, png=picture.png: file.write(png))
    kept = {picture.file for picture in pictures}
    for path in folder.glob("*.png"):
        if path.name not in kept:
            path.unlink()


def environment() -> jinja2.Environment:
    """The template engine of all pages: every value is escaped, a missing one is an error."""
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)


def figure_block(picture: Picture) -> markupsafe.Markup:
    """A figure with its title and caption, for a page."""
    return markupsafe.Markup(environment().from_string(FIGURE).render(figure=picture))
