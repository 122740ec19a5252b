"""Recipes: what the bundled ones say, and what a wrong one is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mien.edge.errors import ConfigError
from mien.train.augment import Augmentation
from mien.train.distill import teacher_recipe
from mien.train.model import ARCHITECTURES
from mien.train.recipe import DEFAULT_RECIPE, RECIPES, Recipe, find_recipe, load_recipe


def test_reference_recipe_is_the_reference_system() -> None:
    recipe = load_recipe(find_recipe("reference"))
    assert recipe == Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.plateau_factor) == (25, 32, 0.001, 0.2)
    assert recipe.augmentation == Augmentation(rotation=30, shear=0.3, zoom=0.3, shift=0.4, flip=True)


def test_a_recipe_of_a_networks_name_is_that_networks() -> None:
    for arch in ARCHITECTURES:
        if find_recipe(arch).is_file():
            assert load_recipe(find_recipe(arch)).arch == arch
    assert load_recipe(find_recipe(DEFAULT_RECIPE)).arch in ARCHITECTURES


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.toml")), ids=lambda file: file.stem)
def test_teachers_of_bundled_recipes_are_bundled(file: Path) -> None:
    recipe = load_recipe(file)
    for name in recipe.distillation.teachers:
        assert (RECIPES / f"{name}.toml").is_file()
        assert teacher_recipe(recipe, name).distillation.teachers == ()


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.toml")), ids=lambda file: file.stem)
def test_bundled_recipes_load(file: Path) -> None:
    assert load_recipe(file).arch in ARCHITECTURES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("wibble = 3", "unknown key 'wibble'; known: arch, "),
        ("epochs = 'three'", "'epochs' is 'three', not of type int"),
        ("epochs = true", "'epochs' is True, not of type int"),
        ("epochs = 0", "'epochs' is 0, not between 1 and"),
        ("ema = 1.5", "'ema' is 1.5, not between 0 and"),
        ("schedule = 'step'", "'schedule' is 'step', not one of plateau, cosine"),
        ("augmentation = 3", "'augmentation' is not a table"),
        ("[augmentation]\nrotate = 3", "unknown key 'augmentation.rotate'; did you mean 'augmentation.rotation'?"),
        ("[augmentation]\nerase = 1.5", "'augmentation.erase' is 1.5, not between 0 and 1"),
        ("[crop]\nscale = 0", "'crop.scale' is 0, not between 0.1 and 10"),
        ("[crop]\nsize = 1", "unknown key 'crop.size'"),
        ("crop = 1", "'crop' is not a table"),
        ("[augmentation]\nshift = 2", "'augmentation.shift' is 2, not between 0 and 1"),
        ("[distillation]\nteachers = 2", "'distillation.teachers' is 2, not a list of strings"),
        ("epochs = ", "is not TOML"),
    ],
)
def test_wrong_recipes(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(file)
    assert str(file) in str(caught.value)
    assert why in str(caught.value)


def test_settings_of_the_command_line_take_the_place_of_the_files() -> None:
    settings = ["epochs=3", "augmentation.erase=0.5", "schedule = plateau", 'distillation.teachers=["wide"]']
    recipe, own = load_recipe(find_recipe("base"), settings), load_recipe(find_recipe("base"))
    assert (recipe.epochs, recipe.schedule, recipe.distillation.teachers) == (3, "plateau", ("wide",))
    assert recipe.augmentation == replace(own.augmentation, erase=0.5)
    assert recipe.learning_rate == own.learning_rate


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("epochs", "--set epochs: not KEY=VALUE"),
        ("=3", "--set =3: not KEY=VALUE"),
        ("a.b.c=3", "--set a.b.c=3: not KEY=VALUE"),
        ("epochs.more=3", "--set epochs.more=3: 'epochs' is not a table"),
        ("epoch=3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs=many", "'epochs' is 'many', not of type int"),
        ("augmentation.erase=2", "'augmentation.erase' is 2, not between 0 and 1"),
    ],
)
def test_wrong_settings(setting: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        load_recipe(find_recipe("base"), [setting])


def test_missing_recipe_names_the_bundled_ones() -> None:
    with pytest.raises(
        ConfigError, match="the bundled ones are base, broad, compact, deep, deep_small, reference, short, small"
    ):
        load_recipe(find_recipe("missing"))
