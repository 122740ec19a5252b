"""One step of learning with PyTorch: the network's, its optimizer's and its moving average's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional

from .recipe import Recipe
from .torch_muon import TorchMuon, adamw
from .torch_network import TorchNetwork

_EAGER = 5
"""Steps before one is recorded: libraries choose their algorithms and optimizers make their states in them."""


class Learner:
    """A network that learns from one batch after another.

    On a GPU the step of a small network is done sooner than Python has asked for its hundreds of operators. There it is
    recorded as a CUDA graph and then asked for as one. Source: https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/
    """

    def __init__(self, network: TorchNetwork, average: TorchNetwork, recipe: Recipe, autocast: torch.autocast) -> None:
        """Both networks are where they stay; `average` is the moving average of `network`'s weights and statistics."""
        self.network, self.average = network, average
        self._recipe, self._autocast = recipe, autocast
        self._device = next(network.parameters()).device
        self._optimizer = (
            TorchMuon(network, recipe) if recipe.optimizer == "muon" else adamw(network.parameters(), recipe)
        )
        self._pairs = _pairs(average, network)
        # What differs from step to step is in tensors of their own, as a graph repeats numbers as they were.
        self._rate, self._share, self._loss, self._hits = torch.zeros(4, device=self._device).unbind()
        self._batch: tuple[torch.Tensor, torch.Tensor] | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._done = 0
        self._set_options()

    def start_epoch(self) -> None:
        """Forgets the figures of the epoch before."""
        self.network.train()
        self._loss.zero_()
        self._hits.zero_()

    def figures(self, steps: int) -> dict[str, float]:
        """Accuracy and loss of the epoch's `steps`, on the faces as they were augmented."""
        return {"accuracy": float(self._hits) / steps, "loss": float(self._loss) / steps}

    def learn(self, faces: torch.Tensor, targets: torch.Tensor, rate: float, momentum: float) -> None:
        """One step, from faces float32 [N, channels, height, width] and targets float32 [N, classes].

        `rate` is the optimizer's, `momentum` the moving average's. N is the same in all steps.
        """
        self._rate.fill_(rate)
        self._share.fill_(1 - momentum)
        if self._device.type == "cuda" and self._done >= _EAGER:
            self._replay(faces, targets)
        else:
            with _side_stream() if self._device.type == "cuda" else nullcontext():
                self._step(faces, targets)
        self._done += 1

    def _replay(self, faces: torch.Tensor, targets: torch.Tensor) -> None:
        if self._batch is None:
            self._batch = faces.clone(), targets.clone()
            self._graph = torch.cuda.CUDAGraph()
            # "thread_local": batches are made in another thread meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._step(*self._batch)
        assert self._graph is not None
        for place, tensor in zip(self._batch, (faces, targets), strict=True):
            place.copy_(tensor)
        self._graph.replay()

    def _step(self, faces: torch.Tensor, targets: torch.Tensor) -> None:
        with self._autocast:
            logits = self.network(faces)
        loss = functional.cross_entropy(logits, targets)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        if self._recipe.mirror:
            self.network.mirror()
        own, other = self._pairs
        with torch.no_grad():
            apart = torch._foreach_sub(other, own)
            torch._foreach_mul_(apart, self._share)
            torch._foreach_add_(own, apart)
            self._loss += loss
            self._hits += (logits.argmax(1) == targets.argmax(1)).float().mean()

    def state_dict(self) -> dict[str, Any]:
        """What learning goes on from."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """What `state_dict` gave, before the first step."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._set_options()

    def _set_options(self) -> None:
        """What an optimizer's state brings along of the run, or the machine, that it is of."""
        for group in self._optimizer.param_groups:
            group.update(lr=self._rate, capturable=self._device.type == "cuda")


@contextmanager
def _side_stream() -> Iterator[None]:
    """Within it operators are in a stream of their own, as a recording wants of those before it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)


def _pairs(average: TorchNetwork, network: TorchNetwork) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The weights and statistics of both, side by side."""
    own, other = average.state_dict(), network.state_dict()
    names = [name for name, tensor in own.items() if tensor.is_floating_point()]
    return [own[name] for name in names], [other[name] for name in names]
