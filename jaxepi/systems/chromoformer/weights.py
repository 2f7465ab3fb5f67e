"""Released Chromoformer weights (torch `.pt`, key `net`): names of the original and where each lives in our model.

Classifier and regressor are one class with another head. Names of the package's older class and of checkpoints before
it are understood too. Source of the names: https://github.com/dohlee/chromoformer, net.py.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import TORCH_LINEAR, Entry
from jaxepi.system import Manifest, Published, Weights
from jaxepi.systems.chromoformer.model import ChromoformerConfig

REGION = 40_000  # bp of a promoter and of the longest contact
MARKS = ("H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3", "H3K27ac", "H3K9ac")  # of released models, in order

# Names of older versions, tried in this order.
_LEGACY = (
    (re.compile(r"^embed(\d+)_b\."), r"pairwise_interaction.\1."),
    (re.compile(r"^embed(\d+)(_a)?\."), r"embed.\1."),
    (re.compile(r"^pw_int(\d+)\."), r"pairwise_interaction.\1."),
    (re.compile(r"^transformer(\d+)\."), r"regulation.\1.transformer."),
    (re.compile(r"^reg(\d+)\."), r"regulation.\1."),
    (re.compile(r"\.lin_proj_c\."), r".lin_proj_pcre."),
)

# Our config field -> (pattern of the tensors that tell it, axis). The commonest answer counts, so that one bad tensor
# is named as such.
_SIZES = {
    "marks": (r"embed\.\d+\.lin_proj\.weight|pairwise_interaction\.\d+\.lin_proj_pcre\.weight", 1),
    "width": (r"embed\.\d+\.lin_proj\.weight|.*\.self_att\.ln\.(weight|bias)", 0),
    "embedding_heads": (r"embed\..*\.self_att\.gamma_f", 0),
    "embedding_hidden": (r"embed\..*\.ff\.l1\.(weight|bias)", 0),
    "pairwise_heads": (r"pairwise_interaction\..*\.self_att\.gamma_f", 0),
    "pairwise_hidden": (r"pairwise_interaction\..*\.ff\.l1\.(weight|bias)", 0),
    "regulation_heads": (r"regulation\..*\.self_att\.gamma_f", 0),
    "regulation_inner": (r"regulation\..*\.self_att\.ff\.weight", 1),
    "regulation_hidden": (r"regulation\..*\.ff\.l1\.(weight|bias)", 0),
    "head_width": (r"fc_head\.0\.(weight|bias)", 0),
    "outputs": (r"fc_head\.2\.(weight|bias)", 0),
}
_LAYERS = {"embedding_layers": "embed", "pairwise_layers": "pairwise_interaction", "regulation_layers": "regulation"}


def current_name(name: str) -> str:
    """The name of version 1.1.3 for a name of any version."""
    for pattern, replacement in _LEGACY:
        name = pattern.sub(replacement, name, count=1)
    return name


def table(config: ChromoformerConfig) -> list[Entry]:
    """The lines of the state dict, in its order."""
    lines: list[Entry] = []
    for number, size in enumerate(config.bin_sizes):
        original, path = f"embed.{size}", f"embedding.{number}"
        lines.append(Entry(f"{original}.lin_proj.weight", f"{path}.project.kernel", TORCH_LINEAR))
        lines += _transformer(original, path, config.embedding_layers)
    for number, size in enumerate(config.bin_sizes):
        lines += _pairwise(f"pairwise_interaction.{size}", f"pairwise.{number}", config.pairwise_layers)
    for number, size in enumerate(config.bin_sizes):
        lines += _transformer(f"regulation.{size}", f"regulation.{number}", config.regulation_layers)
    return [*lines, *_linear("fc_head.0", "head_hidden"), *_linear("fc_head.2", "head_out")]


def _linear(original: str, path: str) -> list[Entry]:
    kernel = Entry(f"{original}.weight", f"{path}.kernel", TORCH_LINEAR)
    return [kernel, Entry(f"{original}.bias", f"{path}.bias")]


def _norm(original: str, path: str) -> list[Entry]:
    return [Entry(f"{original}.weight", f"{path}.scale"), Entry(f"{original}.bias", f"{path}.bias")]


def _layer(original: str, path: str, projections: Mapping[str, str]) -> list[Entry]:
    """One attention layer: its projections, output, norm and feed-forward block."""
    attention = f"{original}.self_att"
    return [
        *(Entry(f"{attention}.{name}.weight", f"{path}.{ours}", TORCH_LINEAR) for name, ours in projections.items()),
        *_linear(f"{attention}.ff", f"{path}.out"),
        *_norm(f"{attention}.ln", f"{path}.norm"),
        *_linear(f"{original}.ff.l1", f"{path}.feed_forward.expand"),
        *_linear(f"{original}.ff.l2", f"{path}.feed_forward.contract"),
        *_norm(f"{original}.ff.ln", f"{path}.feed_forward.norm"),
    ]


def _transformer(original: str, path: str, layers: int) -> list[Entry]:
    lines: list[Entry] = []
    for i in range(layers):
        name, ours = f"{original}.transformer.layers.{i}", f"{path}.transformer.layers.{i}"
        lines.append(Entry(f"{name}.self_att.gamma_f", f"{ours}.bias_weight"))
        lines.append(Entry(f"{name}.self_att.w_bias.weight", f"{path}.transformer.kept.{i}"))
        lines += _layer(name, ours, {"att": "projections.0.kernel"})
    return lines


def _pairwise(original: str, path: str, layers: int) -> list[Entry]:
    lines = [
        Entry(f"{original}.ln.weight", f"{path}.kept_scale"),
        Entry(f"{original}.ln.bias", f"{path}.kept_bias"),
        Entry(f"{original}.lin_proj_p.weight", f"{path}.project_promoter.kernel", TORCH_LINEAR),
        Entry(f"{original}.lin_proj_pcre.weight", f"{path}.project_pcre.kernel", TORCH_LINEAR),
    ]
    for i in range(layers):
        name, ours = f"{original}.transformer.layers.{i}", f"{path}.layers.{i}"
        lines.append(Entry(f"{name}.self_att.gamma_f", f"{ours}.bias_weight"))
        lines += _layer(name, ours, {"p_att": "projections.0.kernel", "c_att": "projections.1.kernel"})
    return lines


def _sizes(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """Every size of the model as the names and most of the tensors that depend on it tell."""
    found: dict[str, Any] = {}
    for size, (pattern, axis) in _SIZES.items():
        telling = re.compile(pattern)
        votes = Counter(a.shape[axis] for key, a in arrays.items() if telling.fullmatch(key) and a.ndim > axis)
        if votes:
            found[size] = int(votes.most_common(1)[0][0])
    for size, kind in _LAYERS.items():
        numbers = [int(m[1]) for key in arrays if (m := re.match(rf"{kind}\.\d+\.transformer\.layers\.(\d+)\.", key))]
        if numbers:
            found[size] = max(numbers) + 1
    bin_sizes = [int(m[1]) for key in arrays if (m := re.match(r"embed\.(\d+)\.", key))]
    if bin_sizes:
        found["bin_sizes"] = tuple(dict.fromkeys(bin_sizes))
    if found.get("regulation_inner", 0) % found.get("regulation_heads", 1):
        raise JaxepiError(
            f"{name} has {found['regulation_heads']} heads of the regulation transformer, which do not divide their "
            f"width of {found['regulation_inner']}."
        )
    return found


def released(
    config: ChromoformerConfig, tracks: Sequence[str] | None, asked: Mapping[str, Any]
) -> tuple[Manifest, dict[str, Any]]:
    """Genes as the original reads them, with the finest stretches that serve every bin size."""
    del tracks
    resolution, common = math.gcd(*config.bin_sizes), math.lcm(*config.bin_sizes)
    promoter = REGION // (2 * resolution) * 2 * resolution
    published = MARKS if config.marks == len(MARKS) else tuple(f"mark_{number}" for number in range(config.marks))
    marks = tuple(asked.get("marks", ())) or published
    fields: dict[str, Any] = {
        "target": "label" if config.outputs == 2 else "expression",
        "centre_tss": False,
        "orient_pcres": False,
        "promoter_width": promoter,
        "region_width": -(-promoter // common) * common,
        **asked,
        "marks": marks,
    }
    return {"marks": list(marks), "resolution": resolution, "promoter_length": promoter}, fields


# A folder for each epigenome of Roadmap, such as E003, and in it a file for each fold, 1 to 4.
_FILE = "{{epigenome}}/chromoformer{}-reproduction-{{epigenome}}-conf1-fold{{fold}}.pt"
_WHERE = "https://doi.org/10.6084/m9.figshare.19424807"
PUBLISHED = (
    Published("Chromoformer-clf", (_FILE.format(""),), _WHERE, 5_342_672),
    Published("Chromoformer-reg", (_FILE.format("-reg"),), _WHERE, 5_342_543, {"outputs": 1}),
)

WEIGHTS = Weights(
    wrappers=("net",),
    prefixes=(),
    signature=tuple(f"embed.{size}.lin_proj.weight" for size in ChromoformerConfig().bin_sizes),
    sizes=_sizes,
    table=table,
    released=released,
    rename=current_name,
    noted=("bin_sizes", "empty_rows"),
    published=PUBLISHED,
)
