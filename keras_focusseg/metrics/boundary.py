"""Boundary IoU and boundary F1 of label maps, in NumPy."""

from __future__ import annotations

import math

import numpy as np

from keras_focusseg.metrics.confusion import checked_pair, counted_pixels, nan_mean


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


def _within_disc(bits: np.ndarray, radius: float) -> np.ndarray:
    """Each pixel's bits joined with those of all pixels within Euclidean distance `radius`."""
    joined = np.zeros_like(bits)
    for dy in range(math.floor(radius) + 1):
        row = _widened(bits, math.floor(math.sqrt(radius**2 - dy**2)), 1, np.bitwise_or)
        for shift in {dy, -dy}:
            _slid_into(joined, row, shift, 0, np.bitwise_or)
    return joined


def _bit_type(num_classes: int) -> type[np.unsignedinteger]:
    """The smallest integer with one bit a class, 64 at most: one pass widens all these classes."""
    for kind in (np.uint8, np.uint16, np.uint32):
        if num_classes <= 8 * kind().itemsize:
            return kind
    return np.uint64


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
        tolerance: Of the F1, in pixels, >= 0.
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
        tolerance: float = 2,
        band: float = 0.02,
        band_pixels: int | None = None,
        image_border: bool = False,
    ) -> None:
        if tolerance < 0 or not band > 0 or (band_pixels is not None and band_pixels < 1):
            raise ValueError(
                "BoundaryScores needs tolerance >= 0, band > 0 and band_pixels >= 1 or None, got "
                f"tolerance={tolerance}, band={band}, band_pixels={band_pixels}."
            )
        self.num_classes = int(num_classes)
        self.ignore_class = ignore_class
        self.tolerance = float(tolerance)
        self.band = float(band)
        self.band_pixels = band_pixels
        self.image_border = image_border
        self.reset()

    def reset(self) -> None:
        """Sets all counts to zero."""
        # Rows: band intersection and union; matched and all pixels of prediction, then of truth.
        self._counts = np.zeros((6, self.num_classes), dtype=np.int64)

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
        self._count_bands(truth, prediction, valid)
        self._count_boundaries(truth, prediction, valid)

    def _bins(self, labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=self.num_classes)

    def _count_bands(self, truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray) -> None:
        reach = self.band_pixels or max(1, round(self.band * math.hypot(*truth.shape)))
        true_band, predicted_band = (
            _near_other_class(x, valid, self.num_classes, reach, self.image_border)
            for x in (truth, prediction)
        )
        both = true_band & predicted_band & (truth == prediction)
        intersection = self._bins(truth[both])
        in_truth, in_prediction = (
            self._bins(truth[true_band]),
            self._bins(prediction[predicted_band]),
        )
        self._counts[0] += intersection
        self._counts[1] += in_truth + in_prediction - intersection

    def _count_boundaries(
        self, truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray
    ) -> None:
        edges = [
            _near_other_class(x, valid, self.num_classes, 1, False) for x in (truth, prediction)
        ]
        for row, (own, other) in ((2, (1, 0)), (4, (0, 1))):
            labels = (truth, prediction)[own][edges[own]]
            matched = self._matched((truth, prediction)[other], edges[other], labels, edges[own])
            self._counts[row] += self._bins(labels[matched])
            self._counts[row + 1] += self._bins(labels)

    def _matched(
        self, other: np.ndarray, other_edges: np.ndarray, labels: np.ndarray, edges: np.ndarray
    ) -> np.ndarray:
        """Which of the boundary pixels `edges` with `labels` have a partner in the other map."""
        kind = _bit_type(self.num_classes)
        width = 8 * kind().itemsize
        matched = np.zeros(labels.shape, dtype=bool)
        for first in range(0, self.num_classes, width):
            here = other_edges & (other // width == first // width)
            bits = np.where(here, kind(1) << (other % width).astype(kind), kind(0))
            reached = _within_disc(bits, self.tolerance)[edges] >> (labels % width).astype(kind)
            matched |= (labels // width == first // width) & ((reached & kind(1)) == 1)
        return matched

    def result(self) -> dict[str, float | np.ndarray]:
        """The scores so far, all shares of 1.

        Returns:
            `"boundary_iou"` and `"boundary_f1"`, means over classes (float), and
            `"boundary_iou_per_class"`, `"boundary_f1_per_class"`, (C,) float64 with NaN for classes
            without a boundary.
        """
        intersection, union, hits, predicted, found, true = self._counts.astype(np.float64)
        missing = np.full(self.num_classes, np.nan)
        iou = np.divide(intersection, union, out=missing.copy(), where=union > 0)
        precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
        recall = np.divide(found, true, out=np.zeros_like(found), where=true > 0)
        total = precision + recall
        f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        f1[(predicted == 0) & (true == 0)] = np.nan
        if self.ignore_class is not None and 0 <= self.ignore_class < self.num_classes:
            iou[self.ignore_class] = f1[self.ignore_class] = np.nan
        return {
            "boundary_iou": nan_mean(iou),
            "boundary_f1": nan_mean(f1),
            "boundary_iou_per_class": iou,
            "boundary_f1_per_class": f1,
        }
