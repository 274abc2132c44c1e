"""Counts of single images: small, and enough for every figure, mean and interval over images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from keras_focusseg.metrics.boundary import BoundaryCounts, BoundaryScores, trimap
from keras_focusseg.metrics.confusion import checked_pair, counted_pixels, nan_mean

CALIBRATION_BINS = 15
Average = Literal["split", "image"]
Absent = Literal["left out", "zero", "one"]
Void = Literal["ignored", "false positive"]


@dataclasses.dataclass(frozen=True)
class ImageCounts:
    """What is counted of an image; with a first axis more, of many.

    Args:
        pixels: Of each class: hits, true pixels, predicted pixels, and pixels that are predicted
            where the truth is void; (4, C) int64.
        boundary: Counts of bands and boundaries.
        trimap: Hits, true and predicted pixels within each width of a true boundary, (W, 3, C).
        calibration: Pixels, sum of the confidences and hits of each bin of confidence, (3, bins)
            float64.
    """

    pixels: np.ndarray
    boundary: BoundaryCounts
    trimap: np.ndarray
    calibration: np.ndarray

    @classmethod
    def stacked(cls, images: Sequence[ImageCounts]) -> ImageCounts:
        """The counts of images along a new first axis."""
        return cls(
            np.stack([one.pixels for one in images]),
            BoundaryCounts(
                np.stack([one.boundary.bands for one in images]),
                np.stack([one.boundary.edges for one in images]),
            ),
            np.stack([one.trimap for one in images]),
            np.stack([one.calibration for one in images]),
        )

    def weighed(self, weights: np.ndarray) -> ImageCounts:
        """Sums over the images, each as often as `weights` (..., N) says: (..., of one image)."""

        def summed(counts: np.ndarray) -> np.ndarray:
            if weights.ndim > 1:  # many sums: float64 is exact up to 2**53, and far faster
                return np.tensordot(weights.astype("float64"), counts.astype("float64"), 1)
            return np.tensordot(weights, counts, 1)

        return ImageCounts(
            summed(self.pixels),
            BoundaryCounts(summed(self.boundary.bands), summed(self.boundary.edges)),
            summed(self.trimap),
            summed(self.calibration),
        )


def count_image(
    truth: np.ndarray,
    prediction: np.ndarray,
    confidence: np.ndarray,
    boundary: BoundaryScores,
    trimap_widths: Sequence[int],
) -> ImageCounts:
    """Counts of one image.

    Args:
        truth: Ids (H, W).
        prediction: Ids (H, W).
        confidence: Probability of the predicted class, (H, W) in 0..1.
        boundary: Classes, ignored class, tolerances and band; nothing is added to it.
        trimap_widths: Widths in pixels, see `trimap`.

    Raises:
        TypeError: An array does not hold integers.
        ValueError: Shapes differ, or a prediction that counts is no class.
    """
    classes, ignored = boundary.num_classes, boundary.ignore_class
    truth, prediction = checked_pair(truth, prediction, "count_image")
    valid = counted_pixels(truth, prediction, classes, ignored, "count_image")

    def counted(where: np.ndarray) -> list[np.ndarray]:
        true, found = truth[where], prediction[where]
        return [
            np.bincount(labels, minlength=classes) for labels in (true[true == found], true, found)
        ]

    void = prediction[~valid]
    on_void = np.bincount(void[void < classes], minlength=classes)
    shown = np.where(valid, truth, 255).astype("int32") if ignored != 255 else truth
    near = [valid & trimap(shown, width, 255) for width in trimap_widths]
    hits = (truth == prediction)[valid]
    sure = confidence[valid].astype("float64")
    bins = np.minimum((sure * CALIBRATION_BINS).astype("int64"), CALIBRATION_BINS - 1)
    calibration = [
        np.bincount(bins, weights, CALIBRATION_BINS) for weights in (np.ones_like(sure), sure, hits)
    ]
    return ImageCounts(
        np.stack([*counted(valid), on_void]),
        boundary.count(truth, prediction),
        np.stack([np.stack(counted(where)) for where in near]),
        np.stack(calibration),
    )


def class_iou(
    pixels: np.ndarray,
    *,
    absent: Absent = "left out",
    void: Void = "ignored",
    ignore_class: int | None = None,
) -> np.ndarray:
    """IoU of each class from counts (..., 3 or 4, C) of `ImageCounts`, (..., C) float64.

    Args:
        pixels: Hits, true pixels, predicted pixels, and those predicted on void.
        absent: What a class in neither truth nor prediction is: "left out" (NaN), "zero" or "one".
        void: What a prediction where the truth is void is: "ignored", or a "false positive" of
            the class.
        ignore_class: The class, if one of 0 .. C-1, that has no IoU.
    """
    hits, true, found, *on_void = np.moveaxis(np.asarray(pixels, "float64"), -2, 0)
    union = true + found - hits
    if void == "false positive":
        union = union + on_void[0]
    value = {"left out": np.nan, "zero": 0.0, "one": 1.0}[absent]
    iou = np.divide(hits, union, out=np.full(union.shape, value), where=union > 0)
    if ignore_class is not None and 0 <= ignore_class < iou.shape[-1]:
        iou[..., ignore_class] = np.nan
    return iou


def nan_means(values: np.ndarray) -> np.ndarray:
    """Mean along the last axis of what is not NaN; NaN without a warning if there is none."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def mean_iou_under(
    pixels: np.ndarray,
    *,
    average: Average = "split",
    absent: Absent = "left out",
    void: Void = "ignored",
    ignore_class: int | None = None,
) -> float:
    """Mean IoU of images under a convention; libraries differ, and the figures with them.

    Args:
        pixels: Counts (N, 4, C) of `ImageCounts`.
        average: "split" sums the counts of all images before they are divided; "image" is the mean
            over images of the mean over classes of each.
        absent: See `class_iou`.
        void: See `class_iou`.
        ignore_class: See `class_iou`.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg.metrics.per_image import mean_iou_under
        >>> first = [[1, 0], [2, 0], [1, 1], [0, 0]]    # hits, true, predicted, predicted on void
        >>> second = [[4, 0], [4, 0], [4, 0], [0, 2]]
        >>> pixels = np.array([first, second])
        >>> mean_iou_under(pixels), mean_iou_under(pixels, average="image")
        (0.4166666666666667, 0.625)
    """
    if average == "split":
        pixels = np.sum(pixels, axis=0, keepdims=True)
    iou = class_iou(pixels, absent=absent, void=void, ignore_class=ignore_class)
    return nan_mean(nan_means(iou))


def calibration_error(calibration: np.ndarray) -> np.ndarray:
    """Expected calibration error from counts (..., 3, bins): (...) float64, NaN without a pixel.

    The mean over pixels of the distance between the confidence and the accuracy of their bin, of
    15 bins of equal width (Guo et al., ICML 2017).
    """
    pixels, sure, hits = np.moveaxis(np.asarray(calibration, "float64"), -2, 0)
    total = pixels.sum(-1)
    gap = np.abs(sure - hits).sum(-1)
    return np.divide(gap, total, out=np.full(total.shape, np.nan), where=total > 0)


def resamples(count: int, rounds: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each of `count` images is drawn in each round of the bootstrap, (rounds, count).

    Each round draws as many images as there are, with replacement (Efron, 1979).
    """
    draws = np.random.default_rng(seed).integers(0, count, (rounds, count))
    draws += np.arange(rounds)[:, None] * count
    return np.bincount(draws.ravel(), minlength=rounds * count).reshape(rounds, count)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of what the rounds of the bootstrap gave, (rounds,); NaN if all are."""
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
