"""The Keras metric: equal to the NumPy counts, exact beyond 32 bits, usable in `fit`."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_focusseg import losses, metrics
from tests.testers import check_config_round_trip


def result_of(metric):
    return float(keras.ops.convert_to_numpy(metric.result()))


def some_batch(rng, num_classes=5, shape=(2, 9, 7)):
    masks = rng.integers(0, num_classes + 1, shape).astype("uint8")
    masks[masks == num_classes] = 255
    logits = rng.normal(size=(*shape, num_classes)).astype("float32")
    return masks, logits


def test_equals_the_numpy_counts():
    rng = np.random.default_rng(0)
    scores, ids = metrics.MeanIoU(5), metrics.MeanIoU(5)
    confusion = metrics.ConfusionMatrix(5)
    for _ in range(3):
        masks, logits = some_batch(rng)
        prediction = logits.argmax(-1)
        scores.update_state(masks, logits)
        ids.update_state(masks[..., None], prediction[..., None].astype("uint8"))
        confusion.update(masks, prediction)
    for metric in (scores, ids):
        matrix = metric.confusion_matrix()
        assert matrix.dtype == np.int64
        np.testing.assert_array_equal(matrix, confusion.matrix)
        assert result_of(metric) == pytest.approx(metrics.mean_iou(confusion.matrix), abs=1e-6)
    ids.reset_state()
    assert not ids.confusion_matrix().any()


def test_half_precision_scores():
    masks, logits = some_batch(np.random.default_rng(1))
    half = keras.ops.convert_to_tensor(logits, dtype="float16")
    metric = metrics.MeanIoU(5)
    metric.update_state(masks, half)
    confusion = metrics.ConfusionMatrix(5)
    confusion.update(masks, keras.ops.convert_to_numpy(half).argmax(-1))
    np.testing.assert_array_equal(metric.confusion_matrix(), confusion.matrix)


def test_of_equal_scores_the_first_counts():
    pixels = [[3, 3, 3], [0, 2, 2], [-0.0, 0, -1], [-np.inf] * 3, [1, np.inf, np.inf], [np.nan] * 3]
    metric = metrics.MeanIoU(3)
    metric.update_state(np.zeros((1, 1, 6), "int32"), np.array([[pixels]], "float32"))
    assert metric.confusion_matrix()[0].tolist() == [3, 2, 1]  # any class where there is no score


def test_stays_exact_beyond_32_bits():
    metric = metrics.MeanIoU(2)
    truth = np.array([[[0] * 7 + [1] * 5]])
    prediction = np.array([[[0] * 6 + [1] + [1] * 5]])
    metric.update_state(truth, prediction)
    before = metric.confusion_matrix()
    # Poke the state to where a sum of int32 would turn negative, and one pixel below a carry.
    low, high = (np.asarray(keras.ops.convert_to_numpy(v)) for v in metric.variables[:2])
    base = 2**20
    start = np.array([2**31 - 3, base - 1, 2**33 - 1, 2**40 - 2], dtype=np.int64)
    metric.variables[0].assign((start % base).astype(low.dtype))
    metric.variables[1].assign((start // base).astype(high.dtype))
    np.testing.assert_array_equal(metric.confusion_matrix().ravel(), start)
    metric.update_state(truth, prediction)
    expected = start.reshape(2, 2) + before
    np.testing.assert_array_equal(metric.confusion_matrix(), expected)
    assert result_of(metric) == pytest.approx(metrics.mean_iou(expected), rel=1e-6)


def test_state_is_32_bit_on_every_backend():
    kinds = {keras.backend.standardize_dtype(v.dtype) for v in metrics.MeanIoU(3).variables}
    assert kinds == {"int32"}


def test_a_large_batch_carries_at_once():
    metric = metrics.MeanIoU(2)
    pixels = np.zeros((1, 4096, 4096 + 1), "uint8")  # one row more than 2**24
    metric.update_state(pixels, pixels)
    assert metric.confusion_matrix().tolist() == [[4096 * 4097, 0], [0, 0]]


def test_absent_class_is_left_out():
    metric = metrics.MeanIoU(4)
    metric.update_state(np.array([[[0, 0, 1, 255]]]), np.array([[[0, 1, 1, 3]]]))
    assert result_of(metric) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_nothing_counted_is_not_a_number():
    metric = metrics.MeanIoU(3)
    assert np.isnan(result_of(metric))
    metric.update_state(np.full((1, 2, 2), 255), np.zeros((1, 2, 2), "int32"))
    assert np.isnan(result_of(metric))


def test_a_prediction_that_is_no_class_is_not_hidden():
    metric = metrics.MeanIoU(3)
    metric.update_state(np.array([[[0, 1, 255]]]), np.array([[[0, 7, 9]]]))
    assert np.isnan(result_of(metric))
    with pytest.raises(ValueError, match=r"1 pixels .* outside 0 \.\. 2"):
        metric.confusion_matrix()


def test_float_masks_count_only_if_whole():
    metric = metrics.MeanIoU(3)
    prediction = np.array([[[0, 1, 2]]])
    metric.update_state(np.array([[[0.0, 1.0, 255.0]]]), prediction)
    assert result_of(metric) == 1.0
    metric.update_state(np.array([[[0.0, 1.5, 2.0]]]), prediction)
    assert np.isnan(result_of(metric))
    with pytest.raises(ValueError, match="1 pixels .* no whole number"):
        metric.confusion_matrix()


def test_fit_on_sizes_that_change():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            rng = np.random.default_rng(index)
            masks, _ = some_batch(rng, 3, [(2, 6, 8), (3, 5, 9)][index])
            return rng.normal(size=(*masks.shape, 3)).astype("float32"), masks

    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    model.compile("sgd", losses.CrossEntropy(), metrics=[metrics.MeanIoU(3)])
    data = Batches()
    history = model.fit(data, validation_data=data, verbose=0).history
    confusion = metrics.ConfusionMatrix(3)
    for images, masks in (data[0], data[1]):
        confusion.update(masks, model.predict(images, verbose=0).argmax(-1))
    assert history["val_mean_iou"][0] == pytest.approx(metrics.mean_iou(confusion.matrix), abs=1e-6)
    assert 0 <= history["mean_iou"][0] <= 1


def test_serialisation():
    copy = check_config_round_trip(metrics.MeanIoU(7, ignore_class=None, name="m"))
    assert (copy.num_classes, copy.ignore_class, copy.name) == (7, None, "m")


def test_wrong_input_is_refused():
    metric = metrics.MeanIoU(3)
    ids = np.zeros((1, 4, 4), "int32")
    with pytest.raises(ValueError, match="sample_weight"):
        metric.update_state(ids, ids, sample_weight=np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match=r"\(1, 4, 4, 5\).*\(1, 4, 4\)"):
        metric.update_state(ids, np.zeros((1, 4, 4, 5), "float32"))
    with pytest.raises(ValueError, match=r"\(1, 4, 3\).*\(1, 4, 4\)"):
        metric.update_state(ids, ids[:, :, :3])
    with pytest.raises(ValueError, match=r"masks.*\(4, 4\)"):
        metric.update_state(ids[0], ids)


def test_an_ignored_class_among_the_classes_is_left_out():
    metric = metrics.MeanIoU(3, ignore_class=0)
    metric.update_state(np.array([[[0, 1, 1, 1, 2, 2]]]), np.array([[[1, 0, 1, 1, 2, 2]]]))
    assert float(metric.result()) == pytest.approx(5 / 6)


def test_counts_of_many_replicas_can_be_summed():
    """What replicas count is added up in int32, as their variables are."""
    metric = metrics.MeanIoU(2)
    pixels = np.zeros((1, 2**10, 2**10 - 1), "uint8")  # just before a carry
    metric.update_state(pixels, pixels)
    low, high = (np.asarray(keras.ops.convert_to_numpy(v)) for v in metric.variables[:2])
    replicas = 1024
    metric.variables[0].assign(low * np.int32(replicas))
    metric.variables[1].assign(high * np.int32(replicas))
    assert metric.confusion_matrix()[0, 0] == replicas * pixels.size
