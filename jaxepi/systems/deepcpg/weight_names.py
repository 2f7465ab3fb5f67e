"""Released DeepCpG tensors, whatever wrote them, under one set of names and in one layout (that of Keras 2).

The names in a file depend on its history: Keras 1 or 2, a model built at once or from loaded parts, numbers that went
on counting. What a tensor is follows from the module and kind of its layer, and its rank among the numbers of that
kind: the layers of a module are made in one go, so their numbers ascend, wherever they start.
MultiMolecule's state dicts (torch layout, five channels) are told by their own names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.sequence import channels_of
from jaxepi.systems.deepcpg.model import head_kind

_ROLE = re.compile(
    r"(?:^|_)(kernel|recurrent_kernel|bias|gamma|beta|moving_mean|moving_variance|running_mean|running_std"
    r"|[WUb]_[zrh]|[Wb])(?:_\d+)?(?::\d+)?$"
)
# Keras 1: `running_std` holds the variance.
_KERAS_1 = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
_GATE = {"W": "kernel", "U": "recurrent_kernel", "b": "bias"}
# pattern of the layer -> the layer's name here; {i} is its rank among the layers of the kind
_LAYERS = [
    (re.compile(r"dna/(conv(?:olution)?1d_\d+)/"), "dna/conv1d_{i}/conv1d_{i}"),
    (re.compile(r"dna/(dense_\d+)/"), "dna/dense_{i}/dense_{i}"),
    (re.compile(r"dna/(bidirectional_\d+)/"), "dna/bidirectional_{i}/bidirectional_{i}/{way}_gru_{i}"),
    (re.compile(r"dna/(conv1|bn1)/"), "dna/{layer}/{layer}"),
    (re.compile(r"dna/(\d\d-\d\d/(?:res|id)_(?:conv|bn)\d)/"), "dna/{layer}/{layer}"),
    (re.compile(r"cpg/(time_?distributed_\d+)/"), "cpg/time_distributed_{i}/dense_{i}"),
    (re.compile(r"cpg/(bidirectional_\d+)/"), "cpg/bidirectional_{i}/bidirectional_{i}/{way}_gru_{i}"),
    (re.compile(r"joint/(dense_\d+)/"), "joint/dense_{i}/joint/dense_{i}"),
]
_UNNAMED = re.compile(r"(dense_\d+)/")
_TORCH = re.compile(
    r"(?:model\.)?(encoder|sequence_head)\.(?:layers\.(\d+)\.conv|bottleneck\.dense|decoder)\.(weight|bias)$"
)

ATGC = channels_of("ATGC")  # A C G T out of A T G C; its own inverse


def weight(layer: str, role: str) -> str:
    """Name of a tensor: layer and role ("kernel", "bias", ...)."""
    return f"{layer}/{role}:0"


def head_layer(output: str) -> str:
    """Layer of a head; variance and entropy heads are unnamed layers in the original, here they have their names."""
    return f"{output}/{output}"


def canonical(
    arrays: Mapping[str, np.ndarray], outputs: Sequence[str], unnamed: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Arrays under this program's names in the layout of Keras 2; a tensor that is nothing known keeps its name.

    Args:
      arrays: as in the file, in its order.
      outputs: names of all heads if they are known, for heads that have none in the file.
      unnamed: layer name -> output, where the model's description tells it.

    Raises:
      JaxepiError: two tensors stand for the same one.
    """
    arrays = {n.removeprefix("model_weights/"): a for n, a in arrays.items() if not n.startswith("optimizer_weights/")}
    if any(_TORCH.match(name) for name in arrays):
        return _from_torch(arrays, outputs)
    names = _Names(arrays, outputs, unnamed)
    found: dict[str, np.ndarray] = {}
    gates: dict[str, dict[str, tuple[str, np.ndarray]]] = {}
    for original, array in arrays.items():
        layer, role = names.of(original)
        if layer is None:
            found[original] = array
            continue
        if len(role) == 3 and role[1] == "_":  # one gate of a GRU of Keras 1
            gates.setdefault(weight(layer, _GATE[role[0]]), {})[role[2]] = (original, array)
            continue
        role = _KERAS_1.get(role, role)
        if weight(layer, role) in found:
            raise JaxepiError(f"{original} and another tensor both stand for {weight(layer, role)} of this model.")
        if role == "kernel" and array.ndim == 4 and array.shape[1] == 1:  # Keras 1: (width, 1, in, out)
            array = array[:, 0]
        found[weight(layer, role)] = array
    for name, parts in gates.items():
        if set(parts) == set("zrh"):
            found[name] = np.concatenate([parts[gate][1] for gate in "zrh"], axis=-1)
        else:
            found |= dict(parts.values())
    return found


class _Names:
    """Names of tensors to (layer, role); ranks the layers of each kind."""

    def __init__(self, arrays: Mapping[str, np.ndarray], outputs: Sequence[str], unnamed: Mapping[str, str]):
        self._layers = {
            pattern: sorted({m[1] for m in map(pattern.match, arrays) if m}, key=_number) for pattern, _ in _LAYERS
        }
        self._unnamed = dict(unnamed)
        named = {head for head in map(_head_of, arrays) if head}
        free = [o for o in outputs if o not in {*named, *unnamed.values()} and head_kind(o) in ("scaled", "relu")]
        layers = {m[1] for m in map(_UNNAMED.match, arrays) if m and m[1] not in unnamed}
        self._unnamed |= dict(zip(sorted(layers, key=_number), free, strict=False))

    def of(self, original: str) -> tuple[str | None, str]:
        """Our layer name (None if it is no layer of DeepCpG) and the role as the file spells it."""
        role = _ROLE.search(original.rsplit("/", 1)[-1])
        if role is None:
            return None, ""
        for pattern, form in _LAYERS:
            if match := pattern.match(original):
                rank = self._layers[pattern].index(match[1]) + 1
                way = "backward" if "backward_" in original else "forward"
                return form.format(i=rank, layer=match[1], way=way), role[1]
        unnamed = _UNNAMED.match(original)
        head = self._unnamed.get(unnamed[1]) if unnamed else _head_of(original)
        return (head_layer(head) if head else None), role[1]


def _number(layer: str) -> tuple[int, str]:
    """7 from "conv1d_7"; layers without a number stay beside each other."""
    digits = re.search(r"_(\d+)$", layer)
    return (int(digits[1]) if digits else 0, layer)


def _head_of(original: str) -> str | None:
    """ "cpg/a" from "cpg/a/cpg/a_2/kernel:0" or "cpg/a/cpg/a_W:0"; None if the tensor is of no named head."""
    if _UNNAMED.match(original) or any(pattern.match(original) for pattern, _ in _LAYERS):
        return None
    words = original.split("/")
    layer, rest = words[: len(words) // 2], words[len(words) // 2 :]
    return "/".join(layer) if layer and len(layer) > 1 and "/".join(rest).startswith("/".join(layer)) else None


def heads_of(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The outputs that canonical arrays have heads for, in their order."""
    return tuple(dict.fromkeys(head for head in map(_head_of, arrays) if head))


def _from_torch(arrays: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
    """MultiMolecule's tensors; the channels A C G T N of its first kernel become A T G C.

    The N channel never meets anything but zeros there, so it is left out.
    """
    found: dict[str, np.ndarray] = {}
    for original, array in arrays.items():
        match = _TORCH.match(original)
        if match is None:
            found[original] = array
            continue
        role = "bias" if match[3] == "bias" else "kernel"
        if match[1] == "sequence_head":
            columns = array.T if array.ndim == 2 else array[None]
            names = outputs if len(outputs) == columns.shape[1] else unnamed_cells(columns.shape[1])
            for i, output in enumerate(names):
                found[weight(head_layer(output), role)] = (
                    columns[0, i : i + 1] if role == "bias" else columns[:, i : i + 1]
                )
        elif match[2] is None:
            found["dna/dense_1/dense_1/" + f"{role}:0"] = array.T
        else:
            layer = int(match[2]) + 1
            if role == "kernel":
                array = array.transpose(2, 1, 0)
                array = array[:, ATGC] if layer == 1 and array.shape[1] == 5 else array
            found[weight(f"dna/conv1d_{layer}/conv1d_{layer}", role)] = array
    return found


def heads_are_unnamed(names: Iterable[str]) -> bool:
    """Whether a file has its heads side by side in one tensor, which tells no names."""
    return any(match[1] == "sequence_head" for match in map(_TORCH.match, names) if match)


def unnamed_cells(count: int) -> tuple[str, ...]:
    """Outputs for cells whose names the file does not tell."""
    return tuple(f"cpg/cell_{i}" for i in range(count))
