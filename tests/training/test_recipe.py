"""Recipes: plain data, files, and what the shipped ones say."""

import json
from pathlib import Path

import pytest

from keras_focusseg import backbones, data, models
from keras_focusseg.training import Recipe, load_recipe, make_optimizer

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
    for name, value, message in (
        ("optimizer", "adam", "optimizer must be 'adamw' or 'sgd', got 'adam'"),
        ("schedule", "cosine", "schedule must be 'poly' or 'step'"),
        ("cache", "disk", "cache must be 'memory' or None"),
        ("class_weights", "inverse", "class_weights must be 'median_frequency' or None"),
        ("steps", 0, "steps must be above 0"),
        ("head_learning_rate_factor", 0.0, "head_learning_rate_factor must be above 0"),
        ("clip_norm", -1.0, "clip_norm must be 0 or more"),
        ("momentum", 1.0, "momentum must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            recipe.replace(**{name: value})
    with pytest.raises(ValueError, match="class_weights='median_frequency' cannot be had"):
        recipe.replace(class_weights="median_frequency", pretrained="some_preset")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_recipes_say_what_the_library_understands(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert path.stem.endswith(recipe.dataset)
    assert f"recipes/{path.name}" in path.read_text()
    data.Augment(**recipe.augment)
    make_optimizer(recipe, steps_per_epoch=100)
    for split, options in (
        (recipe.train_split, recipe.train_options),
        (recipe.val_split, recipe.val_options),
    ):
        options = {**recipe.dataset_options, **options}
        if recipe.dataset == "synthetic_streets":
            assert len(data.open_source(recipe.dataset, None, split, **options)) > 0
        else:  # a known name, which misses its folder
            with pytest.raises(data.DataError, match="is not there"):
                data.open_source(recipe.dataset, tmp_path / "absent", split, **options)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_recipes_build_their_network(path: Path) -> None:
    """On the lightest backbone; the large ones are built by their own tests."""
    recipe = load_recipe(path)
    assert recipe.network_config["backbone"] in backbones.names()
    config = {**recipe.network_config, "backbone": "mobilenet_v2"}
    model = getattr(models, recipe.network)(num_classes=11, **config)
    assert model.num_classes == 11 and model.backbone.trainable_variables


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a recipe"):
        load_recipe(tmp_path / "absent.py")
    empty = tmp_path / "empty.py"
    empty.write_text("recipe = 3\n")
    with pytest.raises(ValueError, match="found int"):
        load_recipe(empty)
