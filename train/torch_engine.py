"""Training with PyTorch: for machines whose GPU only PyTorch knows, and for processors, where it is the faster one.

It learns what the engine tensorflow learns, from the same recipe; order and augmentation are drawn differently.
"""

from __future__ import annotations

import os
import queue
import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch

from mien.edge.classifier import Classifier
from mien.edge.dataset import FaceSet
from mien.edge.errors import ConfigError
from mien.edge.preprocess import scale_pixels

from .augment import Mix, RandomCamera
from .distill import beside_softened, columns, load_teacher, read_faces
from .engine import Job, has_bfloat16
from .mirror import mirror
from .model import build
from .recipe import Recipe
from .run import RunFolder
from .schedule import History, has_stopped, learning_rate
from .torch_augment import TorchAugment
from .torch_network import TorchNetwork
from .torch_step import Learner

EVALUATION_BATCH = 256
_AHEAD = 3
"""Batches that are made ahead of the one that is learned from."""
_TOGETHER = 8
"""Batches that are made at once on a GPU, which makes as many in the time of one."""
_PAUSE = 15.0
"""Seconds of training on a GPU between two states that are kept: to keep one takes as long as a short epoch."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Faces float32 [N, channels, height, width] and targets float32 [N, classes]."""


class TorchEngine:
    """One process, on the GPU if PyTorch knows one. The same seed on the same machine gives nearly the same run."""

    name = "torch"
    is_first = True
    alone = True

    def __init__(self) -> None:
        """Raises ConfigError unless Keras computes with PyTorch too, which does the augmentation."""
        if keras.backend.backend() != "torch":
            raise ConfigError("the engine torch needs Keras on PyTorch: set KERAS_BACKEND=torch")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def precision(self, wanted: str) -> str:
        """What a recipe's precision is on this machine: one of PRECISIONS but "auto"."""
        if wanted != "auto":
            return wanted
        if self._device.type == "cuda":
            return "mixed_bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
        return "mixed_bfloat16" if has_bfloat16() else "float32"

    def describe(self) -> dict[str, Any]:
        """What a run depends on beside the recipe, for config.json."""
        return {"strategy": {"name": self._device.type, "workers": 1}}

    def seed(self, seed: int) -> None:
        """Makes what is drawn from now on follow from `seed`."""
        # What keras.utils.set_random_seed does, but for TensorFlow, which it would load if it is installed.
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - Keras draws from it
        torch.manual_seed(seed)

    def train(self, job: Job, folder: RunFolder, verbose: int) -> None:
        """Trains the epochs that `folder` lacks, and keeps each in it."""
        recipe = job.recipe
        if self._device.type == "cpu":
            torch.set_num_threads(os.cpu_count() or 1)
        else:
            torch.backends.cudnn.benchmark = True
            folder.pause = 0.0 if recipe.early_stopping else _PAUSE
        folder.kind = "pt"
        keras.config.set_dtype_policy("float32")
        model = build(recipe.arch, job.shape, len(job.classes))
        if recipe.mirror:
            mirror(model)
        network, average = (TorchNetwork(model).to(self._device, memory_format=torch.channels_last) for _ in range(2))
        learner = Learner(network, average, recipe, self._autocast(recipe))
        if folder.epochs:
            learner.load_state_dict(torch.load(folder.state(), map_location=self._device))
        feed = _Feed(job, self._device, self._autocast(recipe))
        for epoch in range(folder.epochs, recipe.epochs):
            if has_stopped(recipe, folder.history):
                break
            began = time.monotonic()
            torch.manual_seed(_seed(job.seed, epoch, 1))
            row = {"epoch": epoch + 1, **self._epoch(job, learner, feed, folder.history, verbose)}
            scores = predict(average, job.validation, job, self._device, self._autocast(recipe))
            row |= _figures(scores, job.validation.labels)
            row["learning_rate"] = learning_rate(recipe, job.steps, (epoch + 1) * job.steps - 1, folder.history)
            row["seconds"] = round(time.monotonic() - began, 2)

            def save_best(path: Path) -> None:
                average.save(model)
                model.save_weights(path)

            is_last = epoch + 1 == recipe.epochs
            folder.keep(row, recipe.monitor, partial(torch.save, learner.state_dict()), save_best, is_last=is_last)
            if verbose:
                figures = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
                print(f"\repoch {epoch + 1} of {recipe.epochs}: {figures}", flush=True)

    def _autocast(self, recipe: Recipe) -> torch.autocast:
        types = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}
        chosen = types.get(recipe.precision)
        return torch.autocast(self._device.type, chosen or torch.bfloat16, enabled=chosen is not None)

    def _epoch(self, job: Job, learner: Learner, feed: _Feed, history: History, verbose: int) -> dict[str, float]:
        """One pass over the faces; accuracy and loss on the faces as they were augmented."""
        epoch = len(history)
        learner.start_epoch()
        for step, (faces, targets) in enumerate(feed.epoch(epoch)):
            done = epoch * job.steps + step
            # At first the average would be of untrained weights: it begins short and grows to its length.
            momentum = min(job.recipe.ema, (1 + done) / (10 + done))
            learner.learn(faces, targets, learning_rate(job.recipe, job.steps, done, history), momentum)
            if verbose == 1:
                print(f"\repoch {epoch + 1}: {step + 1} of {job.steps} steps", end="", flush=True)
        return learner.figures(job.steps)


class _Feed:
    """Shuffled, augmented batches with their targets."""

    def __init__(self, job: Job, device: torch.device, autocast: torch.autocast) -> None:
        self._job, self._device, self._autocast = job, device, autocast
        how = job.recipe.augmentation
        self._augment, self._mix, self._camera = TorchAugment(how), Mix(how), RandomCamera(how, job.seed)
        keras.config.set_dtype_policy("float32")
        self._teachers: list[tuple[TorchNetwork | Classifier, list[int]]] = []
        for path in job.teachers:
            teacher, classes = load_teacher(path, job.spec)
            if not isinstance(teacher, Classifier):
                teacher = TorchNetwork(teacher).to(device, memory_format=torch.channels_last).eval()
            self._teachers.append((teacher, columns(classes, job.classes)))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, the same whenever it is asked for."""
        batches = self._batches(epoch)
        # A GPU is given a batch's operators while it still learns from those before: two threads would only wait for
        # one another to give it theirs. Bundles are read by the processor.
        on_processor = self._device.type == "cpu" or any(isinstance(each, Classifier) for each, _ in self._teachers)
        return _made_ahead(batches) if on_processor else batches

    def _batches(self, epoch: int) -> Iterator[Batch]:
        job, size = self._job, self._job.recipe.batch_size
        rng = np.random.default_rng(_seed(job.seed, epoch, 0))
        order = rng.permutation(len(job.faces))[: job.steps * size]
        several = size * (_TOGETHER if self._device.type == "cuda" else 1)
        for start in range(0, len(order), several):
            with torch.no_grad():
                faces, targets = self._made(order[start : start + several], rng, epoch < job.recipe.mixed_epochs)
            yield from zip(faces.split(size), targets.split(size), strict=True)

    def _made(self, rows: np.ndarray, rng: np.random.Generator, mixed: bool) -> Batch:
        draws = torch.from_numpy(rng.random((len(rows), TorchAugment.DRAWS + Mix.DRAWS), dtype=np.float32))
        draws = draws.to(self._device)
        pixels = torch.from_numpy(self._job.faces.take(rows)).to(self._device).float()[..., None]
        targets = torch.from_numpy(self._job.targets[rows]).to(self._device)
        pixels = self._augment(pixels, draws[:, Mix.DRAWS :])
        if self._teachers and (blur := self._job.recipe.distillation.blur):
            pixels = beside_softened(pixels, self._augment.are_still(draws[:, Mix.DRAWS :]), blur)
        if mixed:
            pixels, targets = self._mix(pixels, targets, draws[:, : Mix.DRAWS])
        if self._teachers:
            targets = targets + (1 - targets.sum(1, keepdim=True)) * self._readings(pixels[..., -1:], rng)
        pixels = pixels[..., :1]
        if self._camera.used:
            draws = torch.from_numpy(rng.random((len(rows), RandomCamera.DRAWS), dtype=np.float32)).to(self._device)
            pixels = self._camera(pixels, draws)
        return self._scaled(pixels), targets

    def _readings(self, pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """float32 [N, classes]: each face as one of the teachers reads it.

        On average the gradient is that of the mean of all, at the cost of one.
        """
        readings = torch.empty((len(pixels), len(self._job.classes)), device=self._device)
        parts = np.array_split(rng.permutation(len(pixels)), len(self._teachers))
        for (teacher, chosen), part in zip(self._teachers, parts, strict=True):
            rows = torch.from_numpy(part).to(self._device)
            reading = self._read(teacher, pixels[rows])[:, chosen]
            readings[rows] = reading / reading.sum(1, keepdim=True)
        return readings

    def _read(self, teacher: TorchNetwork | Classifier, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [N, the teacher's classes]: its probabilities."""
        if isinstance(teacher, Classifier):
            return torch.from_numpy(read_faces(teacher, pixels.cpu().numpy())).to(self._device)
        with self._autocast:
            logits = teacher(self._scaled(pixels))
        return logits.softmax(1)

    def _scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        return _channels_first(scale_pixels(pixels, self._job.spec.scale, self._job.spec.offset))


def _made_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, made in a thread while the network learns from those before."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
    wanted = threading.Event()
    wanted.set()

    def make() -> None:
        # Each thread has a number of its own. Two teams of threads on the same cores would wait for one another;
        # one thread that makes batches takes from the network's cores only what it needs.
        torch.set_num_threads(1)
        try:
            for batch in batches:
                if not wanted.is_set():
                    return
                ready.put(batch)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    threading.Thread(target=make, name="batches", daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        wanted.clear()
        while not ready.empty():
            ready.get_nowait()


def predict(
    network: TorchNetwork, faces: FaceSet, job: Job, device: torch.device, autocast: torch.autocast
) -> np.ndarray:
    """float32 [N, classes]: the probabilities of all faces."""
    network.eval()
    scores = []
    for start in range(0, len(faces), EVALUATION_BATCH):
        rows = np.arange(start, min(start + EVALUATION_BATCH, len(faces)))
        pixels = torch.from_numpy(faces.take(rows)).to(device).float()[..., None]
        with autocast, torch.no_grad():
            logits = network(_channels_first(scale_pixels(pixels, job.spec.scale, job.spec.offset)))
        scores.append(logits.softmax(1).cpu().numpy())
    return np.concatenate(scores)


def _channels_first(faces: torch.Tensor) -> torch.Tensor:
    return faces.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    likely = np.clip(scores[np.arange(len(labels)), labels], 1e-7, 1)
    return {"val_accuracy": float((scores.argmax(1) == labels).mean()), "val_loss": float(-np.log(likely).mean())}


def _seed(seed: int, epoch: int, purpose: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, purpose)).generate_state(1)[0])
