"""Epiformer in PyTorch, as its authors' network is written there: the twin of the speed comparison.

Modules have the names of the original's tensors, so that weights go in by name: `benchmarks/epiformer_speed.py` tells
the largest difference of the predictions. Scores of relative positions come from the rows of the table for all pairs of
positions (P, P, D), as in the original.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from jaxepi.systems.epiformer.model import EpiformerConfig

LOG_EPSILON = 1e-8  # of the Poisson loss


def block(channels_in: int, channels: int, width: int) -> nn.Sequential:
    """Batch normalisation, GELU, convolution: (B, Cin, L) -> (B, C, L)."""
    return nn.Sequential(
        nn.BatchNorm1d(channels_in), nn.GELU(), nn.Conv1d(channels_in, channels, width, padding=width // 2)
    )


class Residual(nn.Module):
    """A block of width 1 added to its input."""

    def __init__(self, channels: int):
        super().__init__()
        self.module = block(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.module(x)


class Tower(nn.Module):
    """(B, 4, L) -> (B, C, P)."""

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        first = nn.Conv1d(4, channels[0], 15, padding=7)
        self.stem = nn.Sequential(first, Residual(channels[0]), nn.MaxPool1d(2))
        pairs = zip(channels[:-1], channels[1:], strict=True)
        self.tower = nn.Sequential(*(nn.Sequential(block(a, b, 5), Residual(b), nn.MaxPool1d(2)) for a, b in pairs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tower(self.stem(x))


class Attention(nn.Module):
    """(B, P, C) -> (B, P, C), without a projection of the heads' outputs."""

    def __init__(self, width: int, heads: int, rate: float):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.heads, self.width, self.dropout = heads, width, nn.Dropout(rate)
        self.distance_embedding = nn.Embedding(2 * width - 1, width // heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (*x.shape[:2], self.heads, -1)
        query, key, value = (layer(x).view(size).transpose(1, 2) for layer in (self.query, self.key, self.value))
        place = torch.arange(x.shape[1], device=x.device)
        rows = self.distance_embedding(place[:, None] - place[None] + self.width - 1)
        scores = query @ key.transpose(2, 3) + torch.einsum("bhqd,qkd->bhqk", query, rows)
        weights = self.dropout(torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1))
        return (weights @ value).transpose(1, 2).reshape(x.shape)


class Gate(nn.Module):
    """silu(x) * x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.silu(x) * x


class Encoder(nn.Module):
    """One post-norm layer."""

    def __init__(self, c: EpiformerConfig):
        super().__init__()
        self.mha = Attention(c.embed_size, c.num_heads, c.att_dropout)
        wide = nn.Linear(c.embed_size, c.dim_feedforward)
        narrow = nn.Linear(c.dim_feedforward, c.embed_size)
        self.linear_net = nn.Sequential(wide, nn.Dropout(c.enc_dropout), Gate(), narrow)
        self.norm1, self.norm2 = nn.LayerNorm(c.embed_size), nn.LayerNorm(c.embed_size)
        self.dropout = nn.Dropout(c.enc_dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.dropout(self.mha(x)))
        return self.norm2(x + self.dropout(self.linear_net(x)))


class TorchEpiformer(nn.Module):
    """The signal model: (B, 4, L) and conservation (B, 1, L) to coverage (B, K, T)."""

    def __init__(self, c: EpiformerConfig):
        super().__init__()
        self.crop = c.crop_size
        self.conv = Tower(c.channels)
        self.trans = nn.Module()
        self.trans.layers = nn.ModuleList(Encoder(c) for _ in range(c.num_encoder_layers))
        self.ptw = nn.Module()
        wide = 2 * c.embed_size
        self.ptw.conv = nn.Sequential(nn.BatchNorm1d(c.embed_size), nn.GELU(), nn.Conv1d(c.embed_size, wide, 1))
        self.ptw.linear = nn.Sequential(nn.Linear(wide, c.tracks), nn.Dropout(c.head_dropout), nn.Softplus())
        self.dropout = nn.Dropout(c.head_dropout)

    def forward(self, x: torch.Tensor, conservation: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """`positions`: the sinusoid (P, C)."""
        x = self.conv(x * torch.exp(conservation)).transpose(1, 2) + positions
        for layer in self.trans.layers:
            x = layer(x)
        x = x.transpose(1, 2)
        x = self.dropout(self.ptw.conv(x[..., self.crop : x.shape[-1] - self.crop]))
        return self.ptw.linear(x.transpose(1, 2)).transpose(1, 2)


class Program:
    """One prediction, or one update of Adam with clipping of the global norm, per call."""

    def __init__(
        self,
        config: EpiformerConfig,
        weights: Mapping[str, np.ndarray],
        inputs: Mapping[str, Any],
        positions: np.ndarray,
        target: np.ndarray | None,
    ):
        """Args: weights: under the original's names; inputs: those of our model; target: (B, T, K), None: predict."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.benchmark = True
        model = TorchEpiformer(config)
        model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        self.model = model.to(self.device).train(target is not None)
        self.x = self._placed(np.swapaxes(inputs["x"], 1, 2))
        self.conservation = self._placed(np.asarray(inputs["conservation"])[:, None])
        self.positions = self._placed(positions)
        self.target = None if target is None else self._placed(np.swapaxes(target, 1, 2))
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-4)
        self.values = np.empty(0)
        self.loss = float("nan")

    def _placed(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device)

    def __call__(self) -> None:
        """Returns when the numbers are on the host."""
        given = (self.x, self.conservation, self.positions)
        if self.target is None:
            with torch.inference_mode():
                self.values = self.model(*given).cpu().numpy()
            return
        self.optimizer.zero_grad(set_to_none=True)
        made = self.model(*given)
        loss = (made - self.target * torch.log(made + LOG_EPSILON)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.loss = loss.item()
