"""MobileNet-EdgeTPU: parity with an independent network, both choices of features, its reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keras_focusseg import backbones
from keras_focusseg.backbones import MobileNetEdgeTPU
from tests.backbones import references


@pytest.fixture(scope="module")
def arrays() -> references.Arrays:
    return references.edgetpu_arrays()


@pytest.mark.parametrize(
    ("features", "output_stride", "last_stride", "height", "width"),
    [("wide", 16, 32, 64, 81), ("stages", 32, 32, 97, 66), ("wide", 16, 16, 97, 66)],
)
def test_parity_with_an_independent_network(
    features: str,
    output_stride: int,
    last_stride: int,
    height: int,
    width: int,
    arrays: references.Arrays,
    tmp_path: Path,
) -> None:
    np.savez(tmp_path / "folded.npz", **arrays)
    model = backbones.build(
        "mobilenet_edgetpu",
        weights=tmp_path / "folded.npz",
        calibration_images=references.noise(48, 64, batch=2, seed=1),
        features=features,
        output_stride=output_stride,
        last_stride=last_stride,
    )
    images = references.noise(height, width)
    pyramids = references.torch_edgetpu(arrays, images, output_stride)
    expected = pyramids[features if last_stride == 32 else f"small {features}"]
    references.assert_close(references.run(model, images), expected)


def test_channels_strides_and_parameters() -> None:
    wide = MobileNetEdgeTPU()
    assert wide.pyramid_channels == {"P2": 24, "P3": 320, "P4": 576, "P5": 1280}
    assert wide.pyramid_strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 16}
    stages = backbones.build("mobilenet_edgetpu_stages", output_stride=32)
    assert stages.pyramid_channels == {"P2": 24, "P3": 40, "P4": 72, "P5": 144}
    trainable = [references.trainable_parameters(x) for x in (stages, wide)]
    # `Conv_1` is the difference: 144 x 1280 and two numbers a channel.
    assert trainable == [1_520_280, 1_520_280 + 144 * 1280 + 2 * 1280]
    with pytest.raises(ValueError, match=r"features must be one of \('wide', 'stages'\)"):
        MobileNetEdgeTPU(features="narrow")


def test_the_small_form() -> None:
    small = backbones.build("mobilenet_edgetpu_small")
    assert small.pyramid_channels == {"P2": 24, "P3": 320, "P4": 72, "P5": 288}
    assert small.pyramid_strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 16}
    assert references.trainable_parameters(small) == 714_408
    stages = backbones.build("mobilenet_edgetpu_small", features="stages")
    assert stages.pyramid_channels == {"P2": 24, "P3": 40, "P4": 72, "P5": 72}
    # The expansion of the 16th block is the difference.
    assert references.trainable_parameters(stages) == 714_408 - 72 * 288 - 2 * 288
    gated = backbones.build("mobilenet_edgetpu_small", attention_boosting=True)
    assert {f"boost{n}" for n in range(1, 6)} < set(gated.output)
    with pytest.raises(ValueError, match="at most last_stride=16, received 32"):
        backbones.build("mobilenet_edgetpu_small", output_stride=32)
    with pytest.raises(ValueError, match="last_stride must be 32 or 16, received 8"):
        MobileNetEdgeTPU(last_stride=8)


def test_dilated_network_reads_as_the_strided_one() -> None:
    # A depthwise convolution of 5x5 at stride 2 sits on the even positions of odd sizes.
    strided = MobileNetEdgeTPU(features="stages", output_stride=32)
    references.randomize_norms(strided)
    dilated = MobileNetEdgeTPU(features="stages", output_stride=8)
    references.assert_dilated_reads_as_strided(strided, dilated, references.noise(65, 97))


def test_files_that_do_not_fit(arrays: references.Arrays, tmp_path: Path) -> None:
    path = tmp_path / "folded.npz"
    images = references.noise(32, 32)
    model = MobileNetEdgeTPU()
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="pass calibration_images"):
        backbones.load_weights(model, path)
    with pytest.raises(ValueError, match="an .npz file; received 'imagenet'"):
        backbones.load_weights(model, "imagenet", calibration_images=images)
    np.savez(path, **{k: v for k, v in arrays.items() if k != "39_expanded_conv_16_expand/bias"})
    small = backbones.build("mobilenet_edgetpu_small")
    with pytest.raises(ValueError, match=r"small'.* missing: 39 \(expanded_conv_16_expand\)"):
        backbones.load_weights(small, path, calibration_images=images)
    np.savez(path, **{k: v for k, v in arrays.items() if k != "57_Conv_1/bias"})
    with pytest.raises(ValueError, match=r"'mobilenet_edgetpu'.* missing: 57 \(Conv_1\)"):
        backbones.load_weights(model, path, calibration_images=images)


def test_files_that_are_damaged(arrays: references.Arrays, tmp_path: Path) -> None:
    path, images = tmp_path / "folded.npz", references.noise(32, 32)
    model = MobileNetEdgeTPU()
    before = model.get_weights()
    with pytest.raises(FileNotFoundError, match=r"No weights file at .*folded.npz"):
        backbones.load_weights(model, path, calibration_images=images)
    np.savez_compressed(path, **arrays)
    whole = path.read_bytes()
    in_the_middle = whole[:2000] + bytes(500) + whole[2500:]
    np.save(tmp_path / "one.npy", np.zeros(3))
    single = (tmp_path / "one.npy").read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], in_the_middle, single):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"folded.npz is not a whole .npz file of numbers"):
            backbones.load_weights(model, path, calibration_images=images)
    kernel = "39_expanded_conv_16_expand/kernel"
    for changed, message in (
        ({kernel: np.array(["text"])}, "is not a whole .npz file of numbers"),
        ({kernel: arrays[kernel] * np.nan}, "not finite: expanded_conv_16_expand\\.$"),
        ({"39_another/kernel": arrays[kernel]}, "left over: 39_another/kernel\\.$"),
    ):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(ValueError, match=message):
            backbones.load_weights(model, path, calibration_images=images)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.shared
@pytest.mark.parametrize(("last_stride", "pyramid"), [(32, "wide"), (16, "small wide")])
def test_real_weights(shared_dir: Path, last_stride: int, pyramid: str) -> None:
    from PIL import Image

    frames = sorted((shared_dir / "data" / "camvid" / "train").glob("*.png"))[::90]
    images = np.stack([np.asarray(Image.open(f).convert("RGB").resize((160, 120))) for f in frames])
    images = images.astype("float32")
    path = shared_dir / "weights" / "mobilenet_edgetpu_slim_cityscapes.npz"
    model = backbones.build(
        "mobilenet_edgetpu", weights=path, calibration_images=images, last_stride=last_stride
    )
    with np.load(path) as archive:
        expected = references.torch_edgetpu(dict(archive), images[:1], 16)[pyramid]
    references.assert_close(references.run(model, images[:1]), expected)
