"""PyTorch's optimizers, for a network's convolutions and the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from mien.edge.errors import ConfigError

from .recipe import Recipe
from .torch_network import TorchNetwork


class TorchMuon:
    """Muon for convolutions' kernels and AdamW for the rest, as one optimizer; see `train.muon`.

    PyTorch's own Muon takes matrices and a number as the rate: it gets each kernel [out, in, height, width] as a matrix
    of `out` rows, which is 0 and becomes a step of rate 1. How far the kernel goes is a matter of a product then, in
    which the rate may be a tensor.
    """

    def __init__(self, network: TorchNetwork, recipe: Recipe) -> None:
        """`network` is where it will be trained. Raises ConfigError if PyTorch is too old."""
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError(f"optimizer = 'muon' needs PyTorch 2.9 or newer, this is {torch.__version__}")
        mirrors = {id(tensor): projection for tensor, projection in network.projections()} if recipe.mirror else {}
        # A depthwise kernel's pictures don't mix: it is no matrix.
        kernels = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
        rest = {id(weight): weight for weight in network.parameters()}
        for kernel in kernels:
            del rest[id(kernel)]
        self._kernels = [(k, mirrors.get(id(k)), nn.Parameter(torch.zeros_like(_matrix(k.data)))) for k in kernels]
        self._muon = torch.optim.Muon(
            [matrix for *_, matrix in self._kernels], lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        )
        self._weight_decay = recipe.weight_decay
        self._adamw = adamw(rest.values(), recipe)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """AdamW's, whose rate is Muon's too."""
        groups: list[dict[str, Any]] = self._adamw.param_groups
        return groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients."""
        self._adamw.zero_grad(set_to_none)
        for kernel, _, matrix in self._kernels:
            kernel.grad = matrix.grad = None

    def step(self) -> None:
        """A step of all weights."""
        for kernel, mirror, matrix in self._kernels:
            assert kernel.grad is not None
            # A mirrored kernel's step has to be mirrored before it is made orthogonal: later it would no longer be.
            matrix.grad = _matrix(mirror(kernel.grad) if mirror else kernel.grad, copy=True)
        rate = self.param_groups[0]["lr"]
        with torch.no_grad():
            steps = [matrix.zero_() for *_, matrix in self._kernels]
            self._muon.step()
            kernels = [_matrix(kernel) for kernel, *_ in self._kernels]
            torch._foreach_mul_(kernels, 1 - rate * self._weight_decay)
            torch._foreach_mul_(steps, rate)
            torch._foreach_add_(kernels, steps)
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Those of both."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


def adamw(weights: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay of kernels only; on a GPU its steps can be recorded."""
    every = list(weights)
    groups = [
        {"params": [weight for weight in every if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in every if weight.ndim == 1], "weight_decay": 0.0},
    ]
    on_gpu = every[0].is_cuda
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=1e-7, fused=True, capturable=on_gpu)  # Keras' epsilon


def _matrix(kernel: torch.Tensor, copy: bool = False) -> torch.Tensor:
    """[out, in · height · width] of [out, in, height, width]: the same memory, which a copy needn't be."""
    rows = kernel.permute(0, 2, 3, 1)
    return rows.reshape(len(kernel), -1) if copy else rows.view(len(kernel), -1)
