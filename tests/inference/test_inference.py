"""Segmenting pictures of any kind and size, and scoring on labelled ones."""

import importlib
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, inference, label_spaces, models, segment
from tests.testers import randomize_weights, tiny_fornet


@pytest.fixture
def model() -> models.FoRNet:
    network = tiny_fornet(num_classes=11)
    randomize_weights(network, seed=1)
    return network


def picture(height: int = 40, width: int = 57) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype("uint8")


@pytest.mark.each_backend
def test_paths_arrays_and_folders_give_the_same(model: models.FoRNet, tmp_path: Path) -> None:
    image = picture()
    Image.fromarray(image).save(tmp_path / "b.png")
    Image.fromarray(image[:32]).save(tmp_path / "a.png")
    from_array = next(segment(model, image))
    from_path = next(segment(model, tmp_path / "b.png"))
    from_folder = list(segment(model, tmp_path))
    as_float = next(segment(model, [image.astype("float32")]))
    assert [r.name for r in from_folder] == ["a.png", "b.png"]
    assert from_array.labels.shape == (40, 57) and from_array.labels.dtype == np.uint8
    for other in (from_path, from_folder[1], as_float):
        np.testing.assert_array_equal(other.labels, from_array.labels)
    logits = inference.predict_logits(model, image)
    softmax = np.exp(logits - logits.max(-1, keepdims=True))
    softmax /= softmax.sum(-1, keepdims=True)
    np.testing.assert_allclose(from_array.confidence, softmax.max(-1), atol=1e-5)


def test_padded_pictures_have_few_sizes(
    model: models.FoRNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = model.labels_model
    exact = next(segment(model, picture(64, 64)))
    padded = next(segment(model, picture(64, 64), pad_to_multiple=32))
    np.testing.assert_array_equal(padded.labels, exact.labels)
    np.testing.assert_array_equal(padded.confidence, exact.confidence)
    pictures = [picture(height, width) for height, width in ((33, 64), (50, 50), (64, 35))]
    found = list(segment(model, pictures, pad_to_multiple=32))
    assert part.sizes_met == 1
    assert [r.labels.shape for r in found] == [p.shape[:2] for p in pictures]
    mirrored = np.pad(pictures[0], ((0, 31), (0, 0), (0, 0)), "symmetric")
    whole = next(segment(model, mirrored))
    np.testing.assert_array_equal(found[0].labels, whole.labels[:33])
    # Without it, and where sizes are compiled, one warning says that there is a way.
    module = importlib.import_module("keras_focusseg.inference.segment")  # not the function
    monkeypatch.setattr(module, "FEW_SIZES", 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            list(segment(model, pictures[:2]))
    told = [w for w in caught if "2 sizes of pictures so far" in str(w.message)]
    assert len(told) == part.jit_compile
    for wrong in (0, -32, 32.0, True):
        with pytest.raises(ValueError, match="pad_to_multiple must be a whole number above 0"):
            next(segment(model, picture(), pad_to_multiple=wrong))


def test_results_draw_themselves(model: models.FoRNet) -> None:
    space = label_spaces.get("camvid11")
    result = next(segment(model, picture(), label_space=space))
    assert result.overlay().size == (57, 40)
    np.testing.assert_array_equal(np.asarray(result.colors()), space.palette()[result.labels])
    np.testing.assert_array_equal(np.asarray(result.overlay(opacity=0.0)), result.image)
    assert sum(result.shares().values()) == pytest.approx(1.0)


def test_odd_sizes_and_refusals(model: models.FoRNet, tmp_path: Path) -> None:
    assert next(segment(model, picture(97, 131))).labels.shape == (97, 131)
    with pytest.raises(ValueError, match="image_000: .*1x1000.*too small: the height is 1"):
        next(segment(model, picture(1, 1000)))
    with pytest.raises(ValueError, match="values 0..300"):
        next(segment(model, np.linspace(0, 300, 16 * 16 * 3).reshape(16, 16, 3)))
    with pytest.raises(ValueError, match="Multiply by 255"):
        next(segment(model, picture().astype("float32") / 255))
    with pytest.raises(ValueError, match="expected \\(height, width, 3\\)"):
        next(segment(model, [picture()[..., 0]]))
    with pytest.raises(ValueError, match="holds no picture"):
        next(segment(model, tmp_path))
    with pytest.raises(data.DataError, match="absent.png"):
        next(segment(model, tmp_path / "absent.png"))
    with pytest.raises(ValueError, match="network has 11 classes, label space 'custom' 2"):
        next(segment(model, picture(), label_spaces.from_names(["a", "b"])))


def test_what_is_no_network_no_source_and_no_classes_is_refused(model: models.FoRNet) -> None:
    for wrong in ("fornet_mobilenet_v2_camvid", picture()):
        with pytest.raises(ValueError, match="model must be a network of this library, such as"):
            next(segment(wrong, picture()))
        with pytest.raises(ValueError, match="model must be a network of this library, such as"):
            inference.evaluate(wrong, Painted())
    with pytest.raises(ValueError, match="label_space must be a LabelSpace.* got 'camvid11'"):
        next(segment(model, picture(), "camvid11"))
    with pytest.raises(ValueError, match="source must be a data.Source.* got 'CamVid'"):
        inference.evaluate(model, "CamVid")


@pytest.mark.each_backend
def test_tensors_and_single_numbers_are_taken(model: models.FoRNet) -> None:
    tensor = keras.ops.convert_to_tensor(picture())
    (found,) = segment(model, tensor, scales=1, window=np.int64(64))
    np.testing.assert_array_equal(found.image, picture())
    with pytest.raises(ValueError, match=r"image 0 has shape \(40, 57\); expected"):
        next(segment(model, picture()[..., 0]))
    with pytest.raises(ValueError, match="window must be a side .* got 32.0"):
        next(segment(model, picture(), window=32.0))


class Painted(data.Source):
    """Two images whose masks are known; the second has an ignored half."""

    name, split, label_space = "painted", "all", label_spaces.get("camvid11")

    def __len__(self) -> int:
        return 2

    def load(self, index: int) -> data.Sample:
        mask = np.full((40, 57), index, "uint8")
        mask[:, 30:] = 255 if index else 3
        return data.Sample(picture(), mask, f"painted{index}")


@pytest.mark.each_backend
def test_evaluation_counts_what_the_network_says(model: models.FoRNet) -> None:
    source, done = Painted(), []
    scores = inference.evaluate(model, source, on_image=done.append)
    expected = np.zeros((11, 11), "int64")
    labels = inference.predict_logits(model, picture()).argmax(-1)
    for i in range(2):
        mask = source.load(i).mask
        np.add.at(expected, (mask[mask != 255], labels[mask != 255]), 1)
    np.testing.assert_array_equal(scores.matrix, expected)
    assert done == [1, 2] and scores.resolution == "40x57"
    score = scores.to_score()
    assert score["frames"] == 2 and score["classes"] == 11
    absent = np.flatnonzero(expected.sum(0) + expected.sum(1) == 0)
    for i in absent:
        assert score["iou_per_class"][source.label_space.classes[i]] is None


def test_evaluation_needs_the_same_classes() -> None:
    with pytest.raises(ValueError, match="network has 3 classes, painted has 11"):
        inference.evaluate(tiny_fornet(num_classes=3), Painted())


def test_evaluation_needs_the_same_classes_in_the_same_order(model: models.FoRNet) -> None:
    source = Painted()
    names = list(source.label_space.classes)
    model.label_space = label_spaces.from_names([name.upper() for name in names])
    inference.evaluate(model, source)  # spelling may differ
    names[0], names[1] = names[1], names[0]
    model.label_space = label_spaces.from_names(names)
    with pytest.raises(ValueError, match="Class 0 is .* for the network and"):
        inference.evaluate(model, source)


def test_a_broken_picture_is_told_and_left_out(model: models.FoRNet, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        Image.fromarray(picture()).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"not a picture")
    told: list[tuple[str, str]] = []
    found = segment(model, tmp_path, on_error=lambda name, error: told.append((name, str(error))))
    assert [result.name for result in found] == ["a.png", "c.png"]
    assert [name for name, _ in told] == ["b.png"] and "b.png" in told[0][1]
    with pytest.warns(UserWarning, match=r"b\.png is left out: .*b\.png"):
        assert len(list(segment(model, tmp_path, on_error="skip"))) == 2
    with pytest.warns(UserWarning, match="image_000 is left out"):
        found = segment(model, [picture(1, 1000), picture()], on_error="skip")
        assert [result.name for result in found] == ["image_001"]
    with pytest.raises(ValueError, match=r"b\.png"):
        list(segment(model, tmp_path))
    with pytest.raises(ValueError, match="on_error must be 'raise', 'skip' or a function, got 3"):
        next(segment(model, tmp_path, on_error=3))


class OneBroken(data.SyntheticStreets):
    def load(self, index: int) -> data.Sample:
        if index == 1:
            raise data.DataError("is broken", file="one.png")
        return super().load(index)


def test_a_broken_image_is_left_out_of_the_score(model: models.FoRNet) -> None:
    source = OneBroken(3, size=(64, 64))
    told: list[str] = []
    scores = inference.evaluate(model, source, on_error=lambda name, error: told.append(name))
    assert scores.frames == 2 and len(scores.left_out) == 1 and told == list(scores.left_out)
    assert scores.to_score()["left_out"] == told
    assert scores.matrix.sum() <= 2 * 64 * 64
    with pytest.raises(data.DataError, match=r"one\.png"):
        inference.evaluate(model, source)
    whole = inference.evaluate(model, data.SyntheticStreets(1, size=(64, 64)))
    assert "left_out" not in whole.to_score()
