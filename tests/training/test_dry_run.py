"""Every recipe takes two steps and a validation on made-up data in its benchmark's layout.

`make test` runs this with the first backend alone, `make recipes` with the others.
"""

from pathlib import Path
from typing import Any

import keras
import pytest

from keras_focusseg import backbones, training
from keras_focusseg.training.dry_run import scaled
from tests.models import tiny
from tests.models.test_sernet_former_parts import gated_backbone

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.py"))
ONE_A_NETWORK = (  # whose steps TensorFlow compiles, as in training
    "fornet_resnet101_cityscapes",
    "scrnet_mscan_s_ade20k",
    "sernet_former_resnet101_bdd100k",
)


def small(attention_boosting: bool = False, **options: Any) -> keras.Model:
    return gated_backbone(4) if attention_boosting else tiny.backbone(4, (4, 2, 2, 1))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_dry_run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On backbones of a few convolutions; the real ones are built by their own tests."""
    for name in backbones.names():
        monkeypatch.setitem(backbones._CONSTRUCTORS, name, small)
    if keras.backend.backend() == "tensorflow" and path.stem not in ONE_A_NETWORK:
        # To trace a step takes it three times as long as to take two of them.
        monkeypatch.setattr(keras.Model, "run_eagerly", property(lambda _: True, lambda *_: None))
    recipe = training.load_recipe(path).replace(teacher=None)  # a preset has its own backbone
    said = training.dry_run(recipe, tmp_path)
    batch = min(recipe.batch_size, 2)
    assert f"took 2 steps of {batch} images" in said and "val mean_iou" in said
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert len(rows) == 2 and "val_loss" in rows[0]


def test_what_is_scaled_down() -> None:
    recipe = training.load_recipe(RECIPES[0].with_name("scrnet_mscan_s_ade20k.py"))
    little = scaled(recipe)
    config = little.network_config
    assert (config["backbone"], config["context_filters"], config["contrast_warmup"]) == (
        "mscan_t",
        128,
        0,
    )
    crop = little.augment["steps"][0]
    assert (tuple(crop["size"]), tuple(crop["base_size"])) == ((64, 64), (64, 256))
    assert (little.batch_size, little.epochs, little.steps) == (2, 1, None)
    assert little.schedule == recipe.schedule and little.learning_rate == recipe.learning_rate


def test_data_of_ones_own_cannot_be_made_up() -> None:
    recipe = training.Recipe(name="mine", network="FoRNet", dataset="folder")
    with pytest.raises(ValueError, match="makes up data of ade20k.*not of 'folder'"):
        training.dry_run(recipe)
