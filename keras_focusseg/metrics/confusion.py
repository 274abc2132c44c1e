"""Confusion matrix in 64-bit counts, and every number that is read off it.

A matrix is (C, C) int64; rows are truth, columns are predictions. A class that occurs in neither is
NaN in per-class arrays and left out of means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


def class_count(num_classes: Any, where: str) -> int:
    """The number of classes as a plain number.

    Raises:
        ValueError: It is no whole number above 0.
    """
    whole = isinstance(num_classes, (int, np.integer)) and not isinstance(num_classes, bool)
    if not whole or num_classes < 1:
        raise ValueError(f"{where}: num_classes must be 1 or more, got {num_classes!r}.")
    return int(num_classes)


def checked_pair(
    truth: np.ndarray, prediction: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction as integer arrays of one shape.

    Raises:
        TypeError: One of them does not hold integers.
        ValueError: Their shapes differ.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    for name, array in (("truth", truth), ("prediction", prediction)):
        if array.dtype.kind not in "iub":
            raise TypeError(
                f"{where}: {name} must hold integer class ids, got dtype {array.dtype}; take the "
                "argmax of scores first."
            )
    if truth.shape != prediction.shape:
        raise ValueError(
            f"{where}: truth of shape {truth.shape} and prediction of shape {prediction.shape} "
            "must have the same shape."
        )
    return truth, prediction


def counted_pixels(
    truth: np.ndarray,
    prediction: np.ndarray,
    num_classes: int,
    ignore_class: int | None,
    where: str,
) -> np.ndarray:
    """Bool array: True where the truth is a class and is not ignored.

    Raises:
        ValueError: The prediction at such a pixel is no class; the message names one.
    """
    valid = (truth >= 0) & (truth < num_classes)
    if ignore_class is not None:
        valid &= truth != ignore_class
    strange = valid & ((prediction < 0) | (prediction >= num_classes))
    if strange.any():
        raise ValueError(
            f"{where}: prediction {prediction[strange][0]} at {int(strange.sum())} valid pixels is "
            f"outside 0 .. {num_classes - 1}."
        )
    return valid


class ConfusionMatrix:
    """Counts pairs of true and predicted class over any number of images.

    Args:
        num_classes: Number of classes.
        ignore_class: Truth label that is left out, as are labels outside 0 .. num_classes - 1. If
            it is one of the classes, give it to `mean_iou` and the like as well.

    Attributes:
        matrix: (num_classes, num_classes) int64; rows are truth, columns predictions.

    Raises:
        ValueError: `num_classes` is no whole number above 0.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import metrics
        >>> confusion = metrics.ConfusionMatrix(num_classes=3)
        >>> confusion.update(np.array([[0, 1, 255]]), np.array([[0, 0, 2]]))
        >>> confusion.matrix.tolist()
        [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
        >>> metrics.mean_iou(confusion.matrix)
        0.25
    """

    def __init__(self, num_classes: int, ignore_class: int | None = 255) -> None:
        self.num_classes = class_count(num_classes, "ConfusionMatrix")
        self.ignore_class = ignore_class
        self.reset()

    def reset(self) -> None:
        """Sets all counts to zero."""
        self.matrix = np.zeros((self.num_classes, self.num_classes), dtype=np.int64)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Counts one image or batch.

        Args:
            truth: Integer ids of any shape.
            prediction: Integer ids of the same shape, 0 .. num_classes - 1 where the truth counts.

        Raises:
            TypeError: An array does not hold integers.
            ValueError: Shapes differ, or a prediction that counts is no class.
        """
        truth, prediction = checked_pair(truth, prediction, "ConfusionMatrix")
        valid = counted_pixels(
            truth, prediction, self.num_classes, self.ignore_class, "ConfusionMatrix"
        )
        truth, prediction = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
        cells = truth * self.num_classes + prediction
        counts = np.bincount(cells, minlength=self.num_classes**2)
        self.matrix += counts.reshape(self.matrix.shape)


def _counts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, true pixels and predicted pixels of each class, each (C,) int64."""
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind not in "iu":
        raise ValueError(
            "A confusion matrix is a square array of integer counts, got shape "
            f"{matrix.shape}, dtype {matrix.dtype}."
        )
    matrix = matrix.astype(np.int64)
    return np.diagonal(matrix).copy(), matrix.sum(axis=1), matrix.sum(axis=0)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole` in float64, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def nan_mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN without a warning if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def iou_per_class(matrix: np.ndarray, ignore_class: int | None = None) -> np.ndarray:
    """Intersection over union of each class, `hits / (truth + predicted - hits)`, (C,) float64.

    Args:
        matrix: (C, C) integer counts.
        ignore_class: The class, if one of 0 .. C-1, whose pixels were left out: it is never true,
            so it has no IoU (NaN). Where it is predicted, the true class has missed a pixel.
    """
    hits, truth, predicted = _counts(matrix)
    iou = _share(hits, truth + predicted - hits)
    if ignore_class is not None and 0 <= ignore_class < len(iou):
        iou[ignore_class] = np.nan
    return iou


def mean_iou(matrix: np.ndarray, ignore_class: int | None = None) -> float:
    """Mean of `iou_per_class` over the classes that occur in truth or prediction.

    Args:
        matrix: Counts (C, C) of integers, rows truth and columns prediction.
        ignore_class: One of the classes that is left out, or None.
    """
    return nan_mean(iou_per_class(matrix, ignore_class))


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Share of the pixels that are right; NaN for an empty matrix.

    Args:
        matrix: Counts (C, C) of integers, rows truth and columns prediction.
    """
    hits, truth, _ = _counts(matrix)
    return float(_share(hits.sum(), truth.sum()))


def accuracy_per_class(matrix: np.ndarray) -> np.ndarray:
    """Share of each class' true pixels that are right (recall), (C,); NaN without true pixels.

    Args:
        matrix: Counts (C, C) of integers, rows truth and columns prediction.
    """
    hits, truth, _ = _counts(matrix)
    return _share(hits, truth)


def mean_accuracy(matrix: np.ndarray) -> float:
    """Mean of `accuracy_per_class` over the classes that occur in the truth.

    Args:
        matrix: Counts (C, C) of integers, rows truth and columns prediction.
    """
    return nan_mean(accuracy_per_class(matrix))


def frequency_weighted_iou(matrix: np.ndarray) -> float:
    """IoU of the classes weighed by their share of the true pixels; NaN for an empty matrix.

    Args:
        matrix: Counts (C, C) of integers, rows truth and columns prediction.
    """
    _, truth, _ = _counts(matrix)
    known = truth > 0
    if not known.any():
        return float("nan")
    return float(np.sum(truth[known] * iou_per_class(matrix)[known]) / truth.sum())


def per_class_table(
    matrix: np.ndarray,
    class_names: Sequence[str],
    boundary: Mapping[str, Any] | None = None,
    ignore_class: int | None = None,
) -> str:
    """The figures of a confusion matrix as aligned text, in percent, with `n/a` for no figure.

    Args:
        matrix: (C, C) integer counts.
        class_names: C names.
        boundary: Result of `BoundaryScores`, for two more columns.
        ignore_class: As for `iou_per_class`.

    Returns:
        Lines: a header, one line a class (IoU, accuracy, share of the true pixels), and the means.

    Raises:
        ValueError: There are not C names.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import metrics
        >>> print(metrics.per_class_table(np.array([[3, 1], [0, 0]]), ["road", "car"]))
        class     IoU  accuracy   share
        road    75.00     75.00  100.00
        car      0.00       n/a    0.00
        mean    37.50     75.00
        pixel accuracy 75.00, frequency-weighted IoU 75.00
    """
    _, truth, _ = _counts(matrix)
    if len(class_names) != len(truth):
        raise ValueError(f"{len(class_names)} class names for a matrix of {len(truth)} classes.")
    titles = ["IoU", "accuracy"]
    columns = [iou_per_class(matrix, ignore_class), accuracy_per_class(matrix)]
    means = [mean_iou(matrix, ignore_class), mean_accuracy(matrix)]
    if boundary is not None:
        for title, key in (("boundary IoU", "boundary_iou"), ("boundary F1", "boundary_f1")):
            titles.append(title)
            columns.append(boundary[f"{key}_per_class"])
            means.append(boundary[key])
    titles.append("share")
    columns.append(_share(truth, np.broadcast_to(truth.sum(), truth.shape)))
    widths = [max(len(title), len("100.00")) for title in titles]
    first = max(len(name) for name in (*class_names, "class", "mean"))

    def line(name: str, cells: Iterable[str]) -> str:
        aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        return "  ".join([f"{name:<{first}}", *aligned])

    return "\n".join(
        [
            line("class", titles),
            *(
                line(name, map(percent, row))
                for name, *row in zip(class_names, *columns, strict=True)
            ),
            line("mean", map(percent, means)),
            f"pixel accuracy {percent(pixel_accuracy(matrix))}, "
            f"frequency-weighted IoU {percent(frequency_weighted_iou(matrix))}",
        ]
    )


def percent(value: float) -> str:
    """A share as percent with two decimals; `n/a` for NaN.

    Args:
        value: A share, 0..1, or NaN.
    """
    return "n/a" if np.isnan(value) else f"{100 * value:.2f}"
