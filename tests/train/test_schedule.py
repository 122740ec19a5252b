"""The schedules against Keras' own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mien.train.recipe import Recipe
from mien.train.schedule import has_stopped, learning_rate

LOSSES = [1.0, 0.9, 0.9, 0.91, 0.89995, 0.8, 0.85, 0.8, 0.79999, 0.81, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75, 0.76]


def rows(losses: list[float]) -> list[dict[str, float]]:
    return [{"val_loss": loss, "val_accuracy": 1 - loss} for loss in losses]


class Run:
    """What Keras' callbacks need of a model."""

    def __init__(self, rate: float) -> None:
        self.optimizer = keras.optimizers.SGD(rate)
        self.stop_training = False

    def get_weights(self) -> list[np.ndarray]:
        return []


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_plateau_is_what_keras_does(patience: int) -> None:
    recipe = Recipe(learning_rate=0.5, plateau_factor=0.2, plateau_patience=patience)
    run = Run(0.5)
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", 0.2, patience)
    callback.set_model(run)
    callback.on_train_begin()
    for epoch, row in enumerate(rows(LOSSES)):
        wanted = float(run.optimizer.learning_rate)
        assert learning_rate(recipe, 10, 10 * epoch, rows(LOSSES[:epoch])) == pytest.approx(wanted, rel=1e-5)
        callback.on_epoch_end(epoch, {"learning_rate": wanted, **row})
    assert float(run.optimizer.learning_rate) < 0.5


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "last"])
@pytest.mark.parametrize("patience", [1, 2, 3, 20])
def test_it_stops_where_keras_does(patience: int, monitor: str) -> None:
    recipe = Recipe(early_stopping=patience, monitor=monitor)
    run = Run(0.5)
    key = "val_loss" if monitor == "last" else monitor
    callback = keras.callbacks.EarlyStopping(key, patience=patience, mode="min" if key == "val_loss" else "max")
    callback.set_model(run)
    callback.on_train_begin()
    for epoch, row in enumerate(rows(LOSSES)):
        callback.on_epoch_end(epoch, row)
        assert has_stopped(recipe, rows(LOSSES[: epoch + 1])) == run.stop_training
        if run.stop_training:
            break
    assert run.stop_training == (patience < 20)
    assert not has_stopped(Recipe(early_stopping=0), rows(LOSSES))


def test_cosine_is_what_keras_does() -> None:
    recipe = Recipe(schedule="cosine", warmup_epochs=1.5, epochs=6, learning_rate=0.5)
    keras_own = keras.optimizers.schedules.CosineDecay(0.0, 6 * 8 - 12, warmup_target=0.5, warmup_steps=12)
    for step in range(50):
        assert learning_rate(recipe, 8, step, []) == pytest.approx(float(keras_own(step)), abs=1e-6)
