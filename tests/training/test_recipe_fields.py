"""What fields of a recipe do to the step: hard pixels, helpers, frozen parts, rates by stage."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_focusseg import backbones, data, models, presets, training
from keras_focusseg.models.mask_trainer import MaskTrainer
from keras_focusseg.training.trainee import Trainee, with_helpers
from tests.models import tiny

RECIPE = training.Recipe(
    name="tiny",
    network="FoRNet",
    network_config={
        "backbone": "tiny",
        "filters": 8,
        "low_level_filters": 4,
        "kernel_sizes": (1,),
        "dilation_rates": (1,),
        "ratios": (0.3,),
    },
    dataset="synthetic_streets",
    dataset_options={"size": (64, 64)},
    train_options={"count": 2},
    val_options={"count": 1},
    augment={"steps": [{"step": "Flip"}]},
    batch_size=2,
    epochs=2,
    learning_rate=1e-3,
    ema=0.9,
)


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbones._CONSTRUCTORS, "tiny", lambda **options: tiny.backbone())


@pytest.fixture(scope="module")
def source() -> Iterator[data.Source]:
    yield data.open_source("synthetic_streets", None, "train", count=2, size=(64, 64))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, source: data.Source) -> Path:
    """A preset with the classes of the scenes, and random weights."""
    folder = tmp_path_factory.mktemp("teacher")
    model = tiny.network(source.label_space.num_classes, filters=4)
    presets.save(model, folder, name="teacher", label_space=source.label_space)
    return folder


def batch(source: data.Source) -> tuple[np.ndarray, np.ndarray]:
    samples = [source.load(i) for i in range(2)]
    return (
        np.stack([sample.image for sample in samples]).astype("float32"),
        np.stack([sample.mask for sample in samples]),
    )


def trained(recipe: training.Recipe, source: data.Source) -> tuple[models.Segmenter, MaskTrainer]:
    keras.utils.set_random_seed(0)
    network = training.build_model(recipe, source)
    trainee = with_helpers(recipe, network, source)
    trainee.compile(training.make_optimizer(recipe, steps_per_epoch=10))
    return network, trainee


def test_a_run_with_heads_and_a_teacher(
    tmp_path: Path, source: data.Source, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE.replace(auxiliary={"P3": 0.4}, teacher=str(teacher))
    seen = []
    fit = MaskTrainer.fit

    def spied(self: Trainee, *arguments: object, **options: object) -> object:
        seen.append(self)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(Trainee, "fit", spied)
    best = training.train(recipe, run_folder=tmp_path / "run", verbose=0)
    header = (tmp_path / "run" / "log.csv").read_text().splitlines()[0].split(",")
    assert {"auxiliary_p3", "distillation", "val_loss", "val_cross_entropy"} <= set(header)
    assert not {"val_auxiliary_p3", "val_distillation"} & set(header)
    # What is kept is the network alone; what is resumed is all.
    kept = presets.load(best)
    assert type(kept) is models.FoRNet
    assert [w.path for w in kept.weights] == [w.path for w in seen[0].network.weights]
    before = presets.load(teacher).get_weights()
    for found, expected in zip(seen[0].teachers[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert training.train(recipe, run_folder=tmp_path / "run", resume=True, verbose=0) == best


@pytest.mark.each_backend
def test_the_student_comes_to_say_what_the_teacher_says(source: data.Source, teacher: Path) -> None:
    images, masks = batch(source)
    recipe = RECIPE.replace(
        teacher=str(teacher), distillation_weight=1000.0, learning_rate=5e-3, epochs=100
    )
    _, trainee = trained(recipe, source)
    steps = [trainee.train_on_batch(images, masks, return_dict=True) for _ in range(12)]
    trainee.reset_metrics()
    last = trainee.train_on_batch(images, masks, return_dict=True)
    assert float(last["distillation"]) < 0.7 * float(steps[0]["distillation"])


@pytest.mark.each_backend
def test_of_several_teachers_the_mean_is_learned(
    source: data.Source, teacher: Path, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(1)  # other weights than those of the fixture
    other = tiny.network(source.label_space.num_classes, filters=4)
    presets.save(other, tmp_path, name="other", label_space=source.label_space)
    images, _ = batch(source)
    alone = []
    for taught_by in (str(teacher), str(tmp_path), [str(teacher), str(tmp_path)]):
        _, trainee = trained(RECIPE.replace(teacher=taught_by), source)
        alone.append(keras.ops.convert_to_numpy(trainee(images, training=True)["teacher_logits"]))
    np.testing.assert_allclose(alone[2], (alone[0] + alone[1]) / 2, atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


def test_statistics_of_teachers_are_not_averaged(source: data.Source, teacher: Path) -> None:
    optimizers = []
    for recipe in (RECIPE, RECIPE.replace(teacher=[str(teacher)] * 2)):
        _, trainee = trained(recipe, source)
        trainee.optimizer.build(trainee.trainable_variables)
        optimizers.append(trainee.optimizer)
    alone, taught = ([v.path.split("/")[-1] for v in found.variables] for found in optimizers)
    assert alone == taught


def test_a_teacher_of_other_classes_is_refused(source: data.Source, tmp_path: Path) -> None:
    tiny.network(3).save_to_preset(tmp_path)
    network = tiny.network(source.label_space.num_classes)
    recipe = RECIPE.replace(teacher=str(tmp_path))
    with pytest.raises(ValueError, match="has the classes class 0.*must know the same ones"):
        with_helpers(recipe, network, source)
    with pytest.raises(ValueError, match="nowhere"):
        training.train(RECIPE.replace(teacher="nowhere"), run_folder=tmp_path / "run")


def test_auxiliary_heads_teach_the_backbone(source: data.Source) -> None:
    """Their loss alone moves the level that they stand on, and none after it."""
    images, masks = batch(source)
    network, trainee = trained(RECIPE.replace(auxiliary={"P3": 1.0}), source)
    network.loss_terms = lambda *arguments: {}
    before = {w.path: w.numpy() if hasattr(w, "numpy") else np.asarray(w) for w in network.weights}
    trainee.optimizer.weight_decay = 0.0
    trainee.train_on_batch(images, masks)
    moved = {
        w.path.split("/")[-2]
        for w in network.trainable_weights
        if np.abs(keras.ops.convert_to_numpy(w) - before[w.path]).max() > 1e-6
    }
    assert {"P2", "P3"} <= moved and not {"P4", "P5", "classifier"} & moved
    # Odd sizes: the head's logits cover the image.
    outputs = trainee(images[:, :43, :37], training=True)
    assert tuple(outputs["auxiliary_p3"].shape) == (2, 43, 37, source.label_space.num_classes)


@pytest.mark.parametrize("network", ["SCRNet", "SERNetFormer"])
def test_heads_stand_on_every_network(network: str, source: data.Source) -> None:
    """The padded pyramid of SCRNet among them; its steps are counted."""
    config = {
        "SCRNet": {"filters": 8, "context_filters": 8, "embedding_filters": 4, "max_samples": 8},
        "SERNetFormer": {"attention_boosting": False, "bridge_filters": 8, "skip_filters": 4},
    }[network]
    recipe = RECIPE.replace(
        network=network, network_config={"backbone": "tiny", **config}, auxiliary={"P5": 0.5}
    )
    built, trainee = trained(recipe, source)
    images, masks = batch(source)
    logs = trainee.train_on_batch(images[:, :, :60], masks[:, :, :60], return_dict=True)
    assert np.isfinite(float(logs["auxiliary_p5"])) and float(logs["auxiliary_p5"]) > 0
    if network == "SCRNet":
        assert int(keras.ops.convert_to_numpy(built.steps)) == 1


def test_hard_pixels_alone_count(source: data.Source) -> None:
    images, masks = batch(source)
    shape = (*masks.shape, source.label_space.num_classes)
    logits = np.random.default_rng(0).normal(0, 3, shape).astype("float32")
    values = []
    for threshold in (None, 1e-6):  # no pixel is that hard: the hardest tenth counts
        network, _ = trained(RECIPE.replace(ohem_threshold=threshold), source)
        terms = network.loss_terms(masks, {**network(images), "logits": logits})
        values.append(float(keras.ops.convert_to_numpy(terms["cross_entropy"])))
    assert values[1] > 1.2 * values[0]
    weights = [2.0] * source.label_space.num_classes
    config = {**RECIPE.network_config, "class_weights": weights}
    recipe = RECIPE.replace(ohem_threshold=0.7, network_config=config)
    assert training.build_model(recipe, source).cross_entropy.class_weights == weights


def test_a_frozen_backbone_stays(source: data.Source) -> None:
    images, masks = batch(source)
    network, trainee = trained(RECIPE.replace(freeze_backbone=True, ema=0.0), source)
    before, head = network.backbone.get_weights(), network.get_layer("classifier").get_weights()
    trainee.train_on_batch(images, masks)
    for found, expected in zip(network.backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert np.abs(network.get_layer("classifier").get_weights()[0] - head[0]).max() > 0


def test_stages_learn_at_rates_of_their_own(source: data.Source) -> None:
    """P5 at the plain rate, each earlier stage at half of the next one's, the head at twice."""
    images, masks = batch(source)
    moves = []
    factors = {"stage_learning_rate_factor": 0.5, "head_learning_rate_factor": 2.0}
    for changes in ({}, factors):
        recipe = RECIPE.replace(
            optimizer="sgd", weight_decay=0.0, clip_norm=0.0, ema=0.0, **changes
        )
        network, trainee = trained(recipe, source)
        before = network.get_weights()
        trainee.train_on_batch(images, masks)
        moves.append([b - a for a, b in zip(before, network.get_weights(), strict=True)])
    expected = {"P2": 0.125, "P3": 0.25, "P4": 0.5, "P5": 1.0, "classifier": 2.0}
    for variable, plain, by_stage in zip(network.weights, *moves, strict=True):
        factor = expected.get(variable.path.split("/")[-2])
        if factor is not None:
            np.testing.assert_allclose(by_stage, factor * plain, rtol=2e-2, atol=1e-7)


def test_a_schedule_by_its_name() -> None:
    recipe = RECIPE.replace(schedule="cosine", warmup_steps=0, warmup_start=None, epochs=10)
    schedule = training.make_optimizer(recipe, steps_per_epoch=10).get_config()["learning_rate"]
    assert schedule["class_name"] == "WarmupCosine"
    assert schedule["config"]["total_steps"] == 100


def test_fields_out_of_range_are_refused() -> None:
    for name, value, message in (
        ("auxiliary", {"P1": 0.4}, "must give levels of P2, P3, P4, P5 weights above 0"),
        ("auxiliary", {"P3": 0}, "must give levels"),
        ("ohem_threshold", 1.5, "ohem_threshold must be above 0 and at most 1"),
        ("ohem_min_kept", 0.0, "ohem_min_kept must be above 0 and at most 1"),
        ("stage_learning_rate_factor", 2.0, "must be above 0 and at most 1, got 2"),
        ("distillation_temperature", 0.0, "distillation_temperature must be above 0"),
        ("teacher", 3, "teacher must be text, a list of texts or None"),
        ("teacher", ["runs/1", 3], "a list of texts or None, got .'runs/1', 3"),
        ("freeze_backbone", 1, "freeze_backbone must be True or False"),
        ("auxiliary", {"P3": float("nan")}, "must give levels"),
        ("val_batch_size", 0, "val_batch_size must be above 0, got 0"),
        ("warmup_start", -0.1, "warmup_start must be a share 0..1, got -0.1"),
        ("step_factor", 2.0, "step_factor must be above 0 and at most 1, got 2"),
        ("power", -1.0, "power must be 0 or more, got -1"),
        ("seed", 2**32, "seed must be below 2..32, got 4294967296"),
    ):
        with pytest.raises(ValueError, match=message):
            RECIPE.replace(**{name: value})
