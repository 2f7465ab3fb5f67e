"""Basenji2 in PyTorch, as its authors' network is written there: the twin of the speed comparison.

Layers in eager mode, channels first, weights from ours by the order of the original's layers, so that both predict the
same: `benchmarks/basenji_speed.py` tells the largest difference.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DILATIONS = (1, 2, 3, 4, 6, 9, 14, 21, 32, 48, 72)
EPSILON, MOMENTUM = 1e-3, 0.1
LOG_EPSILON = 1e-7  # of the Poisson loss


class ConvBlock(nn.Module):
    """GELU, convolution, batch normalisation, dropout, pooling: (B, Cin, L) -> (B, Cout, L or L / 2)."""

    def __init__(self, kernel: np.ndarray, dilation: int = 1, dropout: float = 0.0, pool: bool = False):
        super().__init__()
        width, channels_in, channels = kernel.shape
        self.conv = nn.Conv1d(channels_in, channels, width, padding="same", dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(channels, EPSILON, MOMENTUM)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.pool = nn.MaxPool1d(2) if pool else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(functional.gelu(x, approximate="tanh")))
        x = x if self.dropout is None else self.dropout(x)
        return x if self.pool is None else self.pool(x)


class TorchBasenji2(nn.Module):
    """One-hot (B, 4, 131072) to coverage (B, 896, tracks)."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        """Args: weights: arrays under the original's names, in the order of its layers."""
        super().__init__()
        kernels = [array for name, array in weights.items() if name.startswith("conv1d")]
        self.stem = nn.ModuleList(ConvBlock(kernel, pool=True) for kernel in kernels[:7])
        pairs = zip(kernels[7:29:2], kernels[8:29:2], DILATIONS, strict=True)
        self.residuals = nn.ModuleList(
            nn.Sequential(ConvBlock(first, dilation), ConvBlock(second, dropout=0.3))
            for first, second, dilation in pairs
        )
        self.last = ConvBlock(kernels[29], dropout=0.05)
        self.head = nn.Linear(*weights["dense/kernel:0"].shape)
        self._take(weights)

    def _take(self, weights: Mapping[str, np.ndarray]) -> None:
        """Copies the arrays into the layers."""
        blocks = [module for module in self.modules() if isinstance(module, ConvBlock)]
        groups: dict[str, list[np.ndarray]] = {}
        for name, array in weights.items():
            groups.setdefault(name.partition("/")[0], []).append(array)
        kernels = [arrays[0] for name, arrays in groups.items() if name.startswith("conv1d")]
        norms = [arrays for name, arrays in groups.items() if name.startswith("batch_normalization")]
        with torch.no_grad():
            for block, kernel, norm in zip(blocks, kernels, norms, strict=True):
                block.conv.weight.copy_(torch.from_numpy(np.array(kernel)).permute(2, 1, 0))
                own = (block.norm.weight, block.norm.bias, block.norm.running_mean, block.norm.running_var)
                for ours, theirs in zip(own, norm, strict=True):
                    ours.copy_(torch.from_numpy(np.array(theirs)))
            self.head.weight.copy_(torch.from_numpy(np.array(weights["dense/kernel:0"])).T)
            self.head.bias.copy_(torch.from_numpy(np.array(weights["dense/bias:0"])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.stem:
            x = block(x)
        for residual in self.residuals:
            x = x + residual(x)
        x = functional.gelu(self.last(x[..., 64:-64]), approximate="tanh")
        return functional.softplus(self.head(x.transpose(1, 2)))


class Program:
    """One prediction, or one update of SGD with momentum and the clipping of each variable, per call."""

    def __init__(self, weights: Mapping[str, np.ndarray], x: np.ndarray, target: np.ndarray | None):
        """Args: weights: as `TorchBasenji2` takes them; x: one-hot (B, L, 4); target: (B, 896, K), None: predict."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.benchmark = True
        self.model = TorchBasenji2(weights).to(self.device).train(target is not None)
        self.x = torch.from_numpy(np.array(x, np.float32)).transpose(1, 2).contiguous().to(self.device)
        self.target = None if target is None else torch.from_numpy(np.array(target, np.float32)).to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.15, momentum=0.99)
        self.values = np.empty(0)
        self.loss = float("nan")

    def __call__(self) -> None:
        """Returns when the numbers are on the host."""
        if self.target is None:
            with torch.inference_mode():
                self.values = self.model(self.x).cpu().numpy()
            return
        self.optimizer.zero_grad(set_to_none=True)
        made = self.model(self.x)
        loss = (made - self.target * torch.log(made + LOG_EPSILON)).mean()
        loss.backward()
        for parameter in self.model.parameters():
            nn.utils.clip_grad_norm_(parameter, 2.0)
        self.optimizer.step()
        self.loss = loss.item()
