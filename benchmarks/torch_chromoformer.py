"""The original Chromoformer's initial weights, drawn by torch in the order of the original's construction.

They depend on the seed and torch's generator alone, so they are a check of the whole way from files to predictions that
needs no released weights: the original publishes what its untrained network (seed 123) predicts for its demo genes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

BIN_SIZES = (2000, 500, 100)
LAYERS = {"embed": 1, "pairwise_interaction": 2, "regulation": 6}


def seeded_weights(shapes: Mapping[str, Sequence[int]], outputs: int, seed: int = 123) -> dict[str, np.ndarray]:
    """The original's state dict before training, at its default sizes.

    Args:
        shapes: of every entry, by its original name.
        outputs: 2 of the classifier, 1 of the regressor.
        seed: of torch.
    """
    torch.manual_seed(seed)
    drawn: dict[str, np.ndarray] = {}

    def draw(name: str) -> None:
        rows, columns = shapes[f"{name}.weight"]
        layer = torch.nn.Linear(columns, rows, bias=f"{name}.bias" in shapes)
        drawn.update({f"{name}.{key}": value.detach().numpy() for key, value in layer.named_parameters()})

    def layers(part: str, size: int, attention: Sequence[str]) -> None:
        for i in range(LAYERS[part]):
            for layer in (*(f"self_att.{name}" for name in attention), "self_att.ff", "ff.l1", "ff.l2"):
                draw(f"{part}.{size}.transformer.layers.{i}.{layer}")

    for size in BIN_SIZES:
        draw(f"embed.{size}.lin_proj")
        layers("embed", size, ("w_bias", "att"))
    for size in BIN_SIZES:
        draw(f"pairwise_interaction.{size}.lin_proj_p")
        draw(f"pairwise_interaction.{size}.lin_proj_pcre")
        layers("pairwise_interaction", size, ("p_att", "c_att"))
    for size in BIN_SIZES:
        layers("regulation", size, ("w_bias", "att"))
    draw("fc_head.0")
    if outputs == 1:  # the regressor first draws the classifier's head
        torch.nn.Linear(shapes["fc_head.2.weight"][1], 2)
        draw("fc_head.0")
    draw("fc_head.2")
    constant = {name: np.full(s, name.rpartition(".")[2] != "bias", np.float32) for name, s in shapes.items()}
    return constant | drawn
