"""Fields of a recipe set by text."""

import pytest

from keras_focusseg.training import Recipe, override

RECIPE = Recipe(
    name="r",
    network="FoRNet",
    dataset="camvid",
    network_config={"filters": 32, "ratios": (0.1, 0.2)},
    steps=10,
)


@pytest.mark.parametrize(
    ("setting", "field", "expected"),
    [
        ("batch_size=4", "batch_size", 4),
        ("learning_rate=2e-3", "learning_rate", 2e-3),
        ("ema=0", "ema", 0.0),
        ("steps=none", "steps", None),
        ("ohem_threshold=0.7", "ohem_threshold", 0.7),
        ("freeze_backbone=true", "freeze_backbone", True),
        ("schedule=cosine", "schedule", "cosine"),
        ("cache=None", "cache", None),
        ("jit_compile=false", "jit_compile", False),
        ("jit_compile=auto", "jit_compile", "auto"),
        ("workers=4", "workers", 4),
        ("worker_processes=true", "worker_processes", True),
        ("teacher=runs/1", "teacher", "runs/1"),
        ('teacher=["runs/1", "runs/2"]', "teacher", ["runs/1", "runs/2"]),
        ("teacher=none", "teacher", None),
        ("backbone_weights=none", "backbone_weights", None),
        ("val_split=7", "val_split", "7"),
        ("network_config.filters=64", "network_config", {"filters": 64, "ratios": (0.1, 0.2)}),
        ("network_config.ratios.1=1", "network_config", {"filters": 32, "ratios": [0.1, 1]}),
        ("network_config.neck=fpn", "network_config", {**RECIPE.network_config, "neck": "fpn"}),
        ('auxiliary={"P4": 0.4}', "auxiliary", {"P4": 0.4}),
        ("auxiliary.P4=0.4", "auxiliary", {"P4": 0.4}),
    ],
)
def test_values_by_the_type_of_the_field(setting: str, field: str, expected: object) -> None:
    changed = override(RECIPE, [setting])
    assert getattr(changed, field) == expected
    assert changed.replace(**{field: getattr(RECIPE, field)}) == RECIPE


def test_inside_the_augmentation_and_in_order() -> None:
    changed = override(RECIPE, ["augment.steps.0.size=[64,96]", "epochs=3", "epochs=4"])
    assert tuple(changed.augment["steps"][0]["size"]) == (64, 96)
    assert (changed.epochs, changed.steps) == (4, None)


@pytest.mark.parametrize("kind", [list, tuple])
def test_one_of_several_teachers(kind: type) -> None:
    recipe = RECIPE.replace(teacher=kind(("runs/1", "runs/2")))
    assert override(recipe, ["teacher.1=runs/3"]).teacher == ["runs/1", "runs/3"]
    assert list(recipe.teachers()) == ["runs/1", "runs/2"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch_size", "--set wants FIELD=VALUE, such as batch_size=4; got 'batch_size'"),
        ("batchsize=4", "no 'batchsize'; did you mean batch_size"),
        ("learningrate=1", "did you mean learning_rate"),
        ("xyz=4", "A recipe has no 'xyz'; it has name, network"),
        ("network_config.filtres=64", "FoRNet has no 'filtres'; did you mean filters"),
        ("batch_size=four", "--set batch_size=four: batch_size must be a whole number, got 'four'"),
        ("batch_size=4.5", "must be a whole number"),
        ("ema=none", "ema must be a number, got 'none'"),
        ("ema=1", "--set ema=1: ema must be in"),
        ("schedule=linear", "schedule must be poly or cosine or step, got 'linear'"),
        ("freeze_backbone=maybe", "freeze_backbone must be true or false, got 'maybe'"),
        ("network_config=3", "network_config must be a dict"),
        ("augment.steps.9.size=1", "'9' is no place in a list of 3; places are 0 to 2"),
        ("augment.stips.0=1", "there is no 'stips'; there are steps, fill"),
        ("network_config.filters.0=1", "nothing lies within 32"),
        ("batch_size.x=1", "--set batch_size.x=1: nothing lies within 8"),
        ("name.x=1", "nothing lies within 'r'"),
        ("patience.0=1", "nothing lies within None"),
        ("augment.steps.1.chance=1", "--set augment.steps.1.chance=1: .*no argument 'chance'"),
    ],
)
def test_mistakes_say_what_there_is(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(RECIPE, [setting])
