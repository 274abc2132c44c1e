"""MobileNetV2: parity with Keras Applications, and the calibration of folded weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import backbones
from keras_focusseg.backbones.mobilenet_v2 import MobileNetV2, conv_norm_names
from tests.backbones import references
from tests.testers import randomize_weights, to_numpy

# Last layer of each level in Keras Applications.
STAGES = {
    "P2": "block_2_add",
    "P3": "block_5_add",
    "P4": "block_12_add",
    "P5": "block_16_project_BN",
}


def keras_applications(alpha: float, height: int, width: int) -> keras.Model:
    source = keras.applications.MobileNetV2(
        input_shape=(height, width, 3), alpha=alpha, include_top=False, weights=None
    )
    references.randomize_norms(source)
    return source


@pytest.mark.parametrize(("alpha", "height", "width"), [(1.0, 64, 96), (0.35, 97, 131)])
def test_parity_with_keras_applications(
    alpha: float, height: int, width: int, tmp_path: Path
) -> None:
    source = keras_applications(alpha, height, width)
    # The older of the two .h5 formats: the one of the files that Keras Applications offers.
    source.save(tmp_path / "mobilenet_v2_no_top.h5")
    model = backbones.build(
        "mobilenet_v2",
        weights=tmp_path / "mobilenet_v2_no_top.h5",
        alpha=alpha,
        include_top_conv=True,
    )
    images = references.noise(height, width)
    outputs = {level: source.get_layer(name).output for level, name in STAGES.items()}
    outputs["P5"] = source.output
    expected = references.run(keras.Model(source.input, outputs), images / 127.5 - 1)
    references.assert_close(references.run(model, images), expected)


def test_pyramid_ends_with_the_last_block_by_default() -> None:
    source = keras_applications(0.35, 64, 64)
    model = MobileNetV2(alpha=0.35, include_rescaling=False)
    backbones.mobilenet_v2.copy_keras_applications_weights(model, source)
    images = references.noise(64, 64) / 127.5 - 1
    outputs = {level: source.get_layer(name).output for level, name in STAGES.items()}
    expected = references.run(keras.Model(source.input, outputs), images)
    references.assert_close(references.run(model, images), expected)


def test_channels_and_strides() -> None:
    model = MobileNetV2(output_stride=16)
    assert model.pyramid_channels == {"P2": 24, "P3": 32, "P4": 96, "P5": 320}
    assert model.pyramid_strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 16}
    dilations = [
        layer.dilation_rate[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.DepthwiseConv2D)
    ]
    assert dilations == [1] * 14 + [2] * 3


@pytest.mark.parametrize("output_stride", [16, 8])
def test_dilated_network_reads_as_the_strided_one(output_stride: int) -> None:
    # TensorFlow's padding puts a strided layer on the even positions of odd sizes only; these
    # sizes stay odd down to the last stride.
    images = references.noise(65, 97)
    strided = MobileNetV2(alpha=0.35)
    references.randomize_norms(strided)
    dilated = MobileNetV2(alpha=0.35, output_stride=output_stride)
    references.assert_dilated_reads_as_strided(strided, dilated, images)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    source = keras_applications(0.5, 32, 32)
    model = MobileNetV2(alpha=0.35)
    with pytest.raises(ValueError, match="block_1_project .*is its width multiplier alpha 0.35"):
        backbones.mobilenet_v2.copy_keras_applications_weights(model, source)
    source.save(tmp_path / "other.h5")
    with pytest.raises(ValueError, match="other.h5 is not a .* with alpha 0.35"):
        backbones.load_weights(model, tmp_path / "other.h5")
    with pytest.raises(ValueError, match="layers missing .*'Conv1'"):
        backbones.mobilenet_v2.copy_keras_applications_weights(
            model, keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        )


def test_no_network_and_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(**options: object) -> None:
        raise Exception("URL fetch failure")

    with pytest.raises(FileNotFoundError, match="absent.h5"):
        backbones.build("mobilenet_v2", weights="absent.h5", alpha=0.35)
    monkeypatch.setattr(keras.applications, "MobileNetV2", download)
    with pytest.raises(ConnectionError, match="no_top.h5 file instead.*URL fetch failure"):
        backbones.build("mobilenet_v2", weights="imagenet", alpha=0.35)


# From here on: convolutions with folded batch norm.


def folded_arrays(alpha: float = 0.35, seed: int = 3) -> dict[str, np.ndarray]:
    """Random folded convolutions, named as such files name them."""
    rng = np.random.default_rng(seed)
    model = MobileNetV2(alpha=alpha, include_top_conv=True)
    arrays = {}
    for position, (conv_name, _) in enumerate(conv_norm_names(include_top_conv=True)):
        conv = model.get_layer(conv_name)
        depthwise = isinstance(conv, keras.layers.DepthwiseConv2D)
        shape = tuple(conv.kernel.shape)
        fan_in = shape[0] * shape[1] * (1 if depthwise else shape[2])
        name = f"{position:02d}_{'dw' if depthwise else 'conv'}_s{conv.strides[0]}"
        name += "" if conv_name.endswith("project") else "_relu6"
        kernel = rng.normal(0, 1 / np.sqrt(fan_in), shape)
        # Channels of very different sizes, as folding leaves them; on the whole they shrink, or
        # sixteen residual blocks of random numbers would blow rounding errors up.
        kernel *= rng.uniform(0.1, 1.5, shape[2:4] if depthwise else shape[3])
        arrays[f"{name}/kernel"] = kernel.astype("float16")
        channels = shape[2] if depthwise else shape[3]
        arrays[f"{name}/bias"] = rng.normal(0.3, 0.5, channels).astype("float16")
    return arrays


def neutral(arrays: dict[str, np.ndarray], **options: object) -> MobileNetV2:
    """The folded network as it is: norm layers that do nothing but add the bias."""
    model = MobileNetV2(**options)
    values = list(arrays.values())
    pairs = conv_norm_names(model.include_top_conv)
    for (conv, norm), kernel, bias in zip(pairs, values[::2], values[1::2], strict=False):
        ones = np.ones(bias.shape, "float32")
        model.get_layer(conv).set_weights([kernel.astype("float32")])
        model.get_layer(norm).set_weights([ones, bias.astype("float32"), 0 * ones, ones - 1e-3])
    return model


class InTrainingMode(keras.Model):
    def __init__(self, inner: keras.Model) -> None:
        super().__init__()
        self.inner = inner

    def call(self, x: Any) -> Any:
        return self.inner(x, training=True)


def training_mode(model: keras.Model, images: np.ndarray) -> references.Arrays:
    """Outputs with the statistics of the batch; compiled, since eager JAX is slow."""
    before = model.get_weights()
    outputs = InTrainingMode(model).predict(images, batch_size=len(images), verbose=0)
    model.set_weights(before)
    return outputs


def test_calibration_keeps_the_function_and_makes_it_trainable(tmp_path: Path) -> None:
    arrays = folded_arrays()
    np.savez(tmp_path / "folded.npz", **arrays)
    images = references.noise(48, 64, batch=6)
    model = backbones.build(
        "mobilenet_v2",
        weights=tmp_path / "folded.npz",
        calibration_images=lambda: images.astype("uint8"),  # asked for once they are needed
        output_stride=16,
        alpha=0.35,
    )
    images = np.floor(images)
    other = references.noise(40, 56, batch=2, seed=1)
    reference = neutral(arrays, output_stride=16, alpha=0.35)
    references.assert_close(references.run(model, other), references.run(reference, other), 1e-3)

    expected = references.run(model, images)
    references.assert_close(training_mode(model, images), expected, 1e-3)
    # What calibration is for: without it, training mode is another network.
    spoilt = training_mode(reference, images)["P5"]
    assert np.abs(spoilt - expected["P5"]).max() > 0.1 * np.abs(expected["P5"]).max()


def test_calibration_leaves_gates_out(tmp_path: Path) -> None:
    """What gates add is not in the file: norms measured through them would keep it for good."""
    np.savez(tmp_path / "folded.npz", **folded_arrays())
    images = references.noise(32, 32, batch=3)
    weights = []
    for gated in (False, True):
        model = MobileNetV2(alpha=0.35, attention_boosting=gated)
        backbones.load_mobilenet_v2_folded(model, tmp_path / "folded.npz", images)
        weights.append(model.get_weights())
    for plain, gated in zip(*weights, strict=True):
        np.testing.assert_allclose(gated, plain, rtol=1e-6, atol=1e-6)


def test_calibration_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    np.savez(tmp_path / "folded.npz", **folded_arrays())
    images = references.noise(32, 32, batch=5)
    images[0] *= 0.1
    weights = []
    for batch_size in (2, 5):
        model = MobileNetV2(alpha=0.35, include_top_conv=True)
        backbones.load_mobilenet_v2_folded(model, tmp_path / "folded.npz", images, batch_size)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_folded_files_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "folded.npz"
    arrays = folded_arrays()
    images = references.noise(32, 32)
    model = MobileNetV2(alpha=0.35)
    before = model.get_weights()

    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="pass calibration_images"):
        backbones.load_weights(model, path)
    with pytest.raises(ValueError, match=r"received shape \(32, 32, 3\)"):
        backbones.load_weights(model, path, calibration_images=images[0])
    with pytest.raises(ValueError, match="images hold values that are not finite"):
        backbones.load_weights(model, path, calibration_images=images * np.nan)
    with pytest.raises(ValueError, match="of another shape: 00_conv_s2_relu6/kernel"):
        backbones.build("mobilenet_v2", weights=path, calibration_images=images)
    np.savez(path, **{k: v for k, v in arrays.items() if k != "07_dw_s1_relu6/bias"})
    with pytest.raises(ValueError, match="missing: 07"):
        backbones.load_weights(model, path, calibration_images=images)
    np.savez(path, **arrays, **{"52_conv_s1/kernel": np.zeros(3), "fc": np.zeros(3)})
    with pytest.raises(ValueError, match="left over: fc, 52_conv_s1/kernel"):
        backbones.load_weights(model, path, calibration_images=images)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.shared
def test_real_weights_start_training_where_inference_stands(shared_dir: Path) -> None:
    from PIL import Image

    frames = sorted((shared_dir / "data" / "camvid" / "train").glob("*.png"))[::40][:8]
    images = np.stack([np.asarray(Image.open(f).convert("RGB").resize((160, 120))) for f in frames])
    path = shared_dir / "weights" / "mobilenet_v2_imagenet_notop_f16.npz"
    model = backbones.build("mobilenet_v2", weights=path, calibration_images=images)

    with np.load(path) as archive:
        reference = neutral(dict(archive))
    odd = images[:1, :97, :131]
    references.assert_close(references.run(model, odd), references.run(reference, odd), 1e-3)
    references.assert_close(training_mode(model, images), references.run(model, images), 1e-3)


def test_eager_call_takes_uint8_and_float() -> None:
    model = MobileNetV2(alpha=0.35)
    randomize_weights(model)
    images = references.noise(33, 40).astype("uint8")
    from_bytes, from_floats = to_numpy(model(images)), to_numpy(model(images.astype("float32")))
    references.assert_close(from_bytes, from_floats, 1e-6)


def test_the_pyramid_feeds_tasks_of_keras_hub():
    """Which ask for `pyramid_outputs`, symbolic tensors from the backbone's own input."""
    backbone = MobileNetV2(alpha=0.35)
    assert list(backbone.pyramid_outputs) == ["P2", "P3", "P4", "P5"]
    head = keras.layers.Conv2D(3, 1)(backbone.pyramid_outputs["P5"])
    assert keras.Model(backbone.input, head).compute_output_shape((1, 64, 96, 3)) == (1, 2, 3, 3)
