"""One training run's folder: what is kept after every epoch, so that a run can go on where it stopped."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from mien.edge.errors import ConfigError
from mien.edge.files import replacing, write_text

# What Keras's callbacks keep between epochs and forget when training begins anew.
_MEMORY = {
    keras.callbacks.EarlyStopping: ("best", "best_epoch", "wait"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
}


class RunFolder:
    """Reads and writes a run's folder; `writes` is False for all workers of a distributed run but the first."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self.kind = "keras"
        """Ending of the file that training goes on from: the engine's own form."""
        self._state = path / "state"
        self.history: list[dict[str, float]] = []
        self.best_epoch = -1
        self.memory: dict[str, dict[str, Any]] = {}
        self.pause = 0.0
        """Seconds between two states that are kept where the last epoch is the one that counts; a cut costs them."""
        self._kept_at = -math.inf
        self._seeds: list[list[int]] = []

    def start(self, config: dict[str, Any], resume: bool) -> None:
        """Makes the folder, or takes up the run in it. Raises ConfigError if it holds the wrong thing."""
        file = self.path / "config.json"
        if not resume:
            if not self.writes:
                return
            if file.exists():
                raise ConfigError(f"{self.path} already holds a run: add --resume to go on, or choose another --out")
            self._state.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(config, indent=1) + "\n")
            return
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{self.path} holds no run to resume: leave out --resume") from error
        for key in ("recipe", "classes", "input", "seed", "engine", "fingerprint"):
            old, new = (c["data"][key] if key == "fingerprint" else c.get(key, "tensorflow") for c in (before, config))
            if key == "recipe":  # a run may be made longer, and go on on another machine
                old, new = ({k: v for k, v in r.items() if k not in ("epochs", "precision")} for r in (old, new))
            if old != new:
                raise ConfigError(f"{self.path} was begun with another {key} ({old} in place of {new}): use the same")
        progress = self._state / "progress.json"
        if progress.exists():
            state = json.loads(progress.read_text(encoding="utf-8"))
            self.history, self.best_epoch = state["history"], state["best_epoch"]
            self.memory, self._seeds = state["memory"], state["seeds"]

    @property
    def epochs(self) -> int:
        """Number of epochs that are done and kept."""
        return len(self.history)

    def restore(self, model: keras.Model) -> None:
        """Puts a new, compiled model into the state after the last epoch that is done, its optimizer included.

        The saved model itself won't do: Keras doesn't save which weights an optimizer leaves undecayed,
        nor the state of dropout's random numbers.
        """
        saved = keras.models.load_model(self.state())
        model.set_weights(saved.get_weights())
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
            variable.assign(keras.ops.convert_to_numpy(value))
        for generator, state in zip(_seed_generators(model), self._seeds, strict=True):
            generator.state.assign(state)

    def state(self) -> Path:
        """What training goes on from after the last epoch that is done."""
        return self._state / f"epoch-{self.epochs:04}.{self.kind}"

    def best_weights(self) -> Path:
        """The weights after the best epoch so far."""
        return self._state / f"best-{self.best_epoch:04}.weights.h5"

    def keep(
        self,
        row: dict[str, float],
        monitor: str,
        save_state: Callable[[Path], None],
        save_best: Callable[[Path], None],
        *,
        is_last: bool = False,
        **progress: Any,
    ) -> None:
        """Keeps an epoch whose figures are `row`, and its weights as the best so far if `monitor` says so.

        `save_state` writes what training goes on from, `save_best` the weights; `progress` is kept with the history.
        progress.json is renamed last: a cut before it leaves the epoch before as it was. After the run's last epoch
        (`is_last`) there is no pause.
        """
        sign = -1 if monitor == "val_loss" else 1
        best = monitor == "last" or all(sign * row[monitor] > sign * earlier[monitor] for earlier in self.history)
        self.history.append(row)
        if best:
            self.best_epoch = self.epochs
        waits = monitor == "last" and not is_last and time.monotonic() < self._kept_at + self.pause
        if not self.writes or waits:
            return
        with replacing(self.state()) as partial:
            save_state(partial)
        if best:
            with replacing(self.best_weights()) as partial:
                save_best(partial)
        state = {"history": self.history, "best_epoch": self.best_epoch, "memory": {}, "seeds": [], **progress}
        write_text(self._state / "progress.json", json.dumps(state, indent=1))
        write_text(self.path / "history.csv", _csv(self.history))
        for file in [*self._state.glob("epoch-*"), *self._state.glob("best-*.weights.h5")]:
            if file not in (self.state(), self.best_weights()):
                file.unlink()
        self._kept_at = time.monotonic()


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within it the model has its weights' moving average, where its optimizer keeps one."""
    weights = model.get_weights()
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        model.set_weights(weights)


class KeepEpochs(keras.callbacks.Callback):
    """Keeps every epoch in the run's folder; must come after the callbacks whose memory it keeps."""

    def __init__(self, folder: RunFolder, monitor: str, others: list[keras.callbacks.Callback]) -> None:
        super().__init__()
        self._folder, self._monitor, self._others = folder, monitor, others

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        for callback in self._others:
            for name, value in self._folder.memory.get(type(callback).__name__, {}).items():
                setattr(callback, name, value)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, **{key: float(value) for key, value in (logs or {}).items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        row["seconds"] = round(time.monotonic() - self._began, 2)
        memory = {
            type(callback).__name__: {name: getattr(callback, name) for name in _MEMORY[type(callback)]}
            for callback in self._others
        }
        seeds = [generator.state.numpy().tolist() for generator in _seed_generators(self.model)]
        self._folder.keep(row, self._monitor, self.model.save, self._save_best, memory=memory, seeds=seeds)

    def _save_best(self, path: Path) -> None:
        with averaged_weights(self.model):
            self.model.save_weights(path)


def _seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    """The random numbers of layers such as dropout, in the layers' order."""
    return [layer.seed_generator for layer in model.layers if hasattr(layer, "seed_generator")]


def _csv(rows: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
