"""Dice loss over the classes that are present."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg._replicas import over_replicas
from keras_focusseg.losses.base import SegmentationLoss, mean_over


def overlap_sums(labels: Any, logits: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Soft counts of each class over batch and space: intersection, prediction, truth, each (C,).

    The batch is that of all replicas.

    The prediction is the softmax, the truth one-hot; both are multiplied by `weights`.
    """
    weights = ops.expand_dims(weights, -1)  # (B, H, W, 1)
    probabilities = _softmax(logits)  # (B, H, W, C)
    truth = ops.one_hot(labels, logits.shape[-1], dtype="float32") * weights
    # Sums and no matrix product: accelerators would round the latter's inputs to 11 bits.
    intersection, prediction, truth = over_replicas(
        ops.sum(probabilities * truth, axis=(0, 1, 2)),
        ops.sum(probabilities * weights, axis=(0, 1, 2)),
        ops.sum(truth, axis=(0, 1, 2)),
    )
    return intersection, prediction, truth


def _softmax(logits: Any) -> Any:
    """Over the last axis, in the form whose value and gradient take the backend least.

    PyTorch's kernel is slow where the axis lies together in memory and is short, so the classes
    come first there. XLA joins the exponential to what reads it, and no softmax; TensorFlow takes
    as long for both.
    """
    if keras.backend.backend() == "torch":
        first = ops.softmax(ops.transpose(logits, (0, 3, 1, 2)), axis=1)  # (B, C, H, W)
        return ops.transpose(first, (0, 2, 3, 1))
    return ops.exp(ops.log_softmax(logits, axis=-1))


@keras.saving.register_keras_serializable(package="keras_focusseg")
class Dice(SegmentationLoss):
    """1 - Dice coefficient, from sums over the whole batch, averaged over the classes present.

    For class c with soft counts I (intersection), P (prediction) and G (truth) over the pixels that
    count, `d_c = (2 I + smooth) / (P + G + smooth)`; the loss is 1 - mean of d_c over the classes
    with G > 0 (FoR-Net, arXiv 2605.02764, second term of Eq. 8, as its authors released it). If no
    class is present, i.e. everything is ignored, the loss is 0 here (theirs: the constant 1).

    Args:
        ignore_class: Label that is left out, as are labels outside 0 .. C-1.
        smooth: Pixels added to numerator and denominator, > 0.
        name: Name of the loss.

    Raises:
        ValueError: `smooth` is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import losses
        >>> masks = np.array([[[0, 1], [1, 255]]], "uint8")
        >>> perfect = 50.0 * np.eye(2, dtype="float32")[[[0, 1], [1, 0]]][None]
        >>> round(float(losses.Dice()(masks, perfect)), 4)
        0.0
    """

    def __init__(
        self, ignore_class: int | None = 255, smooth: float = 1.0, name: str = "dice"
    ) -> None:
        super().__init__(ignore_class=ignore_class, name=name)
        if not smooth > 0:
            raise ValueError(f"smooth must be > 0, got {smooth}.")
        self.smooth = float(smooth)

    def pixel_loss(self, labels: Any, logits: Any, weights: Any) -> Any:
        """Mean of 1 - d_c over the classes present."""
        intersection, predicted, truth = overlap_sums(labels, logits, weights)
        dice = (2.0 * intersection + self.smooth) / (predicted + truth + self.smooth)
        return mean_over(1.0 - dice, truth > 0)

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {**super().get_config(), "smooth": self.smooth}
