"""Confusion matrix and its figures: published counts, brute force, absent classes."""

from __future__ import annotations

import numpy as np
import pytest

from keras_focusseg import metrics

# SERNet-Former (CVPRW 2024), the authors' metrics file: hits, true and predicted pixels of the 11
# CamVid classes, for their checkpoint and their final network.
CHECKPOINT = {
    "Sky": (23498103, 24343448, 24239728),
    "Building": (37650326, 39831197, 39287809),
    "Pole": (1158992, 1659702, 1824699),
    "Road": (44965512, 45879039, 45531111),
    "Pavement": (10837265, 11555905, 11841090),
    "Tree": (16498477, 17904273, 18100919),
    "SignSymbol": (1412277, 1688992, 1826691),
    "Fence": (2013684, 2363226, 2265391),
    "Car": (7250123, 7672625, 7804983),
    "Pedestrian": (1007385, 1154012, 1299792),
    "Bicyclist": (917180, 1014569, 1044775),
}
FINAL = {
    "Sky": (23421423, 24098182, 23959056),
    "Building": (38502906, 40389368, 39511952),
    "Pole": (1200233, 1471058, 1824311),
    "Road": (44586806, 45307807, 44907800),
    "Pavement": (11001193, 11452347, 11737556),
    "Tree": (16887669, 17919264, 17986122),
    "SignSymbol": (1447287, 1575214, 1828870),
    "Fence": (2067401, 2279368, 2268026),
    "Car": (8016473, 8255216, 8480174),
    "Pedestrian": (1164448, 1256514, 1432899),
    "Bicyclist": (973848, 1039390, 1106962),
}


def matrix_with(counts):
    """Some matrix with these hits, row sums and column sums; the errors go where there is room."""
    hits, truth, predicted = np.array(list(counts.values()), dtype=np.int64).T
    matrix = np.diag(hits)
    missed, invented = truth - hits, predicted - hits
    assert missed.sum() == invented.sum()
    while missed.any():
        # The fullest row and the fullest other column: so no row is left with only its own column.
        pair = missed[:, None] + invented[None, :]
        pair[missed == 0] = pair[:, invented == 0] = -1
        np.fill_diagonal(pair, -1)
        row, column = np.unravel_index(pair.argmax(), pair.shape)
        rest = missed.sum()
        # Moves no more than what keeps the remaining margins solvable.
        slack = rest - max(np.delete(missed + invented, [row, column]), default=0)
        moved = min(missed[row], invented[column], max(1, slack))
        matrix[row, column] += moved
        missed[row] -= moved
        invented[column] -= moved
    assert (matrix.sum(1) == truth).all() and (matrix.sum(0) == predicted).all()
    return matrix


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (CHECKPOINT, (0.8038225, 0.9493273, 0.8962145, 0.9070913)),
        (FINAL, (0.8462010, 0.9627586, 0.9353432, 0.9308181)),
    ],
    ids=["checkpoint", "final"],
)
def test_published_counts_give_the_published_figures(counts, expected):
    matrix = matrix_with(counts)
    figures = (
        metrics.mean_iou(matrix),
        metrics.pixel_accuracy(matrix),
        metrics.mean_accuracy(matrix),
        metrics.frequency_weighted_iou(matrix),
    )
    assert figures == pytest.approx(expected, abs=6e-8)
    hits, truth, predicted = np.array(list(counts.values())).T
    np.testing.assert_allclose(metrics.iou_per_class(matrix), hits / (truth + predicted - hits))
    np.testing.assert_allclose(metrics.accuracy_per_class(matrix), hits / truth)


def test_matrix_equals_counting_one_by_one():
    rng = np.random.default_rng(0)
    confusion = metrics.ConfusionMatrix(5)
    expected = np.zeros((5, 5), int)
    for dtype in ("uint8", "int64", "uint64"):
        truth = rng.integers(0, 7, (3, 6, 8)).astype(dtype)
        truth[truth == 6] = 255
        prediction = rng.integers(0, 5, truth.shape).astype(dtype)
        confusion.update(truth, prediction)
        for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
            if t < 5:
                expected[t, p] += 1
    assert confusion.matrix.dtype == np.int64
    np.testing.assert_array_equal(confusion.matrix, expected)
    confusion.reset()
    assert not confusion.matrix.any()


def test_more_classes_than_a_byte_squared():
    truth = np.arange(256, dtype="uint8").reshape(16, 16)
    confusion = metrics.ConfusionMatrix(256, ignore_class=None)
    confusion.update(truth, truth)
    np.testing.assert_array_equal(confusion.matrix, np.eye(256))


def test_absent_class_is_left_out_and_shown_as_not_available():
    #       truth 0: 6 right, 2 taken for 1; truth 1: 2 right; class 2 absent; 3 only predicted
    matrix = np.array([[6, 1, 0, 1], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(metrics.iou_per_class(matrix), [6 / 8, 2 / 3, np.nan, 0.0])
    np.testing.assert_allclose(metrics.accuracy_per_class(matrix), [6 / 8, 1, np.nan, np.nan])
    assert metrics.mean_iou(matrix) == pytest.approx((6 / 8 + 2 / 3) / 3)
    assert metrics.mean_accuracy(matrix) == pytest.approx(7 / 8)
    assert metrics.pixel_accuracy(matrix) == pytest.approx(0.8)
    assert metrics.frequency_weighted_iou(matrix) == pytest.approx(0.8 * 6 / 8 + 0.2 * 2 / 3)
    table = metrics.per_class_table(matrix, ["road", "car", "bicyclist", "sky"]).splitlines()
    assert [line.split() for line in table[1:5]] == [
        ["road", "75.00", "75.00", "80.00"],
        ["car", "66.67", "100.00", "20.00"],
        ["bicyclist", "n/a", "n/a", "0.00"],
        ["sky", "0.00", "n/a", "0.00"],
    ]
    assert table[5].split() == ["mean", "47.22", "87.50"]
    assert "80.00" in table[6]


def test_an_empty_matrix_has_no_figures(recwarn):
    empty = np.zeros((3, 3), np.int64)
    for figure in (
        metrics.mean_iou,
        metrics.pixel_accuracy,
        metrics.mean_accuracy,
        metrics.frequency_weighted_iou,
    ):
        assert np.isnan(figure(empty))
    assert metrics.per_class_table(empty, list("abc")).count("n/a") == 3 * 3 + 2 + 2
    assert not recwarn.list


def test_counts_beyond_32_bits():
    matrix = np.array([[2**40, 2**38], [0, 2**40]])
    assert metrics.iou_per_class(matrix)[0] == pytest.approx(4 / 5, abs=1e-15)
    assert metrics.pixel_accuracy(matrix) == pytest.approx(8 / 9, abs=1e-15)


def test_wrong_input_is_refused():
    confusion = metrics.ConfusionMatrix(3)
    ids = np.zeros((4, 4), "uint8")
    with pytest.raises(TypeError, match="prediction.*float64"):
        confusion.update(ids, ids * 1.0)
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(4, 3\)"):
        confusion.update(ids, ids[:, :3])
    with pytest.raises(ValueError, match=r"prediction 3 at 16 valid pixels is outside 0 \.\. 2"):
        confusion.update(ids, ids + 3)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        metrics.mean_iou(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="float64"):
        metrics.mean_iou(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="2 class names"):
        metrics.per_class_table(np.zeros((3, 3), int), ["a", "b"])


def test_an_ignored_class_among_the_classes_has_no_iou():
    """Predicted where another class is true it is a miss of that class, not a class at IoU 0."""
    truth, prediction = np.array([[0, 1, 1, 1, 2, 2]]), np.array([[1, 0, 1, 1, 2, 2]])
    confusion = metrics.ConfusionMatrix(3, ignore_class=0)
    confusion.update(truth, prediction)
    np.testing.assert_allclose(
        metrics.iou_per_class(confusion.matrix, ignore_class=0), [np.nan, 2 / 3, 1]
    )
    assert metrics.mean_iou(confusion.matrix, ignore_class=0) == pytest.approx(5 / 6)
    assert metrics.mean_iou(confusion.matrix, ignore_class=255) == pytest.approx(5 / 9)
    table = metrics.per_class_table(confusion.matrix, ["void", "road", "car"], ignore_class=0)
    assert table.splitlines()[1].split()[:2] == ["void", "n/a"]
    boundary = metrics.BoundaryScores(3, ignore_class=0)
    boundary.update(truth, prediction)
    assert np.isnan(boundary.result()["boundary_iou_per_class"][0])


@pytest.mark.parametrize(
    "metric", [metrics.ConfusionMatrix, metrics.BoundaryScores, metrics.MeanIoU]
)
def test_a_number_of_classes_that_is_none_is_refused(metric):
    for count in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="num_classes must be 1 or more"):
            metric(count)
    assert metric(np.int64(3)).num_classes == 3
