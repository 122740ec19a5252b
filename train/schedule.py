"""How fast a network learns at each step, and when it stops: what Keras' schedules and callbacks do, as functions.

They depend on the epochs so far alone, so that a run that goes on needs nothing but its history.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from .recipe import Recipe

_LEAST = 1e-4
"""By how much a loss must fall to count as better (ReduceLROnPlateau's default)."""

History = Sequence[Mapping[str, float]]
"""The figures of each epoch that is done, such as val_loss."""


def learning_rate(recipe: Recipe, steps: int, done: int, history: History) -> float:
    """The rate after `done` steps, of which there are `steps` an epoch: CosineDecay's, or ReduceLROnPlateau's."""
    if recipe.schedule == "plateau":
        losses = (row["val_loss"] for row in history)
        return recipe.learning_rate * recipe.plateau_factor ** _standstills(losses, recipe.plateau_patience)
    warmup = round(recipe.warmup_epochs * steps)
    if done < warmup:
        return recipe.learning_rate * done / warmup
    part = (done - warmup) / max(recipe.epochs * steps - warmup, 1)
    return recipe.learning_rate * (1 + math.cos(math.pi * min(part, 1.0))) / 2


def has_stopped(recipe: Recipe, history: History) -> bool:
    """Whether there were as many epochs without a better one as the recipe allows: EarlyStopping."""
    if not recipe.early_stopping:
        return False
    key = "val_loss" if recipe.monitor == "last" else recipe.monitor
    sign = 1 if key == "val_loss" else -1
    return _standstills((sign * row[key] for row in history), recipe.early_stopping, least=0) > 0


def _standstills(losses: Iterable[float], patience: int, least: float = _LEAST) -> int:
    """How often `patience` losses in a row weren't lower than the lowest before them."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        waited += 1
        if loss < best - least:
            best, waited = loss, 0
        elif waited >= patience:
            waited, count = 0, count + 1
    return count
