"""SERNet-Former's bridge, fusion, signals, files and training, at sizes that run in seconds.

Item numbers: section 5 of its specification. Counts, shapes and gates of the full network are in
tests/models/test_sernet_former.py.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import models
from keras_focusseg.layers import attention_boost
from keras_focusseg.losses import CrossEntropy
from tests.models import tiny
from tests.testers import gradient, randomize_weights, to_numpy

GATES = {f"{what}{n}" for what in ("gate", "boost") for n in range(1, 6)}


def boosted(b: np.ndarray) -> np.ndarray:
    """ReLU(b) + sigmoid(b) * b."""
    return np.maximum(b, 0) + b / (1 + np.exp(-b.astype("float64")))


def gated_backbone(width: int = 8) -> keras.Model:
    """Five convolutions at strides 2, 4, 8, 16, 16 with a gate each, of Keras' own layers."""
    images = keras.Input((None, None, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="centre")(images)
    outputs = {}
    for n in range(1, 6):
        stride = 2 if n < 5 else 1
        x = keras.layers.Conv2D(width, 3, strides=stride, padding="same", name=f"conv{n}")(x)
        b = keras.layers.BatchNormalization(momentum=0.9, name=f"bn{n}")(x)
        x, added = attention_boost(keras.layers.ReLU(name=f"relu{n}")(b), b, name=f"abm{n}")
        outputs |= {f"norm{n}": b, f"boost{n}": added} | ({f"P{n}": x} if n > 1 else {})
    return keras.Model(images, outputs, name="gated")


def network(num_classes: int = 4, **options: Any) -> models.SERNetFormer:
    """SERNet-Former with few channels on a small pyramid."""
    settings = {
        "bridge_filters": 16,
        "bridge_dilation_rates": (1, 2, 3),
        "skip_filters": 8,
        "decoder_filters": 16,
        **options,
    }
    if "backbone" not in settings:
        gates = settings.get("attention_boosting", True)
        settings["backbone"] = gated_backbone() if gates else tiny.backbone(8, (4, 2, 2, 1))
    return models.SERNetFormer(num_classes, **settings)


# Bridge and fusion


def test_the_bridge_answers_an_impulse_at_its_rates():
    """Item 5: each branch touches nine places, a rate apart; the branches are summed."""
    model = network(bridge_dilation_rates=(12, 16, 18), bridge_filters=4)
    randomize_weights(model)
    names = [f"bridge_{i}" for i in range(3)]
    layers = {name: model.get_layer(name).output for name in [*names, "bridge_sum"]}
    bridge = keras.Model(model.get_layer("bridge_0").input, layers)
    impulse = np.zeros((1, 41, 47, 8), "float32")
    impulse[0, 20, 23] = 1.0
    values = bridge.predict(impulse, verbose=0)
    for i, rate in enumerate((12, 16, 18)):
        touched = np.zeros((41, 47), bool)
        touched[20 - rate : 21 + rate : rate, 23 - rate : 24 + rate : rate] = True
        still = values[f"bridge_{i}"][0, 0, 0]  # what the norm makes of nothing
        found = np.abs(values[f"bridge_{i}"][0] - still).max(axis=-1)
        assert touched.sum() == 9
        np.testing.assert_array_equal(found > 1e-4, touched)
    expected = sum(boosted(values[f"bridge_{i}"]) for i in range(3))
    np.testing.assert_allclose(values["bridge_sum"], expected, atol=1e-5)


def test_other_bridges():
    """Ours: branches joined by a 1x1 convolution, depthwise branches, a single one, none."""
    c, f = 8, 16  # channels of the last stage and of the bridge
    sizes = {
        "sum": 3 * (9 * c * f + 4 * f),
        "concat": 3 * (9 * c * f + 4 * f) + 3 * f * f + 4 * f,
        "separable": 3 * (9 * c + c * f + 4 * f),
        "one branch": 9 * c * f + 4 * f,
        "off": c * f + 4 * f,
    }
    backbone = gated_backbone()
    found = {name: network(backbone=backbone, **options) for name, options in BRIDGES.items()}
    rest = found["sum"].count_params() - sizes["sum"]
    assert {name: model.count_params() - rest for name, model in found.items()} == sizes
    for name, model in found.items():
        assert model.compute_output_shape((1, 97, 131, 3)) == {"logits": (1, 97, 131, 4)}, name
    for i, rate in enumerate((1, 2, 3)):
        assert found["separable"].get_layer(f"bridge_{i}_depthwise").dilation_rate == (rate, rate)
        assert found["separable"].get_layer(f"bridge_{i}").kernel_size == 1


BRIDGES: dict[str, dict[str, Any]] = {
    "sum": {},
    "concat": {"bridge_merge": "concat"},
    "separable": {"bridge_separable": True},
    "one branch": {"bridge_dilation_rates": (2,)},
    "off": {"bridge": False},
}


@pytest.mark.parametrize(("part", "before"), [("afn1", "skip"), ("afn2", "bridge")])
def test_fusion_without_kernels_is_the_identity(part: str, before: str):
    """Items 3 and 6."""
    model = network()
    randomize_weights(model)
    images = tiny.images(48, 64, batch=1)
    signals = model.inspect(images)
    assert np.abs(signals[part] - signals[before]).max() > 0.1
    for layer in model.layers:
        if layer.name.startswith(f"{part}_"):
            for weight in layer.weights:
                if weight.name in ("kernel", "beta", "moving_mean"):
                    weight.assign(np.zeros(weight.shape))
    signals = model.inspect(images)
    np.testing.assert_array_equal(signals[part], signals[before])


def test_fusion_is_three_boosted_convolutions_and_a_sum():
    """Our reading: x + A3(A2(A1(x))), each A the module of a normalised convolution."""
    model = network()
    randomize_weights(model)
    names = [*AFN2, *(f"{name}_abm" for name in AFN2)]
    chain = keras.Model(
        model.input,
        {
            "x": model.get_layer("bridge_sum").output,
            "y": model.get_layer("afn2_add").output,
            **{f"{name}_in": model.get_layer(name).input for name in AFN2},
            **{name: model.get_layer(name).output for name in names},
        },
    )
    values = chain.predict(tiny.images(48, 64, batch=1), verbose=0)
    flow = [values["x"], *(values[f"{name}_abm"] for name in AFN2)]
    for i, name in enumerate(AFN2):
        np.testing.assert_array_equal(values[f"{name}_in"], flow[i])
        np.testing.assert_allclose(flow[i + 1], boosted(values[name]), atol=1e-5)
    np.testing.assert_allclose(values["y"], flow[0] + flow[3], atol=1e-5)


AFN2 = ("afn2_0", "afn2_1", "afn2_2")


# Switches and signals

SWITCHES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"attention_boosting": False}, "abm"),
    ({"bridge": False}, "bridge_0"),
    ({"afn1": False}, "afn1"),
    ({"afn2": False}, "afn2"),
    ({"afn2_after_resize": True}, ""),
]


@pytest.mark.parametrize(("options", "absent"), SWITCHES, ids=lambda value: str(value))
def test_each_switch(options: dict[str, Any], absent: str):
    """Without the part nothing of it is left, and what is left gives logits and signals."""
    model = network(**options)
    randomize_weights(model)
    layers = [layer.name for layer in (*model.layers, *model.backbone.layers)]
    parts = {"abm", "bridge_0", "afn1", "afn2"}
    assert {part for part in parts if any(x.startswith(part) for x in layers)} == parts - {absent}
    images = tiny.images(97, 131, batch=1)
    signals = model.inspect(images)
    expected = {
        "bridge": (1, 7, 9, 16),
        "skip": (1, 25, 33, 8),
        "afn1": (1, 25, 33, 8),
        "afn2": (1, 25, 33, 16) if "afn2_after_resize" in options else (1, 7, 9, 16),
        "decoded": (1, 25, 33, 4),
        "logits": (1, 97, 131, 4),
    }
    gone = GATES if absent == "abm" else {absent}
    assert set(signals) == (set(expected) | GATES) - gone
    for name in set(expected) - gone:
        assert signals[name].shape == expected[name], name


def test_inspect_shows_the_gates():
    """The multiplier of each gate, and what was added with it."""
    model = network()
    randomize_weights(model)
    images = tiny.images(64, 96)
    signals = model.inspect(images)
    logits = model.predict(images, verbose=0)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(signals["logits"], logits, atol=1e-5)
    for n, stride in enumerate((2, 4, 8, 16, 16), start=1):
        gate, added = signals[f"gate{n}"], signals[f"boost{n}"]
        assert gate.shape == added.shape == (2, 64 // stride, 96 // stride, 8)
        assert 0 < gate.min() < 0.4 < 0.6 < gate.max() < 1
        b = np.log(gate / (1 - gate))
        np.testing.assert_allclose(added, gate * b, atol=1e-4)


# Arguments and files


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bridge_merge": "max"}, "bridge_merge must be 'sum' or 'concat', got 'max'"),
        ({"bridge_dilation_rates": ()}, "bridge_dilation_rates is empty"),
        ({"backbone": "resnet19"}, "No backbone is named 'resnet19'"),
        ({"backbone_weights": "imagenet"}, "goes with a backbone's name"),
        ({"backbone": tiny.backbone()}, "'tiny' is a model without gates.*attention_boosting=Fal"),
        (
            {"backbone": gated_backbone(), "attention_boosting": False},
            "'gated' is a model with gates.*or pass attention_boosting=True",
        ),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_gates_need_a_family_that_has_them(monkeypatch: pytest.MonkeyPatch):
    """Backbones of other networks serve without; whichever these are."""
    from keras_focusseg import backbones

    built = []

    def other(**options: Any) -> keras.Model:
        built.append(options)
        return tiny.backbone()

    monkeypatch.setitem(backbones._CONSTRUCTORS, "other", other)
    with pytest.raises(ValueError, match="'other' has no place for attention-boosting gates"):
        network(backbone="other")
    network(backbone="other", attention_boosting=False)
    assert built == [{"output_stride": 16}]


# Loss and training


@pytest.mark.each_backend
def test_ignored_pixels_have_no_gradient():
    """Item 17: cross-entropy with class weights over the other pixels."""
    weights = [1.0, 2.0, 0.5, 3.0]
    model = network(class_weights=weights)
    labels = tiny.masks(8, 12, batch=1)
    logits = np.random.default_rng(0).normal(size=(1, 8, 12, 4)).astype("float32")

    def loss(x: Any) -> Any:
        return model.loss_terms(labels, {"logits": x})["cross_entropy"]

    expected = CrossEntropy(class_weights=weights)(labels, logits)
    np.testing.assert_allclose(to_numpy(loss(logits)), to_numpy(expected), rtol=1e-6)
    found = np.abs(gradient(loss, logits)).max(axis=-1)
    ignored = labels == 255
    assert 0 < ignored.sum() < ignored.size
    assert (found[ignored] == 0).all() and (found[~ignored] > 0).all()


def drawings() -> tuple[np.ndarray, np.ndarray]:
    """Four images of boxes and discs on a noisy ground, with an ignored corner (4 classes)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :96]
    labels = np.zeros((4, 64, 96), "uint8")
    for i, label in enumerate(labels):
        label[40:] = 3
        label[8 + 4 * i : 36 + 4 * i, 56:84] = 2
        label[(rows - 30) ** 2 + (columns - 20 - 6 * i) ** 2 < 14**2] = 1
    colors = np.array([[90, 110, 90], [200, 60, 50], [60, 80, 210], [230, 220, 60]])
    images = colors[labels] + rng.normal(0, 12, (4, 64, 96, 3))
    labels[:, :12, -12:] = 255
    return np.clip(images, 0, 255).astype("float32"), labels


def test_overfits_four_drawings():
    """Item 16: above 95 % of the pixels that are not ignored."""
    images, labels = drawings()
    model = network(backbone=gated_backbone(16))
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(*(np.concatenate([x] * 50) for x in (images, labels)), batch_size=4, verbose=0)
    found = model.predict(images, verbose=0).argmax(axis=-1)
    known = labels != 255
    assert (found == labels)[known].mean() > 0.95
    assert np.bincount(labels[known]).max() < 0.6 * known.sum()  # what a constant would reach
