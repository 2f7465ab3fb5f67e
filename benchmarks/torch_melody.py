"""Melody ST/MT in PyTorch, as its specification describes it: what benchmarks and tests compare with.

Arrays are channels first, as PyTorch likes them. The state dict has the names and the order of the released weights,
so that `jaxepi.pretrained` moves weights between this twin and `jaxepi.systems.melody.model`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (1, 4, 5, 5, 4, 5)
FACTORS = (5, 4, 5, 5, 4)
SEGMENT = 100


class ConvBlock(nn.Module):
    """Residual block: Conv9 to twice the channels, GroupNorm, SiLU, Conv1 back, GroupNorm."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(channels, 2 * channels, 9, padding=4, bias=False),
            nn.GroupNorm(1, 2 * channels),
            nn.SiLU(),
            nn.Conv1d(2 * channels, channels, 1, bias=False),
            nn.GroupNorm(1, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) -> (B, C, L)."""
        return x + self.conv(x)


def _blocks(channels: int) -> nn.Sequential:
    return nn.Sequential(ConvBlock(channels), ConvBlock(channels))


class TorchMelody(nn.Module):
    """Melody of `width` channels: (B, 4, L) to logits (B, K, L), class logits (B, n, T) and averages (B, K, T)."""

    def __init__(self, width: int = 256, tracks: int = 39, count_classes: int = 7):
        super().__init__()
        levels = [(4 if i == 0 else width, stride) for i, stride in enumerate(STRIDES)]
        self.uplblocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(channels, width, 17, stride=stride, padding=8), nn.GroupNorm(1, width))
            for channels, stride in levels
        )
        self.upblocks = nn.ModuleList(_blocks(width) for _ in STRIDES)
        self.downlblocks = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=factor), nn.Conv1d(width, width, 17, padding=8), nn.GroupNorm(1, width)
            )
            for factor in FACTORS
        )
        self.downblocks = nn.ModuleList(_blocks(width) for _ in FACTORS)
        self.final = nn.Sequential(
            nn.Conv1d(width, width, 1), nn.GroupNorm(1, width), nn.ReLU(), nn.Conv1d(width, tracks, 1)
        )
        self.final_100_cg_count = nn.Sequential(
            nn.MaxPool1d(SEGMENT),
            nn.Conv1d(width, width, 1),
            nn.GroupNorm(1, width),
            nn.ReLU(),
            nn.Conv1d(width, count_classes, 1),
        )
        self.final_100_methy_avg = nn.Sequential(
            nn.MaxPool1d(SEGMENT),
            nn.Conv1d(width, width, 1),
            nn.GroupNorm(1, width),
            nn.ReLU(),
            nn.Conv1d(width, width // 2, 1),
            nn.GroupNorm(1, width // 2),
            nn.ReLU(),
            nn.Conv1d(width // 2, tracks, 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One-hot windows to the three heads."""
        skips = []
        for entry, blocks in zip(self.uplblocks, self.upblocks, strict=True):
            x = blocks(entry(x))
            skips.append(x)
        for j, (entry, blocks) in enumerate(zip(self.downlblocks, self.downblocks, strict=True)):
            x = skips[len(skips) - 2 - j] + blocks(entry(x))
        return self.final(x), self.final_100_cg_count(x), self.final_100_methy_avg(x)


def total_loss(
    outputs: tuple[Tensor, Tensor, Tensor],
    x: Tensor,
    beta: Tensor,
    *,
    any_cpg_weight: float = 8.0,
    low_cpg_weight: float = 32.0,
    count_weight: float = 0.01,
    average_weight: float = 1.0,
    count_bin_width: int = 5,
) -> Tensor:
    """Fixed-focal BCE per base + CpG-count classes + regional means.

    x (B, 4, L) one-hot; beta (B, K, L): 0 off CpGs, -1 where a CpG is missing.
    """
    logits, class_logits, average = outputs
    dyad = (x[:, 1, :-1] == 1) & (x[:, 2, 1:] == 1)
    cpg = F.pad(dyad, (0, 1)) | F.pad(dyad, (1, 0))  # both letters, (B, L)
    valid = beta >= 0
    known = cpg[:, None] & valid
    alpha = torch.where(known, torch.where(beta < 0.5, low_cpg_weight, 1.0 + any_cpg_weight), 1.0)
    element = alpha * F.binary_cross_entropy_with_logits(logits, beta, reduction="none")
    tracks = (element * valid).sum(dim=(0, 2)) / valid.sum(dim=(0, 2))
    usable = torch.isfinite(tracks) & (tracks <= 1e7)

    letters = cpg.unflatten(1, (-1, SEGMENT)).sum(dim=2)  # (B, T)
    label = torch.clamp((letters - 1).div(count_bin_width, rounding_mode="floor") + 1, 0, class_logits.shape[1] - 1)
    count = F.cross_entropy(class_logits, label)

    measured = known.unflatten(2, (-1, SEGMENT)).sum(dim=3)  # (B, K, T)
    mean = torch.where(known, beta, 0.0).unflatten(2, (-1, SEGMENT)).sum(dim=3) / (measured + 1e-8)
    use = (measured > 0) & (5 * measured >= 4 * letters[:, None])
    regional = (use * (average - mean) ** 2).sum() / (use.sum() + 1e-8)
    return tracks[usable].mean() + count_weight * count + average_weight * regional
