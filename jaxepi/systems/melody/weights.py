"""Released Melody weights (torch `.pth`): names of the original state dict and where each lives in our model.

Covers ST and MT, which are one class. Source of the names: https://github.com/FakeEnd/Melody, models.py.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.sources import Released
from jaxepi.pretrained.table import IDENTITY, TORCH_CONV1D, Entry
from jaxepi.system import Manifest, Published, Weights
from jaxepi.systems.melody.model import FACTORS, STRIDES, MelodyConfig

WINDOW = 10_000  # bp that the released models were trained on

# The tracks of the published 39-track model, in its order: cell types of the human methylation atlas GSE186458.
ATLAS_TRACKS = (
    *("Adipocytes", "Aorta-Endothel", "Kidney-Tubular-Endothel", "Colon-Fibroblasts", "Heart-Fibroblasts"),
    *("Dermal-Fibroblasts", "Skeletal-Muscle", "Aorta-Smooth-Muscle", "Heart-Cardiomyocyte", "Bone-Osteoblasts"),
    *("Oligodendrocytes", "Cortex-Neuron", "Liver-Hepatocytes", "Pancreas-Duct", "Pancreas-Acinar", "Pancreas-Delta"),
    *("Pancreas-Beta", "Pancreas-Alpha", "Thyroid-Epithelial", "Fallopian-Epithelial", "Ovary-Epithelial"),
    *("Bone_marrow-Erythrocyte_progenitors", "Blood-T-CD3", "Blood-NK", "Blood-Monocytes", "Blood-Granulocytes"),
    *("Blood-B", "Epidermal-Keratinocytes", "Tonsil-Palatine-Epithelial", "Lung-Bronchus-Epithelial"),
    *("Prostate-Epithelial", "Bladder-Epithelial", "Breast-Luminal-Epithelial", "Breast-Basal-Epithelial"),
    *("Lung-Alveolar-Epithelial", "Gallbladder-Epithelial", "Gastric-fundus-Epithelial", "Colon-Right-Epithelial"),
    "Small-int-Epithelial",
)

# Where each size can be read: (name, axis). The commonest answer counts, so that one bad tensor is named as such.
_SIZES = {
    "width": [(f"uplblocks.{i}.1.weight", 0) for i in range(len(STRIDES))] + [("final.0.weight", 0)],
    "tracks": [(f"{last}.{kind}", 0) for last in ("final.3", "final_100_methy_avg.7") for kind in ("weight", "bias")],
    "count_classes": [("final_100_cg_count.4.weight", 0), ("final_100_cg_count.4.bias", 0)],
}


def table(config: MelodyConfig) -> list[Entry]:
    """The lines of the state dict, in its order; the names do not depend on the sizes."""
    del config
    lines: list[Entry] = []
    for name, level, count, first in (("up", "encoder", len(STRIDES), 0), ("down", "decoder", len(FACTORS), 1)):
        # In the original a level is two modules: convolution and norm (after an upsampler in the decoder), then blocks.
        for i in range(count):
            lines += _conv(f"{name}lblocks.{i}.{first}", f"{level}.{i}.conv")
            lines += _norm(f"{name}lblocks.{i}.{first + 1}", f"{level}.{i}.norm")
        for i, b in itertools.product(range(count), range(2)):
            lines += _block(f"{name}blocks.{i}.{b}.conv", f"{level}.{i}.blocks.{b}")
    lines += _head("final", "head_signal", (0, 3), (1,))
    lines += _head("final_100_cg_count", "head_count", (1, 4), (2,))
    lines += _head("final_100_methy_avg", "head_average", (1, 4, 7), (2, 5))
    return lines


def _conv(original: str, path: str, bias: bool = True) -> list[Entry]:
    kernel = Entry(f"{original}.weight", f"{path}.kernel", TORCH_CONV1D)
    return [kernel, Entry(f"{original}.bias", f"{path}.bias", IDENTITY)] if bias else [kernel]


def _norm(original: str, path: str) -> list[Entry]:
    return [Entry(f"{original}.weight", f"{path}.scale"), Entry(f"{original}.bias", f"{path}.bias")]


def _block(original: str, path: str) -> list[Entry]:
    return [
        *_conv(f"{original}.0", f"{path}.conv_in", bias=False),
        *_norm(f"{original}.1", f"{path}.norm_in"),
        *_conv(f"{original}.3", f"{path}.conv_out", bias=False),
        *_norm(f"{original}.4", f"{path}.norm_out"),
    ]


def _head(original: str, path: str, convs: Sequence[int], norms: Sequence[int]) -> list[Entry]:
    """A head's convolutions and norms; the numbers are their places in the original's Sequential."""
    places = [(place, _conv(f"{original}.{place}", f"{path}.convs.{i}")) for i, place in enumerate(convs)]
    places += [(place, _norm(f"{original}.{place}", f"{path}.norms.{i}")) for i, place in enumerate(norms)]
    return [line for _, lines in sorted(places, key=lambda item: item[0]) for line in lines]


def _sizes(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """Width, tracks and classes as most of the tensors that depend on them tell."""
    if any(tensor.startswith("cell_mod.") for tensor in arrays):
        raise JaxepiError(f"{name} is a Melody-G checkpoint (it has cell_mod.*), which this version does not support.")
    found = {}
    for size, places in _SIZES.items():
        votes = Counter(arrays[key].shape[axis] for key, axis in places if key in arrays and arrays[key].ndim > axis)
        if votes:
            found[size] = int(votes.most_common(1)[0][0])
    return found


def released(
    config: MelodyConfig, tracks: Sequence[str] | None, asked: Mapping[str, Any]
) -> tuple[Manifest, dict[str, Any]]:
    """What the released models were trained on."""
    names = list(tracks or [f"track_{k}" for k in range(config.tracks)])
    return {"tracks": names, "window": WINDOW, "max_sites": 1, "max_cpg_letters": 2}, dict(asked)


def published_tracks(config: MelodyConfig, content: Released) -> Sequence[str] | None:
    """The names of the atlas for the published 39-track file.

    Such a file is told by its layout: the original's training script keeps the number of the step beside the weights,
    which no export of ours and no bare state dict does. A 39-track model that someone else trained with that script
    has the same layout: name its tracks with `tracks=...`.
    """
    return ATLAS_TRACKS if config.tracks == len(ATLAS_TRACKS) and "step" in content.beside else None


PUBLISHED = Published(
    "Melody-MT-39", ("Melody-MT-39.pth",), "https://github.com/FakeEnd/Melody", 40_285_525, tracks=ATLAS_TRACKS
)

WEIGHTS = Weights(
    wrappers=("model_state_dict", "state_dict"),
    prefixes=(),
    signature=("uplblocks.0.0.weight", "downlblocks.0.1.weight", "final_100_methy_avg.7.weight"),
    sizes=_sizes,
    table=table,
    released=released,
    named=published_tracks,
    published=(PUBLISHED,),
)
