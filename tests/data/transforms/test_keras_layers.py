"""Keras' and keras-cv's layers as steps: they prove that masks stay masks, or say what happened.

Images are painted from their masks, so that where a mask is uniform, the image has to have the
colour of that id.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_focusseg import data
from keras_focusseg.data.transforms import Compose, Flip, KerasAugment, augmentation
from keras_focusseg.data.transforms.layer_proof import painted
from tests.data.conftest import ArraySource, train_pair
from tests.data.feeds.test_batches import FEEDS, assert_equal, epoch

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow"
)
HAS_KERAS_CV = (
    importlib.util.find_spec("tensorflow") is not None
    and importlib.util.find_spec("keras_cv") is not None
)
needs_keras_cv = pytest.mark.skipif(not HAS_KERAS_CV, reason="needs keras-cv and TensorFlow")

IMAGE, MASK = painted((97, 131))  # of this size is the proof's own: its graph is there already
FILLED = {"fill_mode": "constant", "fill_value": 7.0}  # with the number of a class
RANGE = {"value_range": (0, 255)}
# Layer, arguments, and whether it moves image and mask.
ACCEPTED = {
    "keras.layers.RandomCrop": ((40, 48), {}, True),
    "keras.layers.RandomFlip": (("horizontal",), {}, True),
    "keras.layers.RandomPerspective": ((1.0, 0.6), {"fill_value": 7.0}, True),
    "keras.layers.RandomRotation": ((0.1,), FILLED, True),
    "keras.layers.RandomShear": ((0.3, 0.3), FILLED, True),
    "keras.layers.RandomTranslation": ((0.3, 0.3), {"fill_mode": "reflect"}, True),
    "keras.layers.RandomZoom": ((0.4,), FILLED | {"fill_value": 33.5}, True),
    "keras.layers.Resizing": ((80, 80), {"pad_to_aspect_ratio": True, "fill_value": 255.0}, True),
    "keras.layers.AutoContrast": ((), {}, False),
    "keras.layers.RandomColorJitter": (((0, 255), 0.3, 0.3, 0.3, 0.1), {}, False),
    "keras.layers.RandomErasing": ((1.0,), {}, False),
    "keras.layers.RandomGaussianBlur": ((1.0, 5, (0.9, 1.0)), {}, False),
    "keras.layers.RandomInvert": ((1.0,), {}, False),
    "keras_cv.layers.JitteredResize": (((50, 60), (0.5, 1.0)), {}, True),
    "keras_cv.layers.RandomShear": ((0.4, 0.4), FILLED, True),
    "keras_cv.layers.RandomZoom": ((0.4,), FILLED, True),
    "keras_cv.layers.GridMask": ((), {}, False),
    "keras_cv.layers.Posterization": ((), {"bits": 3, **RANGE}, False),
    "keras_cv.layers.RandomColorJitter": (((0, 255), 0.3, 0.3, 0.3, 0.1), {}, False),
    "keras_cv.layers.RandomCutout": ((0.4, 0.4), {}, False),
}
REFUSED = {
    "keras.layers.AugMix": ((), {}, "damages masks: .* was not in the mask before"),
    "keras.layers.CutMix": ((), {}, "changed nothing in 40 runs. .* data.CutMix and data.ClassMix"),
    "keras.layers.RandomBrightness": ((0.1, (0, 1)), {}, r"loses the picture.*=\(0, 255\)"),
    "keras.layers.Rescaling": ((1 / 255,), {}, "fails on an image of 97 x 131 .*: TypeError: "),
    "keras_cv.layers.Grayscale": ((1,), {}, r"made an image \(97, 131, 1\) and a mask"),
    "keras_cv.layers.RandomRotation": ((0.1,), {"segmentation_classes": 256}, "loses the mask"),
    "keras_cv.layers.Rescaling": ((1 / 255,), {}, "loses the picture"),
}


def layer(name: str, *arguments, **options) -> keras.Layer:
    """A layer by its public name."""
    module, kind = name.rsplit(".", 1)
    return getattr(importlib.import_module(module), kind)(*arguments, **options)


def accepted(name: str) -> keras.Layer:
    arguments, options, _ = ACCEPTED[name]
    return layer(name, *arguments, **options)


def cases(names):
    """The names, those of keras-cv only where it is."""
    return [
        pytest.param(name, marks=[needs_keras_cv] * name.startswith("keras_cv"), id=name)
        for name in names
    ]


def apply(augment, seeds):
    return [augment(IMAGE, MASK, np.random.default_rng(seed)) for seed in seeds]


def assert_aligned(image: np.ndarray, mask: np.ndarray) -> None:
    """Where the 5x5 pixels around have one id, no interpolation has blended its colour."""
    colors = np.zeros((256, 3), int)
    colors[MASK] = IMAGE
    windows = np.lib.stride_tricks.sliding_window_view(mask.astype(int), (5, 5))
    inside = (windows.min(axis=(2, 3)) == windows.max(axis=(2, 3))) & (mask[2:-2, 2:-2] != 255)
    error = np.abs(image[2:-2, 2:-2].astype(int) - colors[mask[2:-2, 2:-2]])[inside].max(axis=-1)
    assert inside.sum() > 50 and (error <= 1).mean() > 0.99


@needs_tensorflow
@pytest.mark.parametrize("name", cases(ACCEPTED))
def test_what_proves_itself(name):
    augment, moves = KerasAugment(accepted(name)), ACCEPTED[name][2]
    results = apply(augment, range(8))
    filled = 0
    for image, mask in results:
        assert image.dtype == mask.dtype == np.uint8 and image.shape == (*mask.shape, 3)
        assert augment.crop_size in (None, mask.shape)
        assert set(np.unique(mask)) <= set(np.unique(MASK)) | {255}
        if moves:
            assert_aligned(image, mask)
            fill = ACCEPTED[name][1].get("fill_value")
            if fill is not None:  # no painted colour is grey
                new = (image == round(fill)).all(axis=-1)
                assert (mask[new] == 255).all()
                filled += int(new.sum())
    assert any(mask.shape != MASK.shape or (mask != MASK).any() for _, mask in results) == moves
    assert filled > 0 or "fill_value" not in ACCEPTED[name][1]

    # The same again in another order, by another object, and after a way through JSON.
    assert_equal(results, apply(augment, reversed(range(8)))[::-1])
    config = json.loads(json.dumps(augment.to_config()))
    other = KerasAugment.from_config(config)
    assert json.loads(json.dumps(other.to_config())) == config
    assert_equal(apply(other, [4, 1]), [results[4], results[1]])


@pytest.mark.parametrize("name", cases(REFUSED))
@needs_tensorflow
def test_what_does_not(name):
    arguments, options, message = REFUSED[name]
    kind = name.rsplit(".", 1)[1]
    with pytest.raises(ValueError, match=f"(?s)^{name.split('.')[0]}.{kind} {message}"):
        KerasAugment(layer(name, *arguments, **options))


@needs_tensorflow
class TestLayersOfYourOwn:
    """Nobody has listed these."""

    class Halving(keras.layers.RandomFlip):
        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks * 0.5 + 500

    class Renumbering(keras.layers.RandomFlip):
        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks + 20.0

    class FlippingTheImageAlone(keras.layers.RandomFlip):
        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks

    class Slipping(keras.layers.RandomFlip):
        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            import tensorflow as tf

            moved = super().transform_segmentation_masks(segmentation_masks, *args, **kwargs)
            return tf.roll(moved, 4, axis=-2)

    class Cropping(keras.layers.RandomFlip):
        def transform_images(self, images, *args, **kwargs):
            return images[:, 2:]

        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks

    class Dicing(keras.layers.RandomFlip):
        def transform_images(self, images, *args, **kwargs):
            import tensorflow as tf

            return images + 20 * tf.random.uniform(())

        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks

    class Failing(keras.layers.RandomFlip):
        def transform_images(self, images, *args, **kwargs):
            raise RuntimeError("no luck")

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (Halving, r"damages masks: \d+\.5 \(\d+ of 12707 pixels\) was not in the mask before"),
            (Renumbering, r"damages masks: \d+ \(\d+ of 12707 pixels\)"),
            (
                FlippingTheImageAlone,
                r"moves image and mask apart: .* \d+% show its colour and \d+%",
            ),
            (Slipping, "moves image and mask apart"),
            (Cropping, r"made an image \(95, 131, 3\) and a mask \(97, 131, 1\)"),
            (Dicing, "cannot be repeated: the same seed gave two results"),
            (Failing, "fails on an image of 97 x 131 .*RuntimeError: .*no luck"),
        ],
    )
    def test_it_says_what_happened(self, kind, message):
        with pytest.raises(ValueError, match=rf"(?s)tests\.{kind.__name__} {message}"):
            KerasAugment(kind("horizontal"))


@needs_tensorflow
@pytest.mark.parametrize(
    "name", cases(["keras.layers.RandomShear", "keras_cv.layers.RandomColorJitter"])
)
def test_threads_do_not_disturb_each_other(name):
    augment, seeds = KerasAugment(accepted(name)), range(12)
    expected = apply(KerasAugment(accepted(name)), seeds)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: apply(augment, [seed])[0], seeds))
    assert_equal(results, expected)


@needs_tensorflow
@pytest.mark.parametrize("name", cases(["keras.layers.RandomZoom", "keras_cv.layers.RandomZoom"]))
def test_the_policy_of_the_model_does_not_matter(name, mixed_precision):
    kept = KerasAugment(accepted(name))  # made, as its copies are, under the mixed policy
    results = apply(kept, range(4))
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    keras.config.set_dtype_policy("float32")
    assert_equal(apply(KerasAugment(accepted(name)), range(4)), results)


@needs_keras_cv
def test_groups_do_what_the_layers_inside_do():
    inside = [
        layer("keras_cv.layers.RandomFlip"),
        layer("keras_cv.layers.RandomZoom", 0.3, **FILLED),
        layer("keras_cv.layers.RandomShear", 0.3, 0.3, fill_mode="constant", fill_value=30.0),
    ]
    for image, mask in apply(KerasAugment(layer("keras_cv.layers.RandomChoice", inside)), range(6)):
        assert_aligned(image, mask)


@needs_tensorflow
def test_layers_one_after_the_other_may_fill_with_different_values():
    zooms = [
        keras.layers.RandomZoom((0.2, 0.3), fill_mode="constant", fill_value=value)
        for value in (0.0, 9.0)
    ]
    for augment in (KerasAugment(zooms), KerasAugment(keras.layers.Pipeline(zooms))):
        for image, mask in apply(augment, range(3)):
            assert_aligned(image, mask)
            new = (image == 0).all(axis=-1) | (image == 9).all(axis=-1)
            assert new.any() and (mask[new] == 255).all()


def test_what_is_no_layer():
    with pytest.raises(TypeError, match="must be Keras layers, got .*function"):
        KerasAugment(lambda image, mask, rng: (image, mask))
    with pytest.raises(ValueError, match="at least one layer"):
        KerasAugment([])


@needs_tensorflow
def test_a_crop_larger_than_the_image_is_no_harm_to_masks():
    augment = KerasAugment(layer("keras.layers.RandomCrop", 80, 24))
    assert augment.crop_size == (80, 24)
    with pytest.raises(ValueError, match=r"RandomCrop damages masks: .*crop first with data.Scale"):
        augment(*painted((60, 84)), np.random.default_rng(0))


@needs_tensorflow
def test_images_of_many_sizes():
    augment = KerasAugment(accepted("keras.layers.RandomZoom"))
    expected = augment(*painted((20, 30)), np.random.default_rng(0))
    for side in range(20, 40):  # more than are kept
        image, mask = augment(*painted((side, 30)), np.random.default_rng(0))
        assert image.shape == (side, 30, 3) and mask.shape == (side, 30)
    assert_equal([expected], [augment(*painted((20, 30)), np.random.default_rng(0))])


@needs_tensorflow
def test_the_size_of_the_result():
    crop, flip = keras.layers.RandomCrop(20, 24), keras.layers.RandomFlip()
    assert KerasAugment(flip).crop_size is None
    assert KerasAugment([crop, flip]).crop_size == (20, 24)
    assert KerasAugment([crop, keras.layers.Resizing(200, 9), flip]).crop_size == (200, 9)
    assert KerasAugment(keras.layers.Pipeline([flip, crop])).crop_size == (20, 24)


@pytest.mark.each_backend
@needs_tensorflow
def test_beside_our_own_in_every_feed():
    source = ArraySource(6, lambda index: train_pair(index, 36, 48))
    ours = data.Augment(crop_size=(28, 32), rotate=10.0)
    augment = Compose([ours, KerasAugment([accepted("keras.layers.RandomShear")]), ours])
    results = [
        epoch(data.batches(source, 3, augment, shuffle=True, seed=5, feed=feed, workers=3))
        for feed in FEEDS
    ]
    assert results[0][0][0].shape == (3, 28, 32, 3)
    for result in results[1:]:
        assert_equal(result, results[0])


@needs_tensorflow
def test_in_the_config_of_a_policy_and_in_a_pickle():
    augment = Compose([Flip(), KerasAugment(accepted("keras.layers.RandomShear"))])
    config = json.loads(json.dumps(augment.to_config()))
    expected = apply(augment, range(2))
    for again in (augmentation(config), pickle.loads(pickle.dumps(augment))):
        assert again.to_config() == augment.to_config()
        assert isinstance(again.steps[1], KerasAugment)
        assert_equal(apply(again, range(2)), expected)
