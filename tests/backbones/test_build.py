"""What all backbones share: names, options, serialisation, precision, equality of backends."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_focusseg import backbones
from tests.backbones import references
from tests.testers import (
    GOLDEN,
    assert_matches_golden,
    check_config_round_trip,
    randomize_weights,
    reload_in_new_process,
)

SMALL = [
    ("resnet18", {}),
    ("mobilenet_v2", {"alpha": 0.35}),
    ("mobilenet_edgetpu", {}),
    ("efficientnet_lite0", {}),
]


@pytest.mark.backend_free
def test_a_backbone_of_ours_is_taken_as_it_is() -> None:
    backbone = backbones.build("mobilenet_v2", alpha=0.35, attention_boosting=True)
    assert backbones.as_pyramid(backbone) is backbone


@pytest.mark.backend_free
def test_names() -> None:
    assert backbones.names() == [
        "mobilenet_v2",
        "mobilenet_edgetpu",
        "mobilenet_edgetpu_stages",
        "mobilenet_edgetpu_small",
        *(f"efficientnet_lite{size}" for size in range(3)),
        *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
        *(f"mscan_{size}" for size in "tsbl"),
        *(f"van_b{size}" for size in range(7)),
    ]
    with pytest.raises(ValueError, match="'resnet20'. Known are: mobilenet_v2, mobilenet_edgetpu"):
        backbones.build("resnet20")
    with pytest.raises(ValueError, match="mobilenet_v2 got an unexpected .*'depth'.*are alpha, "):
        backbones.build("mobilenet_v2", depth=3)


@pytest.mark.backend_free
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_wrong_options(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="output_stride must be one of .* received 4"):
        backbones.build(name, output_stride=4, **options)
    with pytest.raises(ValueError, match="depth must be one of"):
        backbones.ResNet(20)
    with pytest.raises(ValueError, match="alpha must be positive"):
        backbones.MobileNetV2(alpha=0)
    with pytest.raises(ValueError, match="No pretrained weights are known for Functional"):
        x = keras.Input((4,))
        backbones.load_weights(keras.Model(x, x), "imagenet")
    with pytest.raises(ValueError, match="an .h5 or an .npz file; received 'model.pth'"):
        backbones.load_weights(backbones.MobileNetV2(alpha=0.35), "model.pth")


@pytest.mark.backend_free
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_shapes_at_an_odd_size(name: str, options: dict[str, float]) -> None:
    model = backbones.build(name, output_stride=8, **options)
    assert model.input_shape == (None, None, None, 3)
    outputs = references.run(model, references.noise(97, 131))
    assert list(outputs) == ["P2", "P3", "P4", "P5"]
    for level, x in outputs.items():
        stride = model.pyramid_strides[level]
        assert x.shape == (1, -(-97 // stride), -(-131 // stride), model.pyramid_channels[level])


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_same_weights_same_pyramid_on_every_backend(name: str, options: dict[str, float]) -> None:
    model = backbones.build(name, output_stride=16, **options)
    assert_matches_golden(f"backbone_{name}", golden_run(model))


def golden_run(model: keras.Model) -> references.Arrays:
    """What every backend, and every precision, must give alike."""
    randomize_weights(model)
    outputs = references.run(model, references.noise(33, 47))
    return {level: np.asarray(x, "float32")[..., ::8] for level, x in outputs.items()}


@pytest.mark.backend_free
@pytest.mark.parametrize(("name", "options"), SMALL)
def test_config_round_trip(name: str, options: dict[str, float]) -> None:
    model = backbones.build(
        name,
        output_stride=16,
        include_rescaling=False,
        batch_norm_momentum=0.97,
        dtype="mixed_bfloat16",
        trainable=False,
        **options,
    )
    copy = check_config_round_trip(model)
    assert copy.name == name
    assert copy.pyramid_strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 16}
    assert not copy.trainable_weights
    assert not any(layer.name == "rescaling" for layer in copy.layers)
    norms = [x for x in copy.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {norm.momentum for norm in norms} == {0.97}
    assert {norm.compute_dtype for norm in norms} == {"bfloat16"}


@pytest.mark.backend_free
@pytest.mark.parametrize(("name", "options"), [x for x in SMALL if x[0] != "resnet18"])
def test_branches_of_residual_blocks_are_dropped_the_deeper_the_more(
    name: str, options: dict[str, float]
) -> None:
    plain = backbones.build(name, output_stride=16, **options)
    model = check_config_round_trip(
        backbones.build(name, output_stride=16, drop_path_rate=0.4, **options)
    )
    drops = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    sums = [x for x in model.layers if isinstance(x, keras.layers.Add)]
    assert [x.name.replace("drop_path", "add") for x in drops] == [x.name for x in sums]
    rates = [x.rate for x in drops]
    assert 0 < rates[0] and rates == sorted(rates) and rates[-1] <= 0.4
    assert {tuple(x.noise_shape) for x in drops} == {(None, 1, 1, 1)}
    assert not any(isinstance(x, keras.layers.Dropout) for x in plain.layers)
    for each in (plain, model):
        randomize_weights(each)
    images = references.noise(33, 47)
    references.assert_close(references.run(model, images), references.run(plain, images), 1e-6)
    with pytest.raises(ValueError, match=r"drop_path_rate must be in \[0, 1\), received 1"):
        backbones.build(name, drop_path_rate=1, **options)


@pytest.mark.backend_free
def test_nested_in_models_they_come_back_in_a_new_process(tmp_path: Path) -> None:
    x, expected = references.noise(40, 50), {}
    built = [backbones.build(name, output_stride=16, **options) for name, options in SMALL]
    built.append(backbones.MSCAN(channels=(8, 8, 16, 24), depths=(1, 1, 1, 1)))  # as VAN is
    for backbone in built:
        randomize_weights(backbone)
        images = keras.Input((None, None, 3))
        pyramid = backbone(images)
        head = keras.layers.Conv2D(3, 1, name="head")(pyramid["P5"])
        model = keras.Model(images, {"head": head, "P2": pyramid["P2"]})
        path = tmp_path / f"{backbone.name}.keras"
        model.save(path)
        expected[path] = references.run(model, x)
        assert type(keras.saving.load_model(path).layers[1]) is type(backbone)
    for found, outputs in zip(
        reload_in_new_process(list(expected), x, tmp_path), expected.values(), strict=True
    ):
        references.assert_close(found, outputs, 1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    # One is enough to see that another backend rounds as little.
    [pytest.param(*x, marks=[pytest.mark.backend_free] * (x[0] != "mobilenet_v2")) for x in SMALL],
)
def test_mixed_precision_normalises_in_float32(
    name: str, options: dict[str, float], mixed_precision: str
) -> None:
    mixed = backbones.build(name, output_stride=16, **options)
    assert mixed.get_layer("rescaling").compute_dtype == "float32"
    assert {x.dtype for x in mixed.output.values()} == {mixed_precision}
    assert {w.dtype for w in mixed.trainable_weights} == {"float32"}
    with np.load(GOLDEN / f"backbone_{name}.npz", allow_pickle=False) as full:
        references.assert_close(golden_run(mixed), dict(full), 0.1)
