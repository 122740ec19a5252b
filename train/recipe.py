"""A recipe: every setting of a training run, read from TOML, each key checked."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mien.edge.bundle import Crop
from mien.edge.errors import ConfigError

from .augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "base"
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("plateau", "cosine")
OPTIMIZERS = ("adam", "muon")


@dataclass(frozen=True)
class Distillation:
    """Networks that are trained first, and whose mean reading of every augmented face the network learns from.

    Where labels are noisy, as FER2013's are, the mean also says of which faces the label is in doubt.
    """

    teachers: tuple[str, ...] = ()
    """A recipe for each, a bundled one's name or a file; none is off."""
    weight: float = 0.7
    """Their share of what the network learns; the rest is the label's."""
    classes: str = ""
    """The classes that they learn, such as "seven"; the network's own by default.

    Faces of classes that the network itself doesn't know still show it what faces look like: it learns the teachers'
    reading of them."""
    blur: float = 0.0
    """Of a Gaussian, its standard deviation in pixels: faces that aren't moved (`Augmentation.still`) are blurred by it
    for the teachers' eyes alone; 0 is off. For teachers that saw moved faces only, which moving blurs."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the reference system's."""

    arch: str = "reference"
    """One of train.model.ARCHITECTURES."""
    epochs: int = 25
    """At most."""
    batch_size: int = 32
    """Images a step, over all devices and machines together."""
    optimizer: str = "adam"
    """"adam": AdamW where weights decay; "muon": Muon for the convolutions, in steps as long as AdamW's, which the rest
    gets. Source: Liu et al., Muon is Scalable for LLM Training, https://arxiv.org/abs/2502.16982."""
    learning_rate: float = 0.001
    """At the start."""
    weight_decay: float = 0.0
    """Of kernels, decoupled from the gradient, as in https://arxiv.org/abs/1711.05101."""
    label_smoothing: float = 0.0
    """Share of each label's probability that is spread over all classes."""
    schedule: str = "plateau"
    """"plateau": ×`plateau_factor` when the validation loss stands still; "cosine": down to 0 over all epochs."""
    plateau_factor: float = 0.2
    plateau_patience: int = 3
    """Epochs."""
    warmup_epochs: float = 0.0
    """Epochs in which the learning rate rises from 0; cosine only."""
    unmixed_epochs: int = 0
    """Last epochs, in which faces aren't mixed (mixup, cutmix) any more: a network ends with faces as it meets them.
    Source: He et al., Data Augmentation Revisited, https://arxiv.org/abs/1909.09148."""
    early_stopping: int = 3
    """Stops after this many epochs without a better validation loss; 0 never stops early."""
    ema: float = 0.0
    """Momentum of the weights' moving average that is validated and kept in place of the weights; 0 is off."""
    mirror: bool = False
    """Reads a face and its mirror image alike, by its weights; see `train.mirror`. For networks without strides."""
    monitor: str = "val_loss"
    """By what the epoch that is kept is chosen: "val_loss" (lowest), "val_accuracy" (highest), or "last".

    The last one owes nothing to the validation faces, and is the best where the learning rate falls to 0."""
    precision: str = "auto"
    """One of PRECISIONS; "auto" takes mixed_bfloat16 where the processor has instructions for it."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    distillation: Distillation = field(default_factory=Distillation)
    crop: Crop = field(default_factory=Crop)
    """How the data set frames its faces; `mien-train crop` measures it, and the converted model's card repeats it."""

    @property
    def mixed_epochs(self) -> int:
        """Epochs before the unmixed ones; none in a run that is shorter than those."""
        return max(0, self.epochs - self.unmixed_epochs)

    def to_json(self) -> dict[str, Any]:
        """Plain values as JSON has them, for config.json."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values


_TABLES: dict[str, type] = {"augmentation": Augmentation, "distillation": Distillation, "crop": Crop}


def load_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file; keys that it leaves out keep the reference's values.

    `settings` are in the place of the file's, such as "augmentation.erase=0.1"; a word needs no quotes.
    Raises ConfigError.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise ConfigError(f"can't read recipe {path}: {error.strerror}; the bundled ones are {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for setting in settings:
        _set(values, setting)
    tables: dict[str, Any] = {}
    for name, kind in _TABLES.items():
        inner = values.pop(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {name!r} is not a table")
        tables[name] = kind(**_checked(kind, inner, path, f"{name}."))
    recipe = Recipe(**_checked(Recipe, values, path, ""), **tables)
    check_recipe(recipe, str(path))
    return recipe


def _set(values: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    inner, *outer = reversed(key.strip().split("."))
    if not (equals and inner) or len(outer) > 1:
        raise ConfigError(f"--set {setting}: not KEY=VALUE, such as label_smoothing=0.1 or augmentation.erase=0.25")
    for name in outer:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {setting}: {name!r} is not a table")
    try:
        values[inner] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        values[inner] = value.strip()


def find_recipe(name: str) -> Path:
    """The file of a bundled recipe's name, or `name` itself as a path."""
    bundled = RECIPES / f"{name}.toml"
    return bundled if bundled.is_file() else Path(name)


def check_recipe(recipe: Recipe, where: str) -> None:
    """Raises ConfigError with the first setting that is out of its range."""
    limits: list[tuple[str, float, float]] = [
        ("epochs", 1, 100_000),
        ("batch_size", 1, 1 << 20),
        ("learning_rate", 1e-9, 10),
        ("weight_decay", 0, 10),
        ("label_smoothing", 0, 0.9),
        ("plateau_factor", 0.01, 0.99),
        ("plateau_patience", 1, 10_000),
        ("warmup_epochs", 0, recipe.epochs),
        ("unmixed_epochs", 0, 100_000),
        ("early_stopping", 0, 100_000),
        ("ema", 0, 0.99999),
    ]
    for key, low, high in limits:
        _check_range(where, key, getattr(recipe, key), low, high)
    for key, high in (
        ("rotation", 180),
        ("shear", 80),
        ("zoom", 0.9),
        ("shift", 1),
        ("still", 1),
        ("light", 1),
        ("erase", 1),
        ("mixup", 1),
        ("cutmix", 1),
        ("camera", 1),
    ):
        _check_range(where, f"augmentation.{key}", getattr(recipe.augmentation, key), 0, high)
    _check_range(where, "distillation.weight", recipe.distillation.weight, 0, 1)
    _check_range(where, "distillation.blur", recipe.distillation.blur, 0, 0.6)
    for key, low, high in (("scale", 0.1, 10), ("dx", -2, 2), ("dy", -2, 2)):
        _check_range(where, f"crop.{key}", getattr(recipe.crop, key), low, high)
    for key, choices in (
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("precision", PRECISIONS),
        ("monitor", ("val_loss", "val_accuracy", "last")),
    ):
        if getattr(recipe, key) not in choices:
            raise ConfigError(f"{where}: '{key}' is {getattr(recipe, key)!r}, not one of {', '.join(choices)}")


def _check_range(where: str, key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{where}: '{key}' is {value:g}, not between {low:g} and {high:g}")


def _checked(kind: type, values: dict[str, Any], path: Path, prefix: str) -> dict[str, Any]:
    """`values` with each key known and of its field's type; a whole number serves where a float is wanted."""
    known = {f.name: type(f.default) for f in fields(kind) if f.name not in _TABLES}
    checked = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known: {', '.join(known)}"
            raise ConfigError(f"{path}: unknown key '{prefix}{key}'; {hint}")
        wanted = known[key]
        if wanted is float and type(value) is int:
            value = float(value)
        if wanted is tuple and isinstance(value, list) and all(isinstance(each, str) for each in value):
            value = tuple(value)
        if type(value) is not wanted:
            what = "a list of strings" if wanted is tuple else f"of type {wanted.__name__}"
            raise ConfigError(f"{path}: '{prefix}{key}' is {value!r}, not {what}")
        checked[key] = value
    return checked
