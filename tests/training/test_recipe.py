"""Recipes: plain data, files, and what the shipped ones say."""

import json
from pathlib import Path

import pytest

from keras_focusseg import backbones, data, models, presets
from keras_focusseg.training import (
    Recipe,
    load_recipe,
    make_optimizer,
    recipe_header,
    recipe_headers,
)
from keras_focusseg.training.checks import check_start
from keras_focusseg.training.recipe_headers import LABELS

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.py"))


def test_recipe_is_json_and_back() -> None:
    augment = {"steps": [{"step": "ScaleCrop", "size": (64, 96)}]}
    recipe = Recipe(name="r", network="FoRNet", dataset="camvid", augment=augment)
    config = json.loads(json.dumps(recipe.to_config()))
    assert config["augment"]["steps"][0]["size"] == [64, 96]
    assert Recipe.from_config(config) == recipe == Recipe(**recipe.to_config())
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
        ("schedule", "linear", "schedule must be 'poly' or 'cosine' or 'step'"),
        ("cache", "disk", "cache must be 'memory' or None"),
        ("class_weights", "inverse", "class_weights must be 'median_frequency' or 'inverse_log'"),
        ("class_uniform", 1.5, "class_uniform must be a share 0..1, got 1.5"),
        ("steps", 0, "steps must be above 0"),
        ("head_learning_rate_factor", 0.0, "head_learning_rate_factor must be above 0"),
        ("clip_norm", -1.0, "clip_norm must be 0 or more"),
        ("momentum", 1.0, "momentum must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            recipe.replace(**{name: value})
    with pytest.raises(ValueError, match="class_weights='median_frequency' cannot be had"):
        recipe.replace(class_weights="median_frequency", pretrained="some_preset")


def test_the_augmentation_is_stored_with_every_argument() -> None:
    policy = data.Compose([data.ScaleCrop((64, 96)), data.Flip(), data.CutMix(0.25)], (0, 0, 0))
    short = {
        "steps": [
            {"step": "ScaleCrop", "size": (64, 96)},
            {"step": "Flip"},
            {"step": "CutMix", "probability": 0.25},
        ],
        "fill": (0, 0, 0),
    }
    options = {"name": "r", "network": "FoRNet", "dataset": "camvid"}
    for augment in (short, policy.to_config()):
        recipe = Recipe(**options, augment=augment)
        assert recipe.augment == policy.to_config()
        assert data.augmentation(json.loads(json.dumps(recipe.augment))) == policy
        assert recipe.replace(seed=3).augment == recipe.augment
    assert Recipe(**options).augment == data.Augment().to_config()
    for augment, message in (
        ({"steps": [{"step": "Mirror"}]}, "no step 'Mirror'"),
        ({"steps": [{"step": "Flip", "chance": 1}]}, "Flip has no argument 'chance'"),
        ({"steps": [{"step": "CutMix", "share": 2}]}, "CutMix: share must be"),
        (
            {"crop_size": [64, 96]},
            r"must be {\"steps\": .*to_config\(\) gives it; got {'crop_size'",
        ),
        ([{"step": "Flip"}], r"must be {\"steps\": .*got \[{'step': 'Flip'}\]"),
        (policy, r"must be {\"steps\": .*got Compose"),
    ):
        with pytest.raises(ValueError, match=message):
            Recipe(**options, augment=augment)


def test_recipes_that_earlier_versions_stored_are_read() -> None:
    """Shipped records and run folders hold arguments of `Augment`, or a bare list of steps."""
    options = {"name": "r", "network": "FoRNet", "dataset": "camvid"}
    steps = [{"step": "ScaleCrop", "size": [64, 96]}, {"step": "Flip"}]
    for augment, expected in (
        ({"crop_size": [64, 96], "rotate": 5.0}, data.Augment((64, 96), rotate=5.0)),
        ({}, data.Augment()),
        (steps, data.Compose([data.ScaleCrop((64, 96)), data.Flip()])),
    ):
        recipe = Recipe.from_config({**options, "augment": augment})
        assert data.augmentation(recipe.augment) == expected
    stored = [presets.record(name).recipe for name in presets.names()]
    recipes = [Recipe.from_config(config) for config in stored if config]  # none: not trained here
    assert recipes and all(data.augmentation(recipe.augment).crop_size for recipe in recipes)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_recipes_say_what_the_library_understands(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert path.stem.endswith(recipe.dataset)
    assert f"recipes/{path.name}" in path.read_text()
    policy = data.augmentation(recipe.augment)
    assert policy.to_config() == recipe.augment and policy.at_scale_1().fill == policy.fill
    make_optimizer(recipe, steps_per_epoch=100)
    assert recipe.network_config["backbone"] in backbones.names()
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


def test_the_small_network_has_fewer_than_a_million_parameters() -> None:
    recipe = load_recipe(SHIPPED[0].with_name("fornet_mobilenet_edgetpu_small_camvid.py"))
    model = models.FoRNet(num_classes=11, **recipe.network_config)
    assert model.count_params() == 989_162  # moving statistics included


def test_recipes_of_presets_stand_for_the_runs_that_made_them() -> None:
    for name in presets.names():
        record = presets.record(name)
        if not record.recipe:  # trained elsewhere
            continue
        made, now = dict(record.recipe), load_recipe(SHIPPED[0].with_name(f"{name}.py"))
        starts = ("backbone_weights", "pretrained")  # as far as others can have them
        stored = Recipe.from_config({k: v for k, v in made.items() if k not in starts})
        now = now.replace(backbone_weights=None, pretrained=None)
        assert json.loads(json.dumps(now.to_config())) == stored.to_config(), name
        for score in record.scores[:1]:
            said = f"{100 * score['mean_iou']:.1f}"
            assert said in SHIPPED[0].with_name(f"{name}.py").read_text(), name


def test_shipped_presets_go_on_by_their_recipes() -> None:
    trained = [name for name in presets.names() if presets.record(name).weights]
    assert trained
    for name in trained:
        recipe = load_recipe(SHIPPED[0].with_name(f"{name}.py"))
        check_start(recipe.replace(pretrained=recipe.name, backbone_weights=None))


def test_headers_of_the_shipped_recipes_are_whole() -> None:
    """Or they wait for a run to say what it reached."""
    for header in recipe_headers(SHIPPED[0].parent):
        said = [getattr(header, label.lower()) for label in LABELS]
        assert all(said) or not any(said), header
        if header.score:
            run = header.score.startswith(("mIoU ", "none: "))
            assert run or header.score.startswith("not run: needs "), header
            assert run or header.hours == "not measured", header


def test_a_header_is_read_without_running_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    lines = ["A title.", "", "Words.", "", "Paper: arXiv 1.", "Score: mIoU 70.0", "    on val.", ""]
    path.write_text("\n".join(['"""' + lines[0], *lines[1:], "More.", '"""', "1 / 0"]))
    header = recipe_header(path)
    assert (header.title, header.paper, header.score) == ("A title", "arXiv 1", "mIoU 70.0 on val")
    assert header.hours == ""
    path.write_text("x = (")
    with pytest.raises(ValueError, match=r"mine.py, line 1: is not Python"):
        recipe_header(path)
    with pytest.raises(ValueError, match="holds no recipes. Recipes are Python files that set"):
        recipe_headers(tmp_path)
    with pytest.raises(ValueError, match="absent is no folder. Recipes are Python files"):
        recipe_headers(tmp_path / "absent")


HEAD = "from keras_focusseg.training import Recipe\nrecipe = Recipe(name='a', network='FoRNet', "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must set `recipe = Recipe"),
        ("recipe = 3\n", "found int"),
        ("recipe = (\n", r"r\.py, line 1: is not Python: '\(' was never closed"),
        ("a = 1\n  b = 2\n", r"r\.py, line 2: is not Python: unexpected indent"),
        ("import nowhere_to_be_found\n", r"line 1: ModuleNotFoundError: No module named"),
        ("recipe = 1 / 0\n", "line 1: ZeroDivisionError"),
        (HEAD + "lr=1)", "line 2: TypeError: .*unexpected keyword argument 'lr'. A recipe takes"),
        (HEAD + ")", "line 2: TypeError: .*missing .*'dataset'. A recipe takes name, network"),
        (HEAD + "dataset=3)", "line 2: dataset must be text, got 3"),
        (HEAD + "dataset='x', epochs='4')", "line 2: epochs must be a whole number, got '4'"),
        (HEAD + "dataset='x', epochs=4.0)", "line 2: epochs must be a whole number, got 4.0"),
        (HEAD + "dataset='x', batch_size=True)", "batch_size must be a whole number, got True"),
        (HEAD + "dataset='x', ema=None)", "line 2: ema must be a number, got None"),
        (HEAD + "dataset='x', learning_rate=float('nan'))", "learning_rate must be finite"),
        (HEAD + "dataset='x', network_config=[])", r"network_config must be a dict, got \[\]"),
        (HEAD + "dataset='x', freeze_backbone_norm=1)", "must be True or False, got 1"),
        (HEAD + "dataset='x', augment=3)", "line 2: .*augment|3"),
        (HEAD + "dataset='x', pretrained=1)", "pretrained must be text or None, got 1"),
        (HEAD.replace("'a'", "'a/b'") + "dataset='x')", "line 2: 'a/b' is no name of a preset"),
    ],
)
def test_mistakes_in_a_recipe_name_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "r.py"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    for name, why in (("absent.py", "there is no such file; "), ("recipe.txt", ""), (".", "")):
        (tmp_path / "recipe.txt").touch()
        with pytest.raises(ValueError, match=f"is not a recipe: {why}expected a Python file"):
            load_recipe(tmp_path / name)
    (tmp_path / "null.py").write_bytes(b"\0")
    with pytest.raises(ValueError, match=r"null\.py"):
        load_recipe(tmp_path / "null.py")
