"""Windows, mirror images and scales give what their definitions say, on a real network."""

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import inference, models, segment
from keras_focusseg.inference.procedure import Procedure
from tests.testers import randomize_weights, tiny_fornet


@pytest.fixture(scope="module")
def model() -> models.FoRNet:
    network = tiny_fornet(num_classes=5)
    randomize_weights(network, seed=1)
    return network


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype("uint8")


def probabilities(model: models.FoRNet, image: np.ndarray) -> np.ndarray:
    logits = inference.predict_logits(model, image)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("kept", [False, True])
def test_a_window_over_the_whole_picture_changes_nothing(
    model: models.FoRNet, picture: np.ndarray, kept: bool
) -> None:
    whole = next(segment(model, picture, window=None, probabilities=kept))
    for window in ((48, 64), 64, (100, 64)):
        found = next(segment(model, picture, window=window, probabilities=kept))
        assert found.window is None
        np.testing.assert_array_equal(found.labels, whole.labels)
        np.testing.assert_array_equal(found.confidence, whole.confidence)
    if kept:
        assert whole.probabilities is not None and whole.probabilities.dtype == np.float16
        np.testing.assert_allclose(whole.probabilities, probabilities(model, picture), atol=1e-3)
    else:
        assert whole.probabilities is None


def test_two_windows_side_by_side(model: models.FoRNet, picture: np.ndarray) -> None:
    halves = [probabilities(model, picture[:, x : x + 32]) for x in (0, 32)]
    found = next(segment(model, picture, window=(48, 32), overlap=0, probabilities=True))
    expected = np.concatenate(halves, axis=1)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-3)
    np.testing.assert_allclose(found.confidence, expected.max(-1), atol=1e-5)
    assert found.window == (48, 32)
    batches = next(segment(model, picture, window=(48, 32), overlap=0, batch_size=2))
    np.testing.assert_allclose(batches.confidence, found.confidence, atol=1e-5)


@pytest.mark.each_backend
def test_mirror_images_and_scales_are_averaged(model: models.FoRNet, picture: np.ndarray) -> None:
    mirrored = probabilities(model, np.ascontiguousarray(picture[:, ::-1]))[:, ::-1]
    expected = (probabilities(model, picture) + mirrored) / 2
    found = next(segment(model, picture, flip=True))
    np.testing.assert_allclose(found.confidence, expected.max(-1), atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected.argmax(-1))
    double = Image.fromarray(picture).resize((128, 96), Image.Resampling.BILINEAR)
    large = probabilities(model, np.asarray(double))  # bilinear to half the size: means of 2 x 2
    small = large.reshape(48, 2, 64, 2, 5).mean((1, 3))
    expected = (probabilities(model, picture) + small) / 2
    found = next(segment(model, picture, scales=(1, 2), probabilities=True))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-3)


def test_pictures_of_one_size_go_together(
    model: models.FoRNet, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    predict = models.FoRNet.labels_model.fget(model).predict_on_batch  # type: ignore[attr-defined]
    monkeypatch.setattr(
        model.labels_model, "predict_on_batch", lambda x: sizes.append(len(x)) or predict(x)
    )
    other = picture[:, :48]
    images = [picture, picture, picture, other, picture[:1], picture]
    with pytest.warns(UserWarning, match="image_004 is left out.*too small"):
        found = list(segment(model, images, on_error="skip", batch_size=2))
    assert [r.name for r in found] == [f"image_{i:03d}" for i in (0, 1, 2, 3, 5)]
    assert sizes == [2, 1, 1, 1]
    np.testing.assert_array_equal(found[0].labels, found[2].labels)


def test_the_scale_at_which_a_picture_is_too_small_is_named(
    model: models.FoRNet, picture: np.ndarray
) -> None:
    for scale, size in ((0.1, "5x6"), (0.005, "0x0")):
        with pytest.raises(ValueError, match=f"image_000: At scale {scale}: Images of {size} "):
            next(segment(model, picture, scales=(1, scale)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 8}, "window must be a side or a height and width of 16 pixels"),
        ({"window": (32, 32, 32)}, "window must be"),
        ({"overlap": 1.0}, "overlap must be 0 or more and below 1, got 1.0"),
        ({"scales": ()}, "scales must be one or more numbers above 0"),
        ({"scales": (0.5, -1)}, "scales must be one or more numbers above 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Procedure(**options)


def test_a_procedure_says_what_it_is() -> None:
    assert Procedure().told() == "single scale, no flip"
    told = Procedure(window=512, flip=True, scales=(0.5, 1)).told()
    assert told == "scales 0.5, 1, flip, windows 512x512, overlap 0.25"
