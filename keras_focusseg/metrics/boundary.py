"""Boundary IoU and boundary F1 of label maps, in NumPy."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from keras_focusseg.metrics.confusion import (
    checked_pair,
    class_count,
    counted_pixels,
    nan_mean,
)


def _apart(size: int, shift: int) -> tuple[slice, slice]:
    """Where to write and where to read along an axis for `y[i] = x[i + shift]`."""
    to = slice(max(0, -shift), max(0, size - max(0, shift)))
    return to, slice(max(0, shift), max(0, size - max(0, -shift)))


def _slid_into(y: np.ndarray, x: np.ndarray, shift: int, axis: int, pick: np.ufunc) -> None:
    """`y[i] = pick(y[i], x[i + shift])` along an axis, where `x` has that entry."""
    if abs(shift) >= x.shape[axis]:
        return
    to, source = _apart(x.shape[axis], shift)
    if axis == 0:
        pick(y[to], x[source], out=y[to])
    else:
        pick(y[:, to], x[:, source], out=y[:, to])


def _widened(x: np.ndarray, reach: int, axis: int, pick: np.ufunc) -> np.ndarray:
    """`pick` (maximum, minimum, bitwise or) over the `2 * reach + 1` entries around each.

    Doubles the window from pass to pass, once towards each end.
    """
    sides = []
    for sign in (1, -1):
        length = 1  # entries that the window covers so far
        side = x
        while length <= reach:
            step = min(length, reach + 1 - length)
            wider = side.copy()
            _slid_into(wider, side, sign * step, axis, pick)
            side = wider
            length += step
        sides.append(side)
    return pick(*sides)


def _near_other_class(
    labels: np.ndarray, valid: np.ndarray, num_classes: int, reach: int, image_border: bool
) -> np.ndarray:
    """Valid pixels with a valid pixel of another class within Chebyshev distance `reach`.

    Among the valid labels of the window the largest differs from the smallest exactly then.
    """
    highest = np.where(valid, labels, labels.dtype.type(-1))
    lowest = np.where(valid, labels, labels.dtype.type(num_classes))
    for axis in (1, 0):
        highest = _widened(highest, reach, axis, np.maximum)
        lowest = _widened(lowest, reach, axis, np.minimum)
    near = highest > lowest
    if image_border:
        inner = tuple(slice(reach, max(reach, size - reach)) for size in labels.shape)
        edge = np.ones_like(near)
        edge[inner] = False
        near |= edge
    return near & valid


def trimap(masks: np.ndarray, width: int, ignore_class: int | None = 255) -> np.ndarray:
    """Pixels near a boundary between two classes: where segmentation is hard.

    The IoU inside such a band says how exact boundaries are (Kohli et al., IJCV 2009): count
    only these pixels, by setting the others of the truth to the ignored label.

    Args:
        masks: Integer ids (H, W).
        width: Largest distance in pixels to a pixel of another class, in rows or columns, >= 1.
        ignore_class: Label that is left out: no part of the band, and no boundary of it.

    Returns:
        (H, W) bool.

    Raises:
        TypeError: The masks do not hold integers.
        ValueError: Not one image, or `width` below 1.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import metrics
        >>> metrics.trimap(np.array([[0, 0, 0, 1, 1, 1]]), width=2).astype(int)
        array([[0, 1, 1, 1, 1, 0]])
    """
    masks = np.asarray(masks)
    if masks.dtype.kind not in "ui":
        raise TypeError(f"trimap: expected integer ids, got {masks.dtype}.")
    if masks.ndim != 2 or width < 1:
        raise ValueError(
            "trimap: expected one image (height, width) and a width of at least 1 pixel, got shape "
            f"{masks.shape} and width {width}."
        )
    valid = np.ones(masks.shape, bool) if ignore_class is None else masks != ignore_class
    labels = masks.astype(np.int64)
    return _near_other_class(labels, valid, int(labels.max(initial=0)) + 1, width, False)


FAR = np.iinfo(np.int32).max
"""In place of a squared distance: there is none within reach."""


def nearest_of_class(
    labels: np.ndarray, edges: np.ndarray, other: np.ndarray, other_edges: np.ndarray, reach: float
) -> np.ndarray:
    """How far the boundary pixels of one map are from those of their class in another.

    Pixel by pixel outwards; few are still looking after the first distances.

    Args:
        labels: Ids (H, W).
        edges: Its boundary pixels, (H, W) bool.
        other: Ids (H, W) of the other map.
        other_edges: Boundary pixels of that.
        reach: Largest Euclidean distance in pixels.

    Returns:
        Squared distances (N,) int32 of the `N` pixels of `edges` in reading order, `FAR` where
        there is none within reach.
    """
    side = math.floor(reach)
    width = labels.shape[1] + 2 * side
    targets = np.pad(np.where(other_edges, other, other.dtype.type(-1)), side, constant_values=-1)
    targets = targets.ravel()
    y, x = np.nonzero(edges)
    places, wanted, open_ = (y + side) * width + x + side, labels[edges], np.arange(len(y))
    nearest = np.full(len(y), FAR, np.int32)
    for squared, shifts in _offsets(reach):
        found = np.zeros(len(open_), bool)
        for dy, dx in shifts:
            found |= targets[places + (dy * width + dx)] == wanted
        nearest[open_[found]] = squared
        left = ~found
        places, wanted, open_ = places[left], wanted[left], open_[left]
    return nearest


@functools.lru_cache(maxsize=16)
def _offsets(reach: float) -> tuple[tuple[int, tuple[tuple[int, int], ...]], ...]:
    """Squared distances up to `reach`, nearest first, with the rows and columns to go for each."""
    side = range(-math.floor(reach), math.floor(reach) + 1)
    found: dict[int, list[tuple[int, int]]] = {}
    for dy, dx in itertools.product(side, side):
        if dy * dy + dx * dx <= reach * reach:
            found.setdefault(dy * dy + dx * dx, []).append((dy, dx))
    return tuple((squared, tuple(shifts)) for squared, shifts in sorted(found.items()))


@dataclasses.dataclass(frozen=True)
class BoundaryCounts:
    """Counts of boundary pixels, from which the scores are read; of one image or a sum of them.

    Args:
        bands: Intersection and union of the bands of each class, (2, C) int64.
        edges: For each tolerance and class, matched and all boundary pixels of the prediction, then
            of the truth, (T, 4, C) int64.
    """

    bands: np.ndarray
    edges: np.ndarray


def band_iou(bands: np.ndarray) -> np.ndarray:
    """Boundary IoU of each class from `BoundaryCounts.bands` (..., 2, C): (..., C), NaN if none."""
    intersection, union = np.moveaxis(np.asarray(bands, "float64"), -2, 0)
    return np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)


def edge_f1(edges: np.ndarray) -> np.ndarray:
    """Boundary F1 of each class from `BoundaryCounts.edges` (..., 4, C): (..., C), NaN if none."""
    hits, predicted, found, true = np.moveaxis(np.asarray(edges, "float64"), -2, 0)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(found, true, out=np.zeros_like(found), where=true > 0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return np.where((predicted == 0) & (true == 0), np.nan, f1)


def boundary_scores(
    counts: BoundaryCounts, ignore_class: int | None = None
) -> dict[str, float | np.ndarray]:
    """What `BoundaryScores.result` gives, from counts.

    Args:
        counts: Of one image, or their sum.
        ignore_class: One of the classes that is left out, or None.
    """
    iou, f1 = band_iou(counts.bands), edge_f1(counts.edges)
    if ignore_class is not None and 0 <= ignore_class < len(iou):
        iou[ignore_class] = f1[:, ignore_class] = np.nan
    return {
        "boundary_iou": nan_mean(iou),
        "boundary_f1": nan_mean(f1[0]),
        "boundary_iou_per_class": iou,
        "boundary_f1_per_class": f1[0],
        "boundary_f1_at": np.array([nan_mean(one) for one in f1]),
    }


class BoundaryScores:
    """Boundary IoU and boundary F1 of each class, from counts summed over all images.

    **Boundary IoU** (Cheng et al., CVPR 2021): the band of a class is the set of its pixels within
    distance d of its contour, in truth and prediction; the score is the IoU of the two bands. As
    in the authors' code distance is Chebyshev and d a share of the image's diagonal, rounded, at
    least 1. Intersections and unions are summed over images before they are divided, as for mIoU.

    **Boundary F1** (Csurka et al., BMVC 2013): a boundary pixel of a class touches (8-neighbours)
    another class; it is matched if the other map has a boundary pixel of the same class within
    `tolerance` pixels (Euclidean). Precision is the matched share of the predicted boundary pixels,
    recall that of the true ones, F1 their harmonic mean. Matched and all pixels are summed over
    images before they are divided; the paper averages the F1 of single images instead.

    Ignored pixels are taken out of truth and prediction alike: they are in no band, and a border to
    them alone is no boundary. Neither is the border of the image, unless `image_border`. A class
    without a boundary pixel in truth and prediction is NaN and left out of the means.

    Args:
        num_classes: Number of classes.
        ignore_class: Truth label that is left out, as are labels outside 0 .. num_classes - 1.
        tolerance: Of the F1, in pixels, >= 0; or several: the first is that of `"boundary_f1"`.
        band: Width d of the bands as a share of the image's diagonal.
        band_pixels: Width d in pixels; takes the place of `band`.
        image_border: Counts the border of the image as a contour of the bands, as the boundary IoU
            authors' code does. The F1 never does.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import metrics
        >>> truth = np.repeat([[0] * 8 + [1] * 8], 4, axis=0)
        >>> prediction = np.repeat([[0] * 9 + [1] * 7], 4, axis=0)
        >>> scores = metrics.BoundaryScores(num_classes=2, tolerance=1, band_pixels=2)
        >>> scores.update(truth, prediction)
        >>> result = scores.result()
        >>> round(result["boundary_f1"], 3), round(result["boundary_iou"], 3)
        (1.0, 0.333)
    """

    def __init__(
        self,
        num_classes: int,
        ignore_class: int | None = 255,
        tolerance: float | Sequence[float] = 2,
        band: float = 0.02,
        band_pixels: int | None = None,
        image_border: bool = False,
    ) -> None:
        tolerances = tuple(np.atleast_1d(np.asarray(tolerance, "float64")).tolist())
        bad = not tolerances or not all(0 <= one < math.inf for one in tolerances) or not band > 0
        if bad or (band_pixels is not None and band_pixels < 1):
            raise ValueError(
                "BoundaryScores needs tolerance >= 0, band > 0 and band_pixels >= 1 or None, got "
                f"tolerance={tolerance}, band={band}, band_pixels={band_pixels}."
            )
        self.num_classes = class_count(num_classes, "BoundaryScores")
        self.ignore_class = ignore_class
        self.tolerances = tolerances
        self.band = float(band)
        self.band_pixels = band_pixels
        self.image_border = image_border
        self.reset()

    def reset(self) -> None:
        """Sets all counts to zero."""
        self.counts = BoundaryCounts(
            np.zeros((2, self.num_classes), np.int64),
            np.zeros((len(self.tolerances), 4, self.num_classes), np.int64),
        )

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one image, or a batch of images of one size.

        Args:
            truth: Integer ids (H, W) or (B, H, W).
            prediction: Integer ids of the same shape.

        Raises:
            TypeError: An array does not hold integers.
            ValueError: Shapes differ or are no images, or a prediction that counts is no class.
        """
        truth, prediction = checked_pair(truth, prediction, "BoundaryScores")
        if truth.ndim == 3:
            for pair in zip(truth, prediction, strict=True):
                self.update(*pair)
            return
        found = self.count(truth, prediction)
        self.counts = BoundaryCounts(
            self.counts.bands + found.bands, self.counts.edges + found.edges
        )

    def count(self, truth: np.ndarray, prediction: np.ndarray) -> BoundaryCounts:
        """The counts of one image (H, W), added to nothing; arguments are those of `update`.

        Raises:
            TypeError: An array does not hold integers.
            ValueError: Shapes differ, or it is not one image.
        """
        truth, prediction = checked_pair(truth, prediction, "BoundaryScores")
        if truth.ndim != 2:
            raise ValueError(
                f"BoundaryScores: expected (height, width) or (batch, height, width), got shape "
                f"{truth.shape}."
            )
        valid = counted_pixels(
            truth, prediction, self.num_classes, self.ignore_class, "BoundaryScores"
        )
        kind = np.int16 if self.num_classes < np.iinfo(np.int16).max else np.int32
        truth, prediction = (np.where(valid, x, 0).astype(kind) for x in (truth, prediction))
        return BoundaryCounts(
            self._bands(truth, prediction, valid), self._edges(truth, prediction, valid)
        )

    def _bins(self, labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=self.num_classes)

    def _bands(self, truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray) -> np.ndarray:
        reach = self.band_pixels or max(1, round(self.band * math.hypot(*truth.shape)))
        true_band, predicted_band = (
            _near_other_class(x, valid, self.num_classes, reach, self.image_border)
            for x in (truth, prediction)
        )
        both = true_band & predicted_band & (truth == prediction)
        intersection = self._bins(truth[both])
        union = self._bins(truth[true_band]) + self._bins(prediction[predicted_band]) - intersection
        return np.stack([intersection, union])

    def _edges(self, truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray) -> np.ndarray:
        true_edges, predicted_edges = (
            _near_other_class(x, valid, self.num_classes, 1, False) for x in (truth, prediction)
        )
        pairs = ((prediction, predicted_edges), (truth, true_edges))
        counts = np.zeros((len(self.tolerances), 4, self.num_classes), np.int64)
        for row, own, other in ((0, *pairs), (2, *pairs[::-1])):
            labels = own[0][own[1]]
            squared = nearest_of_class(*own, *other, max(self.tolerances))
            for number, tolerance in enumerate(self.tolerances):
                counts[number, row] = self._bins(labels[squared <= tolerance**2])
            counts[:, row + 1] = self._bins(labels)
        return counts

    def result(self) -> dict[str, float | np.ndarray]:
        """The scores so far, all shares of 1.

        Returns:
            `"boundary_iou"` and `"boundary_f1"`, means over classes (float), and
            `"boundary_iou_per_class"`, `"boundary_f1_per_class"`, (C,) float64 with NaN for classes
            without a boundary; `"boundary_f1_at"`, (T,) float64, the mean F1 at each tolerance.
        """
        return boundary_scores(self.counts, self.ignore_class)
