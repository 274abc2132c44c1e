"""Softmax focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_focusseg.losses.base import SegmentationLoss, class_weight_list, weighted_mean
from keras_focusseg.losses.cross_entropy import class_weight_map, negative_log_likelihood


@keras.saving.register_keras_serializable(package="keras_focusseg")
class Focal(SegmentationLoss):
    """Cross-entropy times `(1 - p) ** gamma`, with p the softmax probability of the true class.

    Lin et al., ICCV 2017, with the softmax in place of the sigmoid. The value is the mean over the
    pixels that count, weighted as in `CrossEntropy`: class weights (their alpha) times sample
    weights, divided by the sum of those weights. `gamma=0` is the cross-entropy.

    Args:
        ignore_class: Label that is left out, as are labels outside 0 .. C-1.
        gamma: Exponent, >= 0.
        class_weights: One number >= 0 a class, or None.
        name: Name of the loss.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import losses
        >>> masks = np.array([[[0, 255]]], "uint8")
        >>> round(float(losses.Focal(gamma=2.0)(masks, np.zeros((1, 1, 2, 2), "float32"))), 4)
        0.1733
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        gamma: float = 2.0,
        class_weights: Sequence[float] | np.ndarray | None = None,
        name: str = "focal",
    ) -> None:
        super().__init__(ignore_class=ignore_class, name=name)
        if not gamma >= 0:
            raise ValueError(f"gamma must be >= 0, got {gamma}.")
        self.gamma = float(gamma)
        self.class_weights = class_weight_list(class_weights)

    def pixel_loss(self, labels: Any, logits: Any, weights: Any) -> Any:
        """Weighted mean of the modulated cross-entropy."""
        nll = negative_log_likelihood(labels, logits)  # (B, H, W)
        if self.class_weights is not None:
            num_classes, where = logits.shape[-1], type(self).__name__
            weights = weights * class_weight_map(self.class_weights, labels, num_classes, where)
        if self.gamma == 0.0:
            return weighted_mean(nll, weights)
        # 1 - p without cancellation; the floor keeps the slope of a root finite at p = 1.
        doubt = ops.maximum(-ops.expm1(-nll), 1e-12)
        return weighted_mean(ops.power(doubt, self.gamma) * nll, weights)

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "class_weights": self.class_weights,
        }
