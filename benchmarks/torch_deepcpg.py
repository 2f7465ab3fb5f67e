"""DeepCpG in PyTorch with our weights, for comparison: MultiMolecule's DNA model, and a joint network of our own.

MultiMolecule (AGPL) is only imported, if it is installed; it has no CpG and no joint network, so these are written here
from their formulas (`TorchJoint`). Without the package the DNA network is written here too, and `package` says so.
"""

import importlib.metadata
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx
from torch.nn import functional

from jaxepi.systems.deepcpg.model import DeepCpG


def tensor(array: Any) -> torch.Tensor:
    """A copy in torch."""
    return torch.from_numpy(np.array(jax.device_get(array), np.float32))


class Convolutional(torch.nn.Module):
    """CnnL2h128 without heads: base codes (B, L), N as zeros -> (B, 128)."""

    def __init__(self, network: nnx.Module):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        for layer in network.convs:
            width, channels_in, channels_out = layer.kernel.shape
            self.convs.append(torch.nn.Conv1d(channels_in, channels_out, width))
            self.convs[-1].weight.data = tensor(layer.kernel[...]).permute(2, 1, 0).contiguous()
            self.convs[-1].bias.data = tensor(layer.bias[...])
        self.pools = [block.pool for block in network.sizes.blocks]
        self.dense = linear(network.dense)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, L) int64 -> (B, F)."""
        x = functional.one_hot(codes, 5)[..., :4].float().transpose(1, 2)
        for layer, pool in zip(self.convs, self.pools, strict=True):
            x = functional.max_pool1d(functional.relu(layer(x)), pool)
        return functional.relu(self.dense(x.transpose(1, 2).flatten(1)))


def linear(layer: nnx.Module) -> torch.nn.Linear:
    """A dense layer with our weights."""
    made = torch.nn.Linear(*layer.kernel.shape)
    made.weight.data, made.bias.data = tensor(layer.kernel[...]).T.contiguous(), tensor(layer.bias[...])
    return made


class Gru(torch.nn.Module):
    """Keras 2's GRU, which torch's own is not: hard sigmoids, the reset gate before the product, one bias."""

    def __init__(self, direction: nnx.Module):
        super().__init__()
        for name in ("kernel", "recurrent_kernel", "bias"):
            setattr(self, name, torch.nn.Parameter(tensor(getattr(direction, name)[...])))
        self.units = self.recurrent_kernel.shape[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> last state (B, U)."""
        gates, units = x @ self.kernel + self.bias, self.units
        state = x.new_zeros(x.shape[0], units)
        for t in range(x.shape[1]):
            both = gates[:, t, : 2 * units] + state @ self.recurrent_kernel[:, : 2 * units]
            update, reset = torch.clamp(0.2 * both + 0.5, 0, 1).chunk(2, dim=1)
            candidate = torch.tanh(gates[:, t, 2 * units :] + (reset * state) @ self.recurrent_kernel[:, 2 * units :])
            state = update * state + (1 - update) * candidate
        return state


class TorchJoint(torch.nn.Module):
    """JointL2h512_CnnL2h128_RnnL1 with heads."""

    def __init__(self, model: DeepCpG):
        super().__init__()
        self.dna, self.cells = Convolutional(model.dna), linear(model.cpg.dense)
        gru = model.cpg.grus[0]
        self.onward, self.back = Gru(gru.forward), Gru(gru.backward)
        self.joint = torch.nn.ModuleList([linear(layer) for layer in model.joint.denses])
        self.heads = linear(model.heads)

    def forward(self, codes: torch.Tensor, state: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        """(B, L), (B, N, W), (B, N, W) -> logits (B, K)."""
        x = functional.relu(self.cells(torch.cat([state, distance], dim=2)))
        x = torch.cat([self.dna(codes), self.onward(x), self.back(x.flip(1))], dim=1)
        for layer in self.joint:
            x = functional.relu(layer(x))
        return self.heads(x)


class TorchDna(torch.nn.Module):
    """CnnL2h128 with heads."""

    def __init__(self, model: DeepCpG):
        super().__init__()
        self.dna, self.heads = Convolutional(model.dna), linear(model.heads)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, L) -> logits (B, K)."""
        return self.heads(self.dna(codes))


class Package(torch.nn.Module):
    """MultiMolecule's model of CnnL2h128 with our weights. Raises ImportError if the package is not installed."""

    def __init__(self, model: DeepCpG):
        from multimolecule import DeepCpgDnaConfig, DeepCpgDnaForSequencePrediction

        super().__init__()
        size = model.heads.kernel.shape[1]
        config = DeepCpgDnaConfig(sequence_length=model.config.window, num_labels=size)
        self.model = DeepCpgDnaForSequencePrediction(config)
        own, state = TorchDna(model).state_dict(), {}
        for i in range(2):
            kernel = own[f"dna.convs.{i}.weight"]
            # the fifth channel is N, which the package masks
            kernel = functional.pad(kernel, (0, 0, 0, 1)) if i == 0 else kernel
            state[f"model.encoder.layers.{i}.conv.weight"] = kernel
            state[f"model.encoder.layers.{i}.conv.bias"] = own[f"dna.convs.{i}.bias"]
        names = {"model.encoder.bottleneck.dense": "dna.dense", "sequence_head.decoder": "heads"}
        state |= {f"{a}.{end}": own[f"{b}.{end}"] for a, b in names.items() for end in ("weight", "bias")}
        self.model.load_state_dict(state)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, L) -> logits (B, K)."""
        return self.model(input_ids=codes).logits


def port(model: DeepCpG) -> tuple[torch.nn.Module, str]:
    """The model to compare with, and what it is."""
    if model.joint is not None:
        return TorchJoint(model), "own PyTorch of the joint network"
    try:
        return Package(model), f"multimolecule {importlib.metadata.version('multimolecule')}"
    except ImportError:
        return TorchDna(model), "own PyTorch of the DNA network"


class Program:
    """Training steps or predictions in PyTorch on one batch; a call returns when it is done."""

    def __init__(self, model: DeepCpG, batch: dict[str, np.ndarray], inputs: dict[str, Any], train: bool):
        """Args:
        model: ours, with the weights to start from.
        batch: collated, with `sequence`, `label` (NaN = missing).
        inputs: prepared, with `state` and `distance` for the joint network.
        train: Adam steps, not predictions.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.name = port(model)
        self.model.to(self.device)
        arrays = [torch.from_numpy(batch["sequence"].astype(np.int64))]
        arrays += [tensor(inputs[name]) for name in ("state", "distance") if name in inputs]
        self.inputs = [array.to(self.device) for array in arrays]
        label = torch.from_numpy(np.nan_to_num(batch["label"]))
        self.label, self.mask = label.to(self.device), torch.from_numpy(~np.isnan(batch["label"])).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-4, eps=1e-8) if train else None
        self.loss, self.logits = float("nan"), None

    def __call__(self) -> None:
        """One step."""
        if self.optimizer is None:
            with torch.inference_mode():
                self.logits = self.model(*self.inputs)
        else:
            self.optimizer.zero_grad(set_to_none=True)
            each = functional.binary_cross_entropy_with_logits(self.model(*self.inputs), self.label, reduction="none")
            loss = (each * self.mask).sum() / self.mask.sum()
            loss.backward()
            self.optimizer.step()
            self.loss = loss.item()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
