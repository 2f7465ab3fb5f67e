"""Released files: named arrays as torch lays them out, bare or under "state_dict"."""

from jaxepi.pretrained.table import TORCH_CONV1D, TORCH_LINEAR, Entry
from jaxepi.system import Weights
from toys.windowsum.model import WindowSumConfig

TABLE = [
    Entry("conv.weight", "words.kernel", TORCH_CONV1D),
    Entry("conv.bias", "words.bias"),
    Entry("linear.weight", "head.kernel", TORCH_LINEAR),
    Entry("linear.bias", "head.bias"),
]


def sizes(arrays, name):
    """What the tensors that are there tell of the model's sizes."""
    told = {"width": "conv.bias", "tracks": "linear.bias"}
    return {size: len(arrays[tensor]) for size, tensor in told.items() if tensor in arrays}


def released(config: WindowSumConfig, tracks, asked):
    """The dataset that the released models were trained on, and the fields of `config.task` that it is read with."""
    names = list(tracks or [f"track_{k}" for k in range(config.tracks)])
    return {"tracks": names, "window": 10 * config.bin, "bin": config.bin}, dict(asked)


WEIGHTS = Weights(("state_dict",), ("module.",), ("conv.weight", "linear.weight"), sizes, lambda _: TABLE, released)
