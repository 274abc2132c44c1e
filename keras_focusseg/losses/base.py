"""What every loss of this room shares: integer masks, ignored pixels, weights, float32.

A pixel counts when its label is a class (0 .. C-1) and not `ignore_class`. The other pixels have
weight 0: whatever finite logits and whatever labels lie there, value and gradient stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_focusseg._replicas import over_replicas


def integer_labels(masks: Any, where: str) -> tuple[Any, Any | None]:
    """Masks as int32 of shape (B, H, W).

    Float masks of whole numbers pass, since Keras traces a model under `tf.distribute` with the
    mean of the masks of all replicas. A blended id (1.5) is an error: at once in a NumPy array, and
    by the second return value in a tensor, whose values are not known while a graph is traced.

    Args:
        masks: Masks of class ids, (B, H, W) or (B, H, W, 1).
        where: Name of the caller, for the message.

    Returns:
        An int32 tensor (B, H, W); and for a float tensor a bool scalar, False if an id was blended.

    Raises:
        ValueError: The rank is wrong, there is more than one channel, or an id is blended.
    """
    if isinstance(masks, np.ndarray) and masks.dtype.kind == "f":
        blended = masks[masks != np.floor(masks)]
        if blended.size:
            raise ValueError(
                f"{where}: masks must hold integer class ids, got dtype {masks.dtype} with values "
                f"such as {blended.flat[0]}. Were they resized or rotated with interpolation? Use "
                "nearest neighbour for masks, and an integer dtype."
            )
        masks = masks.astype("int32")
    masks = ops.convert_to_tensor(masks)
    shape = tuple(masks.shape)
    if len(shape) == 4 and shape[-1] == 1:
        masks = ops.squeeze(masks, axis=-1)
    elif len(shape) != 3:
        raise ValueError(
            f"{where}: masks must be (batch, height, width) or (batch, height, width, 1) class "
            f"ids, got shape {shape}. One-hot masks: take their argmax over the last axis."
        )
    whole = None
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(masks.dtype)):
        whole = ops.all(ops.equal(masks, ops.floor(masks)))
    return ops.cast(masks, "int32"), whole


def nan_unless(whole: Any | None, value: Any) -> Any:
    """`value`, or NaN where float masks held a blended id (see `integer_labels`)."""
    return value if whole is None else ops.where(whole, value, float("nan"))


def valid_pixels(labels: Any, num_classes: int, ignore_class: int | None) -> Any:
    """Bool map, shaped as `labels`: True where the label is a class and is not ignored."""
    valid = ops.logical_and(labels >= 0, labels < num_classes)
    if ignore_class is not None:
        valid = ops.logical_and(valid, ops.not_equal(labels, ignore_class))
    return valid


def check_same_grid(masks: Any, predictions: Any, where: str) -> None:
    """Refuses masks (B, H, W) and predictions (B, H, W, C) whose known sizes differ.

    Raises:
        ValueError: With both shapes.
    """
    mask_shape, shape = tuple(masks.shape), tuple(predictions.shape)
    fits = len(shape) == 4 and all(
        a is None or b is None or a == b for a, b in zip(mask_shape, shape[:3], strict=True)
    )
    if not fits:
        raise ValueError(
            f"{where}: masks of shape {mask_shape} do not fit predictions of shape {shape}; "
            "expected (batch, height, width) beside (batch, height, width, channels)."
        )


def pixel_weights(sample_weight: Any, labels: Any, where: str) -> Any:
    """Sample weights as a float32 map that broadcasts against (B, H, W).

    Args:
        sample_weight: (B,) one weight an image, (B, H, W) or (B, H, W, 1) one a pixel.
        labels: (B, H, W), for the check of shapes.
        where: Name of the caller, for the message.

    Returns:
        (B, 1, 1) or (B, H, W).

    Raises:
        ValueError: Any other shape.
    """
    weights = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    shape, expected = tuple(weights.shape), tuple(labels.shape)
    if len(shape) == 4 and shape[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    elif len(shape) == 2 and shape[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    rank = len(weights.shape)
    known = zip(tuple(weights.shape), expected, strict=False)
    if rank not in (1, 3) or any(None not in (a, b) and a != b for a, b in known):
        raise ValueError(
            f"{where}: sample_weight of shape {shape} does not fit masks of shape {expected}; "
            "expected (batch,) or (batch, height, width)."
        )
    return ops.reshape(weights, (-1, 1, 1)) if rank == 1 else weights


def safe_ratio(numerator: Any, denominator: Any) -> Any:
    """`numerator / denominator` for a denominator >= 0, and 0 with gradient 0 where it is 0.

    NaN where the denominator is NaN.
    """
    positive = ops.logical_not(denominator <= 0)
    ratio = numerator / ops.where(positive, denominator, ops.ones_like(denominator))
    return ops.where(positive, ratio, ops.zeros_like(ratio))


def weighted_mean(values: Any, weights: Any) -> Any:
    """`sum(weights * values) / sum(weights)` over all replicas, and 0 where all weights are 0."""
    return safe_ratio(*over_replicas(ops.sum(weights * values), ops.sum(weights)))


def mean_over(values: Any, chosen: Any) -> Any:
    """Mean of `values` over the last axis where `chosen` is True; 0 where nothing is chosen."""
    chosen = ops.cast(chosen, "float32")
    count = ops.sum(chosen, axis=-1)
    return ops.sum(values * chosen, axis=-1) / ops.maximum(count, 1.0)


def class_weight_list(class_weights: Sequence[float] | np.ndarray | None) -> list[float] | None:
    """Class weights as a plain list.

    Raises:
        ValueError: A weight is negative or not finite, or the list is not flat.
    """
    if class_weights is None:
        return None
    weights = np.asarray(class_weights, dtype="float64")
    if weights.ndim != 1 or not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError(
            "class_weights must be a flat list of finite numbers >= 0, one a class, got "
            f"{class_weights!r}."
        )
    return [float(w) for w in weights]


class SegmentationLoss(keras.losses.Loss):
    """Base of the losses on logits (B, H, W, C) and integer masks (B, H, W).

    A subclass writes `pixel_loss`, which sees int32 labels (ignored pixels hold 0), float32 logits
    and float32 weights (0 at ignored pixels), and gives a scalar. The base checks shapes and
    dtypes and keeps Keras' scaling under `tf.distribute`.

    Args:
        ignore_class: Label that is left out; labels outside 0 .. C-1 always are. None: only those.
        name: Name of the loss.
    """

    def __init__(self, ignore_class: int | None = 255, name: str | None = None) -> None:
        # float32 whatever the policy: half precision counts no further than 2048.
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.ignore_class = ignore_class

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Args:
            y_true: Integer masks (B, H, W) or (B, H, W, 1).
            y_pred: Logits (B, H, W, C), any float dtype.
            sample_weight: None, (B,) or (B, H, W): multiplies the weight of the pixels.

        Returns:
            A float32 scalar; 0 if every pixel is ignored, NaN for float masks with blended ids.

        Raises:
            ValueError: Shapes do not fit each other, or a NumPy mask holds a blended id.
        """
        where = type(self).__name__
        logits = ops.convert_to_tensor(y_pred)
        labels, whole = integer_labels(y_true, where)  # (B, H, W)
        check_same_grid(labels, logits, where)
        num_classes = logits.shape[-1]
        if num_classes is None or num_classes < 2:
            raise ValueError(
                f"{where}: logits must have one channel for each of at least 2 classes, got shape "
                f"{tuple(logits.shape)}."
            )
        valid = valid_pixels(labels, num_classes, self.ignore_class)
        weights = ops.cast(valid, "float32")
        if sample_weight is not None:
            weights = weights * pixel_weights(sample_weight, labels, where)
        labels = ops.where(valid, labels, ops.zeros_like(labels))
        value = super().__call__({"labels": labels, "weights": weights}, logits)
        return nan_unless(whole, value)

    def call(self, y_true: dict[str, Any], y_pred: Any) -> Any:
        """`pixel_loss` as one value of shape (1,) for Keras to reduce; it casts both to float32."""
        labels = ops.cast(y_true["labels"], "int32")
        return ops.reshape(self.pixel_loss(labels, y_pred, y_true["weights"]), (1,))

    def pixel_loss(self, labels: Any, logits: Any, weights: Any) -> Any:
        """Scalar loss of int32 labels (B, H, W), logits (B, H, W, C) and weights (B, H, W)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Plain arguments; reduction and dtype are fixed."""
        return {"name": self.name, "ignore_class": self.ignore_class}
