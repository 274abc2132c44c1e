"""Mean IoU as a Keras metric whose counts stay exact beyond 32 bits."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_focusseg.metrics.confusion import class_count

# Counts are kept as high * BASE + low in two int32 variables: JAX has no int64 by default, and one
# int32 overflows on a training set of Cityscapes. Low stays below 2**20, so that 2047 replicas can
# be summed, and float32 holds it exactly.
BASE = 2**20
# Keras sums segments in float32 on PyTorch, which counts to 2**24: with the pixels of a batch dealt
# to 16 heaps the counts of 2**28 pixels are exact. On an accelerator it also spares the atomics.
HEAPS = 16


@keras.saving.register_keras_serializable(package="keras_focusseg")
class MeanIoU(keras.metrics.Metric):
    """Mean intersection over union from one confusion matrix over all batches.

    A class that occurs neither in the truth nor in the predictions is left out of the mean; with no
    valid pixel at all the result is NaN. Counts are exact up to 2**51 pixels a cell, in batches of
    up to 2**28 pixels.

    Args:
        num_classes: Number of classes.
        ignore_class: Truth label that is left out, as are labels outside 0 .. num_classes - 1.
        name: Name in logs.

    Raises:
        ValueError: `num_classes` is no whole number above 0.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import metrics
        >>> metric = metrics.MeanIoU(num_classes=3)
        >>> metric.update_state(np.array([[[0, 1, 255]]]), np.array([[[0, 1, 2]]]))
        >>> float(metric.result())
        1.0
    """

    def __init__(
        self, num_classes: int, ignore_class: int | None = 255, name: str = "mean_iou"
    ) -> None:
        super().__init__(name=name)
        self._direction = "up"  # what Keras' callbacks ask for where they are given no mode
        self.num_classes = class_count(num_classes, "MeanIoU")
        self.ignore_class = ignore_class
        cells = self.num_classes**2
        self._low = self.add_variable((cells,), "zeros", dtype="int32", name="low")
        self._high = self.add_variable((cells,), "zeros", dtype="int32", name="high")
        self._strange = self.add_variable((), "zeros", dtype="int32", name="strange")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: Integer masks (B, H, W) or (B, H, W, 1).
            y_pred: Logits or probabilities (B, H, W, num_classes), or integer predictions shaped
                as the masks.
            sample_weight: Must be None.

        Raises:
            ValueError: Shapes do not fit each other, or there is a sample weight.
        """
        if sample_weight is not None:
            raise ValueError(
                "MeanIoU counts pixels and takes no sample_weight; give pixels that must not count "
                f"the label ignore_class={self.ignore_class}."
            )
        truth, blended = _ids(y_true, "masks")
        predicted = self._predicted_ids(ops.convert_to_tensor(y_pred), truth)
        count = self.num_classes
        counts = ops.logical_and(truth >= 0, truth < count)
        if self.ignore_class is not None:
            counts = ops.logical_and(counts, ops.not_equal(truth, self.ignore_class))
        known = ops.logical_and(predicted >= 0, predicted < count)
        # Two more cells: valid pixels with a prediction that is no class, and ignored pixels.
        cell = ops.where(known, truth * count + predicted, count**2)
        cell = ops.reshape(ops.where(counts, cell, count**2 + 1), (-1,))
        added = _count(cell, count**2 + 2)
        low = self._low + ops.cast(added[: count**2], "int32")
        carry = low // BASE
        self._low.assign(low - carry * BASE)
        self._high.assign(self._high + carry)
        self._strange.assign(self._strange + ops.cast(added[count**2], "int32") + blended)

    def _predicted_ids(self, y_pred: Any, truth: Any) -> Any:
        """Integer predictions (B, H, W) of either form."""
        shape, mask_shape = tuple(y_pred.shape), tuple(truth.shape)
        if _is_float(y_pred):
            if len(shape) != 4 or shape[-1] != self.num_classes:
                raise ValueError(
                    f"MeanIoU: float predictions must be (batch, height, width, {self.num_classes})"
                    f" scores of the classes, got shape {shape} for masks {mask_shape}."
                )
            y_pred = _best_class(y_pred)
        predicted, _ = _ids(y_pred, "predictions")
        pairs = zip(tuple(predicted.shape), mask_shape, strict=True)
        if any(None not in (a, b) and a != b for a, b in pairs):
            raise ValueError(
                f"MeanIoU: predictions of shape {shape} do not fit masks of shape {mask_shape}."
            )
        return predicted

    def result(self) -> Any:
        """Mean IoU, float32; NaN without a valid pixel or if `confusion_matrix` would raise."""
        counts = ops.cast(self._high, "float32") * BASE + ops.cast(self._low, "float32")
        matrix = ops.reshape(counts, (self.num_classes, self.num_classes))
        hits = ops.diagonal(matrix)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - hits
        present = union > 0
        if self.ignore_class is not None:  # a class that is never true has no IoU
            present = ops.logical_and(present, ops.arange(self.num_classes) != self.ignore_class)
        iou = hits / ops.where(present, union, ops.ones_like(union))
        number = ops.sum(ops.cast(present, "float32"))
        mean = ops.sum(iou) / ops.maximum(number, 1.0)
        broken = ops.logical_or(number == 0, self._strange > 0)
        return ops.where(broken, ops.full_like(mean, float("nan")), mean)

    def confusion_matrix(self) -> np.ndarray:
        """Exact counts, (num_classes, num_classes) int64; rows are truth, columns predictions.

        Raises:
            ValueError: A prediction at a valid pixel was no class, or a mask held a blended id.
        """
        strange = int(ops.convert_to_numpy(self._strange))
        if strange:
            raise ValueError(
                f"MeanIoU: {strange} pixels had a prediction outside 0 .. {self.num_classes - 1} "
                "or a mask id that is no whole number. Do model and metric agree about the "
                "classes, and are masks resized with nearest neighbour?"
            )
        high = ops.convert_to_numpy(self._high).astype("int64")
        low = ops.convert_to_numpy(self._low).astype("int64")
        return (high * BASE + low).reshape(self.num_classes, self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
        }


def _best_class(scores: Any) -> Any:
    """The class of the highest of the scores (B, H, W, C), (B, H, W) int32; the first of equals.

    Where none is highest, because they are NaN, it is the last one. Reductions of whole maps take a
    third of the time of `ops.argmax` over the last axis on TensorFlow, where Keras 3.15 looks at
    the sign of zeros first.
    """
    maps = ops.transpose(scores, (3, 0, 1, 2))
    count = maps.shape[0]
    ids = ops.reshape(ops.arange(count, dtype="int32"), (count, 1, 1, 1))
    return ops.min(ops.where(maps >= ops.max(maps, axis=0), ids, count - 1), axis=0)


def _count(cells: Any, num_cells: int) -> Any:
    """How often each of 0 .. num_cells - 1 occurs in `cells` (N,), int32."""
    heap = ops.cast(ops.arange(0, ops.shape(cells)[0]) % HEAPS, "int32")
    ones = ops.ones_like(cells)
    counts = ops.segment_sum(ones, cells + heap * num_cells, num_segments=HEAPS * num_cells)
    return ops.sum(ops.reshape(counts, (HEAPS, num_cells)), axis=0)


def _ids(values: Any, what: str) -> tuple[Any, Any]:
    """Class ids as int32 (B, H, W), and how many of them were blended (1.5), an int32 scalar.

    Floats of whole numbers pass: under `tf.distribute` Keras traces a model with the mean of the
    masks of all replicas.
    """
    values = ops.convert_to_tensor(values)
    shape = tuple(values.shape)
    if len(shape) == 4 and shape[-1] == 1:
        values = ops.squeeze(values, axis=-1)
    elif len(shape) != 3:
        raise ValueError(
            f"MeanIoU: {what} must be (batch, height, width) or (batch, height, width, 1) ids, "
            f"got shape {shape}."
        )
    blended: Any = 0
    if _is_float(values):
        blended = ops.sum(ops.cast(ops.not_equal(values, ops.floor(values)), "int32"))
    return ops.cast(values, "int32"), ops.cast(blended, "int32")


def _is_float(values: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(values.dtype))
