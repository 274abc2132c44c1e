"""Keras' and keras-cv's layers in the pipeline: masks stay ids, new area is ignored, or a reason.

Images are painted from their masks, so that where a mask is uniform, the image has to have the
colour of that id.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_focusseg import data
from keras_focusseg.data.transforms import Compose, Flip, augmentation
from keras_focusseg.data.transforms.keras_layers import LAYERS, KerasAugment
from tests.conftest import REPOSITORY
from tests.data.conftest import ArraySource
from tests.data.feeds.test_batches import assert_equal, epoch, run_python

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow"
)
HAS_KERAS_CV = (
    importlib.util.find_spec("tensorflow") is not None
    and importlib.util.find_spec("keras_cv") is not None
)
needs_keras_cv = pytest.mark.skipif(not HAS_KERAS_CV, reason="needs keras-cv and TensorFlow")

HEIGHT, WIDTH = 36, 48
# Distinct, far from black and white, and no id has the colours that the layers fill with.
COLOURS = np.stack(
    [(np.arange(256) * step + 60) % 160 + 40 for step in (67, 131, 29)], axis=-1
).astype("uint8")
CONSTANT = {"fill_mode": "constant"}
RANGE = {"value_range": (0, 255)}


def painted(seed: int = 0, height: int = HEIGHT, width: int = WIDTH):
    """A mask of blocks with ids 0..10 and 255, and the image painted from it."""
    rng = np.random.default_rng(seed)
    blocks = rng.permutation(np.arange(-(-height // 12) * -(-width // 12)) % 12)
    mask = np.kron(blocks.reshape(-(-height // 12), -1), np.ones((12, 12), int))[:height, :width]
    mask = np.where(mask == 11, 255, mask).astype("uint8")
    return COLOURS[mask], mask


def layer(name: str, *arguments, **options) -> keras.Layer:
    """A layer by its name in the table."""
    library, _, kind = name.split(".")
    return getattr(importlib.import_module(f"{library}.layers"), kind)(*arguments, **options)


def nested(name: str, *arguments, **options) -> keras.Layer:
    """A group around a flip and a zoom of the same library."""
    prefix = name.rsplit(".", 1)[0]
    inside = [layer(f"{prefix}.RandomFlip"), layer(f"{prefix}.RandomZoom", 0.3, **CONSTANT)]
    return layer(name, inside, *arguments, **options)


FILLED = {"fill_value": 7.0, **CONSTANT}  # with the number of a class
ACCEPTED = {
    "keras.layers.CenterCrop": (20, 24),
    "keras.layers.RandomCrop": (20, 24),
    "keras.layers.RandomFlip": ("horizontal",),
    "keras.layers.RandomPerspective": (1.0, 0.6, FILLED | {"fill_mode": None}),
    "keras.layers.RandomRotation": (0.1, FILLED),
    "keras.layers.RandomShear": (0.3, 0.3, FILLED),
    "keras.layers.RandomTranslation": (0.3, 0.3, FILLED),
    "keras.layers.RandomZoom": (0.4, FILLED | {"fill_value": 33.5}),
    "keras.layers.Resizing": (36, 36, {"pad_to_aspect_ratio": True, "fill_value": 255.0}),
    "keras.layers.AutoContrast": (),
    "keras.layers.Equalization": (),
    "keras.layers.RandomBrightness": (0.4,),
    "keras.layers.RandomColorDegeneration": (0.8,),
    "keras.layers.RandomColorJitter": ((0, 255), 0.3, 0.3, 0.3, 0.1),
    "keras.layers.RandomContrast": (0.4,),
    "keras.layers.RandomGaussianBlur": (1.0, 5, (0.9, 1.0)),
    "keras.layers.RandomHue": (0.3,),
    "keras.layers.RandomInvert": (1.0,),
    "keras.layers.RandomPosterization": (3,),
    "keras.layers.RandomSaturation": (0.4,),
    "keras.layers.RandomSharpness": (0.8,),
    "keras.layers.Solarization": (0.3, 0.3),
    "keras.layers.RandomErasing": (1.0,),
    "keras.layers.Pipeline": (),
    "keras.layers.RandAugment": ({"factor": 0.8},),
    "keras_cv.layers.JitteredResize": ((30, 40), (0.5, 1.0)),
    "keras_cv.layers.RandomCropAndResize": ((30, 40), (0.3, 1.0), (0.8, 1.2)),
    "keras_cv.layers.RandomFlip": ("horizontal",),
    "keras_cv.layers.RandomRotation": (0.1, FILLED | {"segmentation_classes": 256}),
    "keras_cv.layers.RandomShear": (0.4, 0.4, FILLED),
    "keras_cv.layers.RandomTranslation": (0.3, 0.3, FILLED),
    "keras_cv.layers.RandomZoom": (0.4, FILLED),
    "keras_cv.layers.Resizing": (36, 36, {"pad_to_aspect_ratio": True}),
    "keras_cv.layers.AutoContrast": (RANGE,),
    "keras_cv.layers.ChannelShuffle": (3,),
    "keras_cv.layers.Equalization": (RANGE,),
    "keras_cv.layers.Grayscale": (3,),
    "keras_cv.layers.Posterization": ({"bits": 3, **RANGE},),
    "keras_cv.layers.RandomBrightness": (0.4, RANGE),
    "keras_cv.layers.RandomChannelShift": ((0, 255), 0.4),
    "keras_cv.layers.RandomColorDegeneration": (0.8,),
    "keras_cv.layers.RandomColorJitter": ((0, 255), 0.3, 0.3, 0.3, 0.1),
    "keras_cv.layers.RandomContrast": ((0, 255), 0.4),
    "keras_cv.layers.RandomGaussianBlur": (5, (0.5, 1.0)),
    "keras_cv.layers.RandomHue": (0.3, (0, 255)),
    "keras_cv.layers.RandomSaturation": (0.4,),
    "keras_cv.layers.RandomSharpness": (0.8, (0, 255)),
    "keras_cv.layers.Solarization": ((0, 255), 10.0, 100.0),
    "keras_cv.layers.GridMask": (),
    "keras_cv.layers.RandomCutout": (0.4, 0.4),
    "keras_cv.layers.RandAugment": ((0, 255),),
    "keras_cv.layers.RandomAugmentationPipeline": (1,),
    "keras_cv.layers.RandomChoice": (),
}
# Colours that the layers of the table above paint new area with.
FILLS = ([0, 0, 0], [7, 7, 7], [255, 255, 255], [34, 34, 34])
SLOW_ON_JAX = ("keras.layers.Equalization", "keras.layers.RandAugment")
DETERMINISTIC = (
    "CenterCrop",
    "Resizing",
    "AutoContrast",
    "Equalization",
    "Grayscale",
    "Posterization",
)


def accepted(name: str) -> keras.Layer:
    arguments = list(ACCEPTED[name])
    options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    options = {key: value for key, value in options.items() if value is not None}
    if LAYERS[name].kind == "group" and not name.endswith("RandAugment"):
        return nested(name, *arguments, **options)
    return layer(name, *arguments, **options)


def cases(names):
    """The names, those of keras-cv only where it is."""
    return [
        pytest.param(name, marks=[needs_keras_cv] * name.startswith("keras_cv"), id=name)
        for name in names
    ]


def apply(augment, seeds):
    image, mask = painted()
    return [augment(image, mask, np.random.default_rng(seed)) for seed in seeds]


def uniform(mask: np.ndarray) -> np.ndarray:
    """Where the 5x5 pixels around have one id: no interpolation has blended colours there."""
    padded = np.pad(mask.astype(int), 2, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return windows.min(axis=(2, 3)) == windows.max(axis=(2, 3))


@needs_tensorflow
@pytest.mark.parametrize("name", cases(ACCEPTED))
def test_what_is_accepted(name):
    if name in SLOW_ON_JAX and keras.backend.backend() == "jax":
        pytest.skip("Keras counts its histograms in a loop there, which takes seconds to trace")
    augment = KerasAugment(accepted(name))
    image, mask = painted()
    read_only = image.copy(), mask.copy()
    results = apply(augment, range(16))
    np.testing.assert_array_equal(image, read_only[0])
    np.testing.assert_array_equal(mask, read_only[1])
    for new_image, new_mask in results:
        assert new_image.dtype == new_mask.dtype == np.uint8
        assert new_image.shape == (*new_mask.shape, 3)
        assert augment.crop_size in (None, new_mask.shape)
        assert set(np.unique(new_mask)) <= set(np.unique(mask)) | {255}
    changed = [
        image.shape != new_image.shape or (image != new_image).any() for new_image, _ in results
    ]
    assert any(changed)
    moved = [new.shape != mask.shape or (new != mask).any() for _, new in results]
    kind = LAYERS[name].kind
    if kind in ("colour", "erase"):
        assert not any(moved)
        for new_image, _ in results:  # still a picture of the same things
            grey, new_grey = (np.unique(mask, return_inverse=True)[1].ravel(), new_image.mean(-1))
            means = np.bincount(grey, new_grey.ravel()) / np.bincount(grey)
            assert means.std() > 5
    else:
        assert any(moved)
    if kind == "erase":
        shares = [(new_image != image).any(axis=-1).mean() for new_image, _ in results]
        assert 0 < max(shares) < 0.9
    if kind == "geometry" or name.endswith(("Pipeline", "Choice")):
        self_coloured, new = 0, 0
        for new_image, new_mask in results:
            filled = np.any([(new_image == colour).all(axis=-1) for colour in FILLS], axis=0)
            assert not filled.any() or (new_mask[filled] == 255).mean() > 0.99
            new += filled.sum()
            inside = uniform(new_mask) & (new_mask != 255)
            error = np.abs(new_image[inside].astype(int) - COLOURS[new_mask[inside]]).max(axis=-1)
            assert (error <= 1).mean() > 0.99
            self_coloured += (new_mask[inside] == 7).sum()
        assert self_coloured > 0 or name.endswith(
            "CenterCrop"
        )  # the class with the number of the fill is itself again
        if not name.endswith(("Crop", "Flip", "RandomCropAndResize")):
            assert new > 0

    # The same again in another order, by another object, and after a way through JSON.
    again = apply(augment, reversed(range(16)))[::-1]
    assert_equal(results, again)
    if not name.endswith(DETERMINISTIC):
        assert any((a[0] != results[0][0]).any() for a in results[1:])
    config = json.loads(json.dumps(augment.to_config()))
    other = KerasAugment.from_config(config)
    assert json.loads(json.dumps(other.to_config())) == config
    if kind == "group" or name.endswith(("RandomShear", "JitteredResize", "RandomHue")):
        assert_equal(apply(other, [4, 1]), [results[4], results[1]])


@needs_tensorflow
@pytest.mark.parametrize(
    "name",
    cases(["keras.layers.RandomShear", "keras_cv.layers.RandomColorJitter"]),
)
def test_threads_do_not_disturb_each_other(name):
    augment, seeds = KerasAugment(accepted(name)), range(12)
    expected = apply(KerasAugment(accepted(name)), seeds)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: apply(augment, [seed])[0], seeds))
    assert_equal(results, expected)


@needs_tensorflow
@pytest.mark.parametrize("name", cases(["keras.layers.RandomZoom", "keras_cv.layers.RandAugment"]))
def test_the_policy_of_the_model_does_not_matter(name, mixed_precision):
    kept = KerasAugment(accepted(name))  # made, as its copies are, under the mixed policy
    results = apply(kept, range(4))
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    keras.config.set_dtype_policy("float32")
    assert_equal(apply(KerasAugment(accepted(name)), range(4)), results)


REFUSED = {name: verdict for name, verdict in LAYERS.items() if verdict.kind == "refused"}
REFUSED_ARGUMENTS = {
    "keras.layers.MaxNumBoundingBoxes": (3, {"bounding_box_format": "xyxy"}),
    "keras.layers.Normalization": ({"mean": 0.0, "variance": 1.0},),
    "keras.layers.Rescaling": (1 / 255,),
    "keras_cv.layers.AugMix": ((0, 255),),
    "keras_cv.layers.Augmenter": ([],),
    "keras_cv.layers.RandomApply": ("flip",),
    "keras_cv.layers.RandomAspectRatio": ((0.8, 1.2),),
    "keras_cv.layers.RandomCrop": (20, 24),
    "keras_cv.layers.RandomJpegQuality": ((10, 50),),
    "keras_cv.layers.RepeatedAugmentation": ([],),
    "keras_cv.layers.Rescaling": (1 / 255,),
}


@pytest.mark.parametrize("name", cases(REFUSED))
def test_what_is_refused(name):
    arguments = list(REFUSED_ARGUMENTS.get(name, ()))
    options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    if arguments == ["flip"]:
        arguments = [layer("keras_cv.layers.RandomFlip")]
    message = f"{name} cannot be plugged in: {REFUSED[name].reason}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        KerasAugment(layer(name, *arguments, **options))


def test_the_reasons_are_true():
    """Those that a look at the layers' results shows; the others fail or are no augmentation."""
    image, mask = painted()
    if keras.backend.backend() == "jax":
        pytest.skip("every operation compiles; the layers are the same")
    inputs = {
        "images": np.stack([image, image[::-1]]).astype("float32"),
        "segmentation_masks": np.stack([mask, mask[::-1]]).astype("float32")[..., None],
    }
    for name in ("AugMix", "MixUp"):
        found = layer(f"keras.layers.{name}")(dict(inputs), training=True)["segmentation_masks"]
        found = keras.ops.convert_to_numpy(found)
        assert (found != np.round(found)).any(), name
    mixed = keras.layers.CutMix(1.0)(dict(inputs), training=True)
    assert mixed["segmentation_masks"].shape[-1] == 3
    with pytest.raises(AttributeError):
        keras.layers.RandomGrayscale()(dict(inputs), training=True)

    # Image and mask are the same numbers, read by nearest neighbour, and come out different.
    numbers = np.random.default_rng(0).integers(1, 255, (HEIGHT, WIDTH, 1)).astype("float32")
    elastic = keras.layers.RandomElasticTransform(
        (1.0, 1.0), (1.0, 1.0), interpolation="nearest", **CONSTANT
    )
    shares = []
    for _ in range(4):
        result = elastic({"images": numbers, "segmentation_masks": numbers}, training=True)
        pair = [keras.ops.convert_to_numpy(value) for value in result.values()]
        shares.append((pair[0] == pair[1]).mean())
    assert min(shares) < 0.6


@pytest.mark.parametrize(
    ("name", "arguments", "options", "message"),
    [
        (
            "RandomRotation",
            (0.1,),
            {},
            r"fill_mode='reflect', which makes up labels .*\"constant\"",
        ),
        ("RandomZoom", (0.1,), {}, r"fill_mode='reflect'"),
        ("RandomTranslation", (0.1, 0.1), {"fill_mode": "nearest"}, r"fill_mode='nearest'"),
        ("RandomBrightness", (0.1, (0, 1)), {}, r"value_range=.0, 1., but images are 0..255"),
        ("RandAugment", ((0.0, 1.0),), {}, "value_range"),
        ("RandomFlip", (), {"data_format": "channels_first"}, "data_format='channels_last'"),
        ("RandomGaussianBlur", (1.0, (3, 7)), {}, r"kernel_size=\(3, 7\), but only square"),
    ],
)
def test_what_is_refused_for_its_options(name, arguments, options, message):
    name = f"keras.layers.{name}"
    with pytest.raises(ValueError, match=f"^{name} .*cannot be plugged in: .*{message}"):
        KerasAugment(layer(name, *arguments, **options))


@needs_keras_cv
@pytest.mark.parametrize(
    ("name", "arguments", "options", "message"),
    [
        ("RandomRotation", (0.1,), CONSTANT, "segmentation_classes=None.*=256"),
        (
            "RandomRotation",
            (0.1,),
            {"segmentation_classes": 11, **CONSTANT},
            "segmentation_classes=11, which turns ignored pixels into class 0",
        ),
        ("Grayscale", (1,), {}, "output_channels=1; use output_channels=3"),
        (
            "RandomCutout",
            (0.4, 0.4),
            {"fill_mode": "gaussian_noise"},
            "draws noise that cannot be repeated",
        ),
    ],
)
def test_what_is_refused_for_its_options_of_keras_cv(name, arguments, options, message):
    with pytest.raises(ValueError, match=f"keras_cv.layers.{name} cannot be .*{message}"):
        KerasAugment(layer(f"keras_cv.layers.{name}", *arguments, **options))


def test_what_lies_inside_is_looked_at():
    flip = keras.layers.RandomFlip()
    with pytest.raises(ValueError, match=r"MixUp \(inside keras.layers.Pipeline\) cannot"):
        KerasAugment(keras.layers.Pipeline([flip, keras.layers.MixUp()]))
    zooms = [keras.layers.RandomZoom(0.1, fill_value=value, **CONSTANT) for value in (0.0, 9.0)]
    with pytest.raises(ValueError, match="fills with 0, keras.layers.RandomZoom with 9. Give them"):
        KerasAugment(keras.layers.Pipeline(zooms))
    KerasAugment(zooms)


def test_what_is_no_layer():
    with pytest.raises(TypeError, match="must be Keras layers, got .*function"):
        KerasAugment(lambda image, mask, rng: (image, mask))
    with pytest.raises(ValueError, match="at least one layer"):
        KerasAugment([])


@needs_tensorflow
class TestLayersOfYourOwn:
    """Layers outside the table are tried out when they are called."""

    class Halving(keras.layers.RandomFlip):
        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks * 0.5

    class Shifting(keras.layers.RandomFlip):
        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks + 20.0

    class Cropping(keras.layers.RandomFlip):
        def transform_images(self, images, *args, **kwargs):
            return images[:, 2:]

        def transform_segmentation_masks(self, segmentation_masks, *args, **kwargs):
            return segmentation_masks

    class Dicing(keras.layers.RandomFlip):
        def transform_images(self, images, *args, **kwargs):
            import tensorflow as tf

            return images + tf.random.uniform(())

    class Failing(keras.layers.RandomFlip):
        def transform_images(self, images, *args, **kwargs):
            raise RuntimeError("no luck")

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (Halving, r"damages masks: \d\.5 \(\d+ of 1728 pixels\) was not in the mask before"),
            (Shifting, r"damages masks: \d+ \(\d+ of 1728 pixels\)"),
            (Cropping, r"made an image \(34, 48, 3\) and a mask \(36, 48, 1\)"),
            (Dicing, "cannot be repeated: it draws with RandomUniform"),
            (Failing, r"fails on an image of 36 x 48 .*RuntimeError"),
        ],
    )
    def test_it_says_what_is_wrong(self, kind, message):
        with pytest.raises(ValueError, match=message):
            apply(KerasAugment(kind()), [0])


@needs_tensorflow
@pytest.mark.parametrize("name", ["RandomCrop", "CenterCrop"])
def test_a_crop_larger_than_the_image(name):
    augment = KerasAugment(layer(f"keras.layers.{name}", 40, 24))
    with pytest.raises(ValueError, match=rf"{name} of 40 x 24 got an image of 36 x 48 .*blend"):
        apply(augment, [0])


@needs_tensorflow
def test_images_of_many_sizes():
    augment = KerasAugment(layer("keras.layers.RandomZoom", 0.3, **CONSTANT))
    expected = augment(*painted(1, 20, 30), np.random.default_rng(0))
    for side in range(20, 45):  # more than are kept
        image, mask = augment(*painted(2, side, 30), np.random.default_rng(0))
        assert image.shape == (side, 30, 3) and mask.shape == (side, 30)
    again = augment(*painted(1, 20, 30), np.random.default_rng(0))
    assert_equal([expected], [again])


def test_the_size_of_the_result():
    crop, flip = keras.layers.RandomCrop(20, 24), keras.layers.RandomFlip()
    assert KerasAugment(flip).crop_size is None
    assert KerasAugment([crop, flip]).crop_size == (20, 24)
    assert KerasAugment([crop, keras.layers.Resizing(8, 9), flip]).crop_size == (8, 9)
    assert KerasAugment(keras.layers.Pipeline([flip, crop])).crop_size == (20, 24)


@needs_tensorflow
def test_beside_our_own_in_every_feed():
    source = ArraySource(6, painted)
    ours = data.Augment(crop_size=(28, 32), rotate=10.0)
    augment = Compose([ours, KerasAugment([accepted("keras.layers.RandomShear")]), ours])
    feeds = ["tensorflow", "pydataset", *["grain"] * bool(importlib.util.find_spec("grain"))]
    results = [
        epoch(data.batches(source, 3, augment, shuffle=True, seed=5, feed=feed, workers=3))
        for feed in feeds
    ]
    assert results[0][0][0].shape == (3, 28, 32, 3)
    for result in results[1:]:
        assert_equal(result, results[0])


def test_in_the_config_of_a_policy():
    augment = Compose([Flip(), KerasAugment(keras.layers.RandomShear(0.2, **CONSTANT))])
    config = json.loads(json.dumps(augment.to_config()))
    assert augmentation(config).to_config() == augment.to_config()
    (_, again) = augmentation(config).steps
    assert isinstance(again, KerasAugment)


def test_the_table_is_whole():
    """Every augmentation layer that the two libraries export was tried."""
    assert set(ACCEPTED) | set(REFUSED) == set(LAYERS) and not set(ACCEPTED) & set(REFUSED)
    libraries = [("keras", keras.layers, "keras.src.layers.preprocessing.image_preprocessing")]
    if HAS_KERAS_CV:
        import keras_cv

        libraries += [("keras_cv", keras_cv.layers, "keras_cv.src.layers.preprocessing.")]
    for library, module, home in libraries:
        found = {
            f"{library}.layers.{name}"
            for name, kind in vars(module).items()
            if inspect.isclass(kind) and kind.__module__.startswith(home)
        }
        bases = {name for name in found if "BaseImageAugmentationLayer" in name}
        assert found - bases <= set(LAYERS)
        assert len(found) > 25


def test_the_page_shows_the_table():
    page = (REPOSITORY / "docs" / "data" / "other-augmentations.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name, verdict in LAYERS.items():
        library, _, kind = name.split(".")
        if verdict.kind == "refused":
            assert f"| `{name}` | {verdict.reason} |" in rows
        else:
            (row,) = [row for row in rows if row.startswith(f"| `{library}` | {verdict.kind} ")]
            assert f"`{kind}`" in row
    names = set(re.findall(r"`((?:keras|keras_cv)\.layers\.\w+)` \|", page))
    assert names == set(REFUSED)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="tests life without it")
def test_without_tensorflow():
    """The backend computes, step by step, and keeps the same promises."""
    code = """
        from tests.data.conftest import without_tensorflow
        without_tensorflow()
        import sys, keras, numpy as np
        from keras_focusseg.data.transforms.keras_layers import KerasAugment
        from tests.data.transforms import test_keras_layers as here
        names = ["keras.layers.RandomRotation", "keras.layers.RandomTranslation"]
        if keras.backend.backend() != "jax":  # where every operation compiles
            names = [
                name for name, verdict in here.LAYERS.items()
                if verdict.kind == "geometry" and name.startswith("keras.")
            ]
        before = set(np.unique(here.painted()[1]))
        for name in names:
            augment = KerasAugment([keras.layers.RandomFlip(), here.accepted(name)])
            results = here.apply(augment, range(4))
            for image, mask in results:
                assert image.dtype == mask.dtype == np.uint8
                assert set(np.unique(mask)) <= before
                filled = np.any([(image == colour).all(axis=-1) for colour in here.FILLS], axis=0)
                assert not filled.any() or (mask[filled] == 255).mean() > 0.99, name
                inside = here.uniform(mask) & (mask != 255)
                error = np.abs(image[inside].astype(int) - here.COLOURS[mask[inside]])
                assert (error <= 1).mean() > 0.99, name
            here.assert_equal(results, here.apply(augment, reversed(range(4)))[::-1])
            assert len({image.tobytes() for image, _ in results}) > 1
        assert len(names) > 1 and "tensorflow" not in sys.modules
    """
    run_python(code, keras.backend.backend())
