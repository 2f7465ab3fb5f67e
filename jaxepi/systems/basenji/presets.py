"""Networks of the papers as the original's params.json describes them: `model` and `train` of each file.

Sources: calico/basenji, manuscripts/cross2020 (Basenji2), manuscripts/basset and manuscripts/akita.
"""

from typing import Any

HUMAN_TRACKS, MOUSE_TRACKS = 5_313, 1_643  # of Basenji2

_BASENJI2_TRUNK = [
    {"name": "conv_block", "filters": 288, "kernel_size": 15, "pool_size": 2},
    {
        "name": "conv_tower", "filters_init": 339, "filters_mult": 1.1776, "kernel_size": 5, "pool_size": 2,
        "repeat": 6,
    },
    {"name": "dilated_residual", "filters": 384, "rate_mult": 1.5, "repeat": 11, "dropout": 0.3, "round": True},
    {"name": "Cropping1D", "cropping": 64},
    {"name": "conv_block", "filters": 1536, "dropout": 0.05},
]  # fmt: skip

BASENJI2: dict[str, Any] = {
    "train": {
        "batch_size": 4, "optimizer": "sgd", "learning_rate": 0.15, "momentum": 0.99, "patience": 16, "clip_norm": 2,
        "loss": "poisson",
    },
    "model": {
        "seq_length": 131_072,
        "activation": "gelu",
        "norm_type": "batch",
        "bn_momentum": 0.9,
        "trunk": _BASENJI2_TRUNK,
        "head_human": {"name": "final", "units": HUMAN_TRACKS, "activation": "softplus"},
        "head_mouse": {"name": "final", "units": MOUSE_TRACKS, "activation": "softplus"},
    },
}  # fmt: skip

BASSET: dict[str, Any] = {
    "train": {
        "batch_size": 64, "shuffle_buffer": 8192, "optimizer": "sgd", "learning_rate": 0.005, "momentum": 0.98,
        "loss": "bce", "patience": 12, "train_epochs_min": 10,
    },
    "model": {
        "seq_length": 1344,
        "augment_rc": True,
        "augment_shift": 3,
        "activation": "gelu",
        "norm_type": "batch",
        "bn_momentum": 0.9,
        "trunk": [
            {"name": "conv_dna", "filters": 288, "kernel_size": 17, "pool_size": 3},
            {
                "name": "conv_tower", "filters_init": 288, "filters_end": 512, "divisible_by": 16, "kernel_size": 5,
                "pool_size": 2, "repeat": 6,
            },
            {"name": "conv_block", "filters": 256, "kernel_size": 1},
            {"name": "dense_block", "flatten": True, "units": 768, "dropout": 0.2},
        ],
        "head": {"name": "final", "units": 164, "activation": "sigmoid"},
    },
}  # fmt: skip

AKITA: dict[str, Any] = {
    "train": {
        "batch_size": 2, "optimizer": "sgd", "learning_rate": 0.0065, "momentum": 0.99575, "loss": "mse",
        "patience": 12, "clip_norm": 10,
    },
    "model": {
        "seq_length": 1_048_576,
        "augment_rc": True,
        "augment_shift": 11,
        "activation": "relu",
        "norm_type": "batch",
        "bn_momentum": 0.9265,
        "trunk": [
            {"name": "conv_block", "filters": 96, "kernel_size": 11, "pool_size": 2},
            {
                "name": "conv_tower", "filters_init": 96, "filters_mult": 1.0, "kernel_size": 5, "pool_size": 2,
                "repeat": 10,
            },
            {"name": "dilated_residual", "filters": 48, "rate_mult": 1.75, "repeat": 8, "dropout": 0.4},
            {"name": "conv_block", "filters": 64, "kernel_size": 5},
        ],
        "head_hic": [
            {"name": "one_to_two", "operation": "mean"},
            {"name": "concat_dist_2d"},
            {"name": "conv_block_2d", "filters": 48, "kernel_size": 3},
            {"name": "symmetrize_2d"},
            {
                "name": "dilated_residual_2d", "filters": 24, "kernel_size": 3, "rate_mult": 1.75, "repeat": 6,
                "dropout": 0.1,
            },
            {"name": "cropping_2d", "cropping": 32},
            {"name": "upper_tri", "diagonal_offset": 2},
            {"name": "final", "units": 5, "activation": "linear"},
        ],
    },
}  # fmt: skip

PRESETS = {"basenji2": BASENJI2, "basset": BASSET, "akita": AKITA}
