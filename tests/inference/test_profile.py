"""Costs against counts made by hand."""

import json
import math
from typing import Any

import keras
import pytest
from keras import layers, ops

from keras_focusseg import backbones, inference, presets
from tests.testers import tiny_backbone, tiny_fornet


class Affinity(layers.Layer):
    """Products of a map with itself, told by `macs`."""

    def call(self, x: Any) -> Any:
        batch, height, width, channels = ops.shape(x)
        flat = ops.reshape(x, (batch, height * width, channels))
        energy = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat)
        return ops.reshape(ops.matmul(flat, energy), (batch, height, width, channels))

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def macs(self, *input_shapes: tuple[int, ...]) -> int:
        ((_, height, width, channels),) = input_shapes
        return 2 * height * width * channels**2


class Silent(layers.Layer):
    """A kernel that nobody tells the count of."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 5), name="kernel")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.kernel)

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], 5)


def of(model: keras.Model, size: tuple[int, int] = (12, 20), **options: Any) -> inference.Profile:
    return inference.profile(model, size, **{"runs": 0, **options})


def chain(*parts: Any, channels: int = 8) -> keras.Model:
    images = x = keras.Input((None, None, channels))
    for part in parts:
        x = part(x)
    return keras.Model(images, x)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [  # on (1, 12, 20, 8)
        (layers.Conv2D(6, (3, 5), padding="same"), 12 * 20 * 3 * 5 * 8 * 6),
        (layers.Conv2D(6, 3), 10 * 18 * 9 * 8 * 6),
        (layers.Conv2D(6, 3, dilation_rate=4, padding="same"), 12 * 20 * 9 * 8 * 6),
        (layers.Conv2D(6, 3, dilation_rate=4), 4 * 12 * 9 * 8 * 6),
        (layers.Conv2D(6, 3, strides=3, padding="same"), 4 * 7 * 9 * 8 * 6),
        (layers.Conv2D(6, 3, groups=2, padding="same"), 12 * 20 * 9 * (8 // 2) * 6),
        (layers.DepthwiseConv2D(3, strides=2, padding="same"), 6 * 10 * 9 * 8),
        (layers.DepthwiseConv2D(5, depth_multiplier=3, padding="same"), 12 * 20 * 25 * 8 * 3),
        (layers.SeparableConv2D(6, 3, padding="same"), 12 * 20 * (9 * 8 + 8 * 6)),
        (
            layers.SeparableConv2D(6, 3, depth_multiplier=2, padding="same"),
            12 * 20 * (9 * 16 + 16 * 6),
        ),
        (layers.Conv2DTranspose(6, 4, strides=2, padding="same"), 12 * 20 * 16 * 8 * 6),
        (layers.Dense(7), 12 * 20 * 8 * 7),
        (Affinity(), 2 * 12 * 20 * 8 * 8),
        (layers.BatchNormalization(), 0),
        (layers.LayerNormalization(axis=(1, 2, 3)), 0),
        (layers.UpSampling2D(2, interpolation="bilinear"), 0),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_products_of_each_layer(layer: layers.Layer, macs: int) -> None:
    if isinstance(layer, layers.LayerNormalization):
        images = keras.Input((12, 20, 8))
        model = keras.Model(images, layer(images))
    else:
        model = chain(layer)
    costs = of(model)
    assert (costs.macs, costs.not_counted) == (macs, ())
    assert costs.parameters == model.count_params()


def test_graphs_of_operations_shared_layers_and_nested_models() -> None:
    shared = layers.Dense(8, use_bias=False, name="shared_dense")
    inner = chain(layers.Conv2D(4, 1, use_bias=False), layers.BatchNormalization(), channels=8)
    stack = keras.Sequential([keras.Input((None, None, 4)), layers.Conv2D(2, 1, use_bias=False)])
    images = keras.Input((None, None, 8))
    x = shared(ops.relu(shared(images)) + images)
    y = stack(inner(x))  # (1, 12, 20, 2)
    products = ops.matmul(ops.transpose(y, (0, 1, 3, 2)), y)  # (1, 12, 2, 2), 20 products each
    costs = of(keras.Model(images, products))
    pixels = 12 * 20
    by_name = {part.name: part for part in costs.parts}
    assert by_name["shared"] == inference.Part("shared", 64, 64, 2 * pixels * 64)
    assert by_name[inner.name] == inference.Part(inner.name, 32 + 16, 32 + 8, pixels * 32)
    assert by_name[stack.name] == inference.Part(stack.name, 8, 8, pixels * 8)
    assert costs.macs == pixels * (2 * 64 + 32 + 8) + 12 * 4 * 20
    assert costs.trainable == costs.parameters - 8


def test_what_cannot_be_counted_is_named() -> None:
    images = keras.Input((None, None, 8))
    x = Silent(name="silent")(images)
    x = layers.Lambda(lambda t: t, output_shape=lambda shape: shape, name="opaque")(x)
    x = ops.einsum("bhwc,bhwd->bcd", x, x)
    costs = of(keras.Model(images, x))
    assert costs.macs == 0 and costs.parameters == 40
    assert costs.not_counted[:2] == ("silent (Silent)", "opaque (Lambda)")
    assert costs.not_counted[2].endswith("(Einsum)")
    assert "products not counted: silent (Silent), opaque" in str(costs)


def test_only_what_the_wanted_output_needs() -> None:
    pyramid = tiny_backbone(channels=4)
    images = keras.Input((None, None, 3))
    levels = pyramid(images)
    logits = layers.Conv2D(2, 1, use_bias=False, name="classifier")(levels["P2"])
    embedding = layers.Conv2D(6, 1, use_bias=False, name="embedding")(levels["P5"])
    model = keras.Model(images, {"logits": logits, "embedding": embedding})
    config = json.dumps(model.get_config(), default=str)
    at_2, at_4 = 16 * 24, 8 * 12  # cells of stage1 and of stage2, which is P2, for 32 x 48
    costs = of(model, (32, 48))
    assert costs.macs == at_2 * 27 * 4 + at_4 * 36 * 4 + at_4 * 4 * 2
    assert costs.outputs == "logits"
    whole = of(model, (32, 48), outputs=None)
    at_8 = 4 * 6  # stage3, stage4 and stage5
    assert whole.macs - costs.macs == 3 * at_8 * 36 * 4 + at_8 * 4 * 6
    assert json.dumps(model.get_config(), default=str) == config  # looked at, not changed
    with pytest.raises(ValueError, match="no output 'mask'; there are .*embedding"):
        of(model, (32, 48), outputs="mask")


def test_parts_as_the_network_names_them() -> None:
    model = tiny_fornet()
    model.parts = lambda: {
        "regions": ("branch",),
        "last branch": ("branch1",),
        "encoder": ("tiny_backbone",),
    }
    parts = {part.name: part for part in of(model, (32, 48)).parts}
    assert list(parts)[:3] == ["regions", "last branch", "encoder"]
    cells = 4 * 6
    assert parts["regions"].macs == cells * 8 * 8  # branch 0, kernel 1
    assert parts["last branch"].macs == cells * 8 * 8 * 9
    assert {"transition", "selector", "context", "low", "classifier"} <= set(parts)


def test_peak_of_the_activations(mixed_precision: str) -> None:
    images = keras.Input((None, None, 2))
    wide = layers.Conv2D(10, 1, name="wide")(images)  # bfloat16
    thin = layers.Conv2D(1, 1, name="thin")(wide)
    side = layers.Conv2D(3, 1, name="side")(images)
    joined = layers.Concatenate(name="join", dtype="float32")([thin, side])
    costs = of(keras.Model(images, joined), (16, 16))
    cells = 16 * 16
    # The image (float32, 2 channels, needed by "side" later on) is alive with "wide" and "thin".
    assert costs.peak_activation_bytes == cells * (2 * 4 + 10 * 2 + 1 * 2)
    assert costs.peak_layer == "thin"
    # Without the side branch the image is gone by then, and the peak is where it is read.
    costs = of(keras.Model(images, thin), (16, 16))
    assert costs.peak_activation_bytes == cells * (2 * 4 + 10 * 2)
    assert costs.peak_layer == "wide"
    # A float32 result beside what it is made of.
    assert of(keras.Model(images, layers.Add(dtype="float32", name="sum")([wide, wide])),
              (16, 16)).peak_activation_bytes == cells * 10 * (2 + 4)  # fmt: skip


def test_latency_is_measured_if_wanted() -> None:
    model = chain(layers.Conv2D(2, 3), channels=3)
    costs = inference.profile(model, (16, 16), runs=3)
    assert costs.latency is not None and costs.latency.runs == 3
    assert 0 < costs.latency.seconds < 60
    assert costs.latency.backend == keras.backend.backend() and costs.latency.device
    assert "median of 3 runs" in str(costs)
    assert json.loads(json.dumps(costs.to_dict()))["macs"] == 14 * 14 * 27 * 2
    assert of(model).latency is None


def test_resnet18_at_1024x2048() -> None:
    cells = 1024 * 2048 // 4
    macs = cells * 49 * 3 * 64  # stem, stride 2
    cells //= 4
    macs += 4 * cells * 9 * 64 * 64
    for channels in (128, 256, 512):
        cells //= 4
        half = channels // 2
        macs += cells * (9 * half * channels + 3 * 9 * channels * channels + half * channels)
    costs = of(backbones.build("resnet18"), (1024, 2048), outputs=None)
    assert costs.macs == macs == 75_799_461_888
    assert costs.trainable == 11_176_512


def test_fornet_as_its_page_says() -> None:
    model = presets.load("fornet_resnet101_cityscapes", load_weights=False)
    page = {  # docs/networks/fornet.md: trainable parameters, GMACs at 512x512 and 512x1024
        "resnet101": (42_500_160, 177.25, 354.49),
        "transition": (524_800, 2.15, 4.29),
        "selector": (295_297, 1.21, 2.42),
        "context": (33_088, 0.00, 0.00),
        "branch0": (66_048, 0.27, 0.54),
        "branch1": (590_336, 2.42, 4.83),
        "branch2": (1_638_912, 6.71, 13.42),
        "branch3": (3_211_776, 13.15, 26.31),
        "low": (12_384, 0.20, 0.40),
        "decoder0": (700_928, 11.48, 22.95),
        "decoder1": (590_336, 9.66, 19.33),
        "classifier": (4_883, 0.08, 0.16),
    }
    for column, width in ((1, 512), (2, 1024)):
        costs = of(model, (512, width))
        found = {part.name: (part.trainable, round(part.macs / 1e9, 2)) for part in costs.parts}
        assert found == {name: (row[0], row[column]) for name, row in page.items()}
        assert round(costs.macs / 1e9, 2) == {512: 224.57, 1024: 449.14}[width]
    assert costs.trainable == 50_168_948 and costs.parameters - costs.trainable == 109_280
    assert costs.macs == 449_143_930_880  # the example in the docstring
    assert costs.not_counted == ()


def test_scrnet_as_published() -> None:
    """137.9 G at 1024x2048 (arXiv 2412.08671), attention products included, no embedding head."""
    model = presets.load("scrnet_mscan_s_cityscapes", load_weights=False)
    costs = of(model, (1024, 2048))
    assert costs.macs / 1e9 == pytest.approx(137.9, rel=0.01)
    assert costs.trainable == 14_852_918 and costs.not_counted == ()
    parts = {part.name: part.macs for part in costs.parts}
    cells, width = 32 * 64, 512  # at stride 32, channels of CRM
    products = 2 * cells * width**2 + 2 * cells**2 * width // 2  # channels, then pairs of cells
    pointwise = cells * width * (1024 + 4 * width // 2 + 1) + cells * width // 2
    assert parts["context"] == products + pointwise
    everything = {part.name: part.macs for part in of(model, (1024, 2048), outputs=None).parts}
    assert everything.pop("embedding") == 256 * 512 * 128 * 256
    assert everything == parts


def test_presets_need_no_weights_and_mistakes_are_told() -> None:
    costs = inference.profile("fornet_mobilenet_v2_synthetic_streets", (64, 96), runs=0)
    assert costs.network == "fornet_mobilenet_v2_synthetic_streets"
    assert math.isclose(costs.macs / 1e6, sum(part.macs for part in costs.parts) / 1e6)
    with pytest.raises(ValueError, match="no preset 'nope'"):
        inference.profile("nope", (64, 96))
    model = tiny_fornet()
    with pytest.raises(ValueError, match="the height is 8"):
        of(model, (8, 64))
    with pytest.raises(ValueError, match="runs of 0 or more, got \\(12, 20\\), -1"):
        of(model, runs=-1)
    with pytest.raises(ValueError, match="expected a built functional Keras model"):
        of(keras.Sequential([layers.Dense(2)], name="unbuilt"))
    both = [keras.Input((None, None, 3)), keras.Input((None, None, 3))]
    with pytest.raises(ValueError, match="Expected a model of one image input"):
        of(keras.Model(both, layers.Add()(both)))
