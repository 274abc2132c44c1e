"""Recipes: plain data, files, and what the shipped ones say."""

import json
from pathlib import Path

import pytest

from keras_focusseg import models
from keras_focusseg.training import Recipe, load_recipe

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.py"))


def test_recipe_is_json_and_back() -> None:
    recipe = Recipe(name="r", network="FoRNet", dataset="camvid", augment={"crop_size": (64, 96)})
    assert json.loads(json.dumps(recipe.to_config()))["augment"]["crop_size"] == [64, 96]
    assert Recipe(**recipe.to_config()) == recipe
    assert recipe.replace(epochs=3).epochs == 3


def test_unknown_or_senseless_values_are_refused() -> None:
    recipe = Recipe(name="r", network="FoRNet", dataset="camvid")
    with pytest.raises(ValueError, match="no \\['epoch'\\]"):
        recipe.replace(epoch=3)
    with pytest.raises(ValueError, match="epochs must be above 0"):
        recipe.replace(epochs=0)
    with pytest.raises(ValueError, match="ema must be in"):
        recipe.replace(ema=1.0)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_recipes_build_their_network(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    model = getattr(models, recipe.network)(num_classes=11, **recipe.network_config)
    assert model.num_classes == 11


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a recipe"):
        load_recipe(tmp_path / "absent.py")
    empty = tmp_path / "empty.py"
    empty.write_text("recipe = 3\n")
    with pytest.raises(ValueError, match="found int"):
        load_recipe(empty)
