"""Lovász-softmax: the convex surrogate of the mean IoU."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg._replicas import warn_per_replica
from keras_focusseg.losses.base import SegmentationLoss, mean_over, weighted_mean


def _jaccard_steps(signed: Any) -> Any:
    """Growth of the Jaccard loss as each pixel, in this order, joins the set of errors.

    Args:
        signed: (..., N): weight of the pixel, positive where the class is true, else negative.

    Returns:
        (..., N) weights >= 0 that sum to at most 1.
    """
    true, false = ops.relu(signed), ops.relu(-signed)
    total = ops.sum(true, axis=-1, keepdims=True)
    intersection = ops.maximum(total - ops.cumsum(true, axis=-1), 0.0)
    union = total + ops.cumsum(false, axis=-1)
    # A true pixel takes w off the intersection, a false one adds w to the union. The textbook's
    # difference of two Jaccard values near 1 would lose most of its float32 digits.
    tiny = 1e-12
    steps = true / ops.maximum(union, tiny)
    steps = steps + false * intersection / ops.maximum(union * (union - false), tiny)
    # A class without a true pixel: the first error already costs everything.
    first = ops.cast(ops.arange(0, ops.shape(signed)[-1]) == 0, "float32")
    return ops.where(total > 0, steps, first)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class Lovasz(SegmentationLoss):
    """Lovász-softmax loss (Berman, Triki, Blaschko, CVPR 2018), on all classes at once.

    For each class the pixels' errors (1 - p where the class is true, p elsewhere) are sorted and
    weighed by the steps of the Jaccard loss in that order (Algorithm 1). Sample weights make the
    Jaccard index one of weighted pixels. Sorting takes O(C N log N) and holds several (C, N) maps
    in memory. 0 if every pixel is ignored.

    Args:
        ignore_class: Label that is left out, as are labels outside 0 .. C-1.
        classes: "present" averages over the classes with a true pixel, "all" over all of them.
        per_image: Sorts each image on its own and averages over the images that have a pixel that
            counts; otherwise the batch is one set of pixels.
        name: Name of the loss.

    Raises:
        ValueError: `classes` is neither "present" nor "all".

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import losses
        >>> masks = np.array([[[0, 1], [1, 255]]], "uint8")
        >>> perfect = 50.0 * np.eye(2, dtype="float32")[[[0, 1], [1, 0]]][None]
        >>> round(float(losses.Lovasz()(masks, perfect)), 4)
        0.0
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        classes: str = "present",
        per_image: bool = False,
        name: str = "lovasz",
    ) -> None:
        super().__init__(ignore_class=ignore_class, name=name)
        if classes not in ("present", "all"):
            raise ValueError(f'classes must be "present" or "all", got {classes!r}.')
        self.classes = classes
        self.per_image = bool(per_image)

    def pixel_loss(self, labels: Any, logits: Any, weights: Any) -> Any:
        """Mean over classes and sets of pixels; a set (row) is an image or the batch."""
        num_classes = logits.shape[-1]
        if not self.per_image:
            warn_per_replica("The Lovász loss over a batch (per_image=False)")
        rows = ops.shape(logits)[0] if self.per_image else 1
        labels = ops.reshape(labels, (rows, 1, -1))  # (R, 1, N)
        weights = ops.reshape(weights, (rows, 1, -1))
        logits = ops.reshape(logits, (rows, -1, num_classes))
        probabilities = ops.transpose(ops.softmax(logits, axis=-1), (0, 2, 1))  # (R, C, N)
        ids = ops.reshape(ops.arange(num_classes, dtype="int32"), (1, -1, 1))
        sign = 2.0 * ops.cast(ops.equal(labels, ids), "float32") - 1.0  # (R, C, N)
        counts = ops.cast(weights > 0, "float32")
        # Linear in p, unlike |truth - p|, whose slope is lost at an error of exactly 0.
        errors = counts * (0.5 * (1.0 + sign) - sign * probabilities)
        order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
        signed = ops.take_along_axis(sign * weights, order, axis=-1)
        errors = ops.take_along_axis(errors, order, axis=-1)
        losses = ops.sum(errors * _jaccard_steps(signed), axis=-1)  # (R, C)
        any_pixel = ops.any(weights > 0, axis=-1)  # (R, 1)
        if self.classes == "present":
            chosen = ops.any(signed > 0, axis=-1)
        else:
            chosen = ops.logical_and(any_pixel, ops.ones_like(losses) > 0)
        return weighted_mean(mean_over(losses, chosen), ops.cast(any_pixel[:, 0], "float32"))

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {
            **super().get_config(),
            "classes": self.classes,
            "per_image": self.per_image,
        }
