"""Tversky and focal Tversky loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg.losses.base import SegmentationLoss, mean_over
from keras_focusseg.losses.dice import overlap_sums


@keras.saving.register_keras_serializable(package="keras_focusseg")
class Tversky(SegmentationLoss):
    """1 - Tversky index, to a power, averaged over the classes present in the batch.

    For class c with soft counts TP, FP and FN over the pixels that count,
    `t_c = (TP + smooth) / (TP + alpha FP + beta FN + smooth)`; the loss is the mean of
    `(1 - t_c) ** gamma` over the classes with a true pixel, 0 if there is none.

    `alpha` weighs false positives and `beta` false negatives (Salehi et al., MLMI 2017); both 0.5
    give Dice. `gamma` is the exponent itself: Abraham and Khan (ISBI 2019) recommend 3/4, which
    they write as 1 / (4/3), and give their 0.7 to false negatives, as here.

    Args:
        ignore_class: Label that is left out, as are labels outside 0 .. C-1.
        alpha: Weight of false positives, >= 0.
        beta: Weight of false negatives, >= 0.
        gamma: Exponent, > 0; 1 is the plain Tversky loss.
        smooth: Pixels added to numerator and denominator, > 0.
        name: Name of the loss.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import losses
        >>> masks = np.array([[[0, 1], [1, 255]]], "uint8")
        >>> perfect = 50.0 * np.eye(2, dtype="float32")[[[0, 1], [1, 0]]][None]
        >>> round(float(losses.Tversky(gamma=0.75)(masks, perfect)), 4)
        0.0
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 1.0,
        smooth: float = 1.0,
        name: str = "tversky",
    ) -> None:
        super().__init__(ignore_class=ignore_class, name=name)
        if not (alpha >= 0 and beta >= 0 and gamma > 0 and smooth > 0):
            raise ValueError(
                "Tversky needs alpha >= 0, beta >= 0, gamma > 0 and smooth > 0, got "
                f"alpha={alpha}, beta={beta}, gamma={gamma}, smooth={smooth}."
            )
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.gamma = float(gamma)
        self.smooth = float(smooth)

    def pixel_loss(self, labels: Any, logits: Any, weights: Any) -> Any:
        """Mean of (1 - t_c) ** gamma over the classes present."""
        hits, predicted, truth = overlap_sums(labels, logits, weights)
        errors = self.alpha * (predicted - hits) + self.beta * (truth - hits)  # (C,)
        # 1 - t_c, written without the difference of two numbers near 1.
        loss = errors / (hits + errors + self.smooth)
        if self.gamma != 1.0:
            # The slope of a root is infinite at 0.
            loss = ops.power(ops.maximum(loss, 1e-7), self.gamma)
        return mean_over(loss, truth > 0)

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "gamma": self.gamma,
            "smooth": self.smooth,
        }
