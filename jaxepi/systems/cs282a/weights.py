"""Released heads of CS282A (torch state dicts): names of the original and where each tensor lives in our model.

A head is told by its tensors. Source of the names: https://github.com/OberonDixon/basenji2_cs282a_cpg-lmnb1.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.sources import Released, Source, read_source
from jaxepi.pretrained.table import PREFIXES, TORCH_LINEAR, TORCH_POINTWISE, Entry, Transform, strip_prefixes
from jaxepi.system import Manifest, Published, Weights
from jaxepi.systems.cs282a.model import Cs282aConfig
from jaxepi.systems.cs282a.tracks import TRACKS

WRAPPERS = ("state_dict", "model_state_dict")
PROBE, CONV, LAST, ATTENTION = (
    "conv_layer.weight",
    "layers.conv1x1.weight",
    "layers.fc1.weight",
    "attention.in_proj_weight",
)
SIGNATURE = (PROBE, CONV, ATTENTION)
NOTED = (
    "heads",
    "dropout",
    "attention_axis",
    "bins",
    "bin_width",
    "crop",
)  # what the tensors of a head do not tell, or not of every head


def _flattened(hidden: int, bins: int) -> Transform:
    """(out, hidden * bins), channel after channel, <-> (bins, hidden, out)."""

    def back(array: np.ndarray) -> np.ndarray:
        return np.transpose(array, (2, 1, 0)).reshape(array.shape[2], hidden * bins)

    return Transform(lambda array: array.reshape(-1, hidden, bins).transpose(2, 1, 0), back)


def table(config: Cs282aConfig) -> list[Entry]:
    """The lines of the state dict of a head, in its order.

    Raises:
      JaxepiError: the model has a trunk, for which the original has no layout.
    """
    if config.trunk:
        raise JaxepiError(
            f"A head on a trunk of {config.trunk} has no original layout: keep its --workdir, or train a head on "
            "embeddings."
        )
    if config.head == "linear":
        return [Entry(PROBE, "head.project.kernel", TORCH_POINTWISE), Entry("conv_layer.bias", "head.project.bias")]
    if config.head in ("conv", "maxpool"):
        last = _flattened(config.hidden, config.bins) if config.head == "conv" else TORCH_LINEAR
        return [
            Entry(CONV, "head.conv.kernel", TORCH_POINTWISE),
            Entry("layers.conv1x1.bias", "head.conv.bias"),
            Entry(LAST, "head.out.kernel", last),
            Entry("layers.fc1.bias", "head.out.bias"),
        ]
    return [
        Entry(ATTENTION, "head.attention.project.kernel", TORCH_LINEAR),
        Entry("attention.in_proj_bias", "head.attention.project.bias"),
        *_linear("attention.out_proj", "head.attention.out"),
        *_norm("norm1", "head.norm_attention"),
        *_norm("norm2", "head.norm_out"),
        *_linear("feed_forward.0", "head.expand"),
        *_linear("feed_forward.3", "head.contract"),
        *_linear("output_transform", "head.out"),
    ]


def _linear(original: str, path: str) -> list[Entry]:
    kernel = Entry(f"{original}.weight", f"{path}.kernel", TORCH_LINEAR)
    return [kernel, Entry(f"{original}.bias", f"{path}.bias")]


def _norm(original: str, path: str) -> list[Entry]:
    return [Entry(f"{original}.weight", f"{path}.scale"), Entry(f"{original}.bias", f"{path}.bias")]


def sizes_of(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """Which head it is, and its sizes as far as shapes tell.

    Raises:
      JaxepiError: the two layers of a perceptron do not fit each other.
    """

    def size(tensor: str, axis: int) -> int | None:
        array = arrays.get(tensor)
        return int(array.shape[axis]) if array is not None and array.ndim > axis else None

    told: dict[str, Any] = {}
    if PROBE in arrays:
        told = {"head": "linear", "channels": size(PROBE, 1), "tracks": size("conv_layer.bias", 0)}
    elif CONV in arrays or LAST in arrays:
        hidden, read = size(CONV, 0) or size("layers.conv1x1.bias", 0), size(LAST, 1)
        told = {"head": "maxpool", "channels": size(CONV, 1), "hidden": hidden, "tracks": size("layers.fc1.bias", 0)}
        if hidden and read and read != hidden:
            if read % hidden:
                raise JaxepiError(
                    f"{name} is damaged: {LAST} reads {read} values, which are no whole number of bins of the {hidden} "
                    f"channels of {CONV}."
                )
            told |= {"head": "conv", "bins": read // hidden}
    elif any(tensor.startswith("attention.") for tensor in arrays):
        channels, wide = size("norm1.weight", 0) or size(ATTENTION, 1), size("feed_forward.0.bias", 0)
        told = {"head": "transformer", "channels": channels, "tracks": size("output_transform.bias", 0)}
        told |= {"expansion": wide // channels} if wide and channels and wide % channels == 0 else {}
    return {field: value for field, value in told.items() if value is not None}


def open_source(source: Source, sizes: Mapping[str, Any]) -> tuple[Released, dict[str, Any]]:
    """The tensors under the table's names; a transformer of the original, which says nothing, attends over the batch.

    Raises:
      JaxepiError: it cannot be read.
    """
    content = read_source(source, WRAPPERS)
    bare = strip_prefixes(content.arrays, PREFIXES)
    content = dataclasses.replace(content, arrays={bare[name]: array for name, array in content.arrays.items()})
    told = {} if "attention_axis" in content.sizes or ATTENTION not in content.arrays else {"attention_axis": "batch"}
    return content, {**told, **sizes}


def released(
    config: Cs282aConfig, tracks: Sequence[str] | None, asked: Mapping[str, Any]
) -> tuple[Manifest, dict[str, Any]]:
    """Embeddings as the released heads read them."""
    names = list(tracks or [f"track_{k}" for k in range(config.tracks)])
    manifest = {
        "tracks": names, "bins": config.bins, "bin_width": config.bin_width, "crop": config.crop,
        "channels": config.channels,
        "resolution": "bin" if config.per_bin else "window",
    }  # fmt: skip
    return manifest, dict(asked)


def published_tracks(config: Cs282aConfig, content: Released) -> Sequence[str] | None:
    """The original's tracks, for a head with as many on embeddings as wide as the original's."""
    usual = Cs282aConfig()
    return TRACKS if (config.tracks, config.channels) == (usual.tracks, usual.channels) else None


_WHERE = "https://github.com/OberonDixon/basenji2_cs282a_cpg-lmnb1"
PUBLISHED = (
    Published("linear probe", ("first_full_run.pth",), _WHERE, 27_666, tracks=TRACKS),
    Published(
        "conv perceptron", ("model_20231128_063541_2",), _WHERE, 8_832_518, {"head": "conv"}, TRACKS,
    ),
    Published("max-pool perceptron", ("model_20231128_072156_3",), _WHERE, 777_518, {"head": "maxpool"}, TRACKS),
    Published(
        "transformer", ("model_20231128_080512_7",), _WHERE, 18_918_930,
        {"head": "transformer", "attention_axis": "batch"}, TRACKS,
    ),
)  # fmt: skip

WEIGHTS = Weights(
    wrappers=WRAPPERS,
    prefixes=(),
    signature=SIGNATURE,
    sizes=sizes_of,
    table=table,
    released=released,
    open=open_source,
    noted=NOTED,
    named=published_tracks,
    published=PUBLISHED,
)
