"""Cross-entropy for integer masks, with class weights, label smoothing and hard pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_focusseg._replicas import over_replicas, warn_per_replica
from keras_focusseg.losses.base import SegmentationLoss, class_weight_list, safe_ratio


def class_weight_map(class_weights: list[float], labels: Any, num_classes: int, where: str) -> Any:
    """Weight of each pixel's class, (B, H, W) float32.

    Raises:
        ValueError: There are not `num_classes` weights.
    """
    if len(class_weights) != num_classes:
        raise ValueError(
            f"{where}: {len(class_weights)} class_weights for logits with {num_classes} classes."
        )
    return ops.take(ops.convert_to_tensor(class_weights, dtype="float32"), labels, axis=0)


def negative_log_likelihood(labels: Any, logits: Any) -> Any:
    """`-log softmax(logits)[label]` of each pixel, (B, H, W)."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class CrossEntropy(SegmentationLoss):
    """Softmax cross-entropy, a weighted mean over the pixels that count.

    With weight `w = class weight of the label * sample weight` (0 at ignored pixels) the value is
    `sum(w * loss) / sum(w)`: the normalisation of PyTorch, so that the number of ignored pixels and
    a common factor of all weights change nothing. All pixels ignored: 0.

    Label smoothing `e` mixes the one-hot target with the uniform one, `1 - e` to `e`; with class
    weights, the uniform part weighs each class by its own weight, again as PyTorch does.

    `ohem_threshold` turns on online hard example mining (Shrivastava et al., CVPR 2016, in the form
    usual in segmentation): only pixels count whose probability of the true class is at most the
    threshold, and if these are fewer than the share `ohem_min_kept` of the valid pixels of the
    batch (rounded, at least one), the hardest pixels up to that number, with all that tie with the
    last. The choice looks at the plain cross-entropy and carries no gradient.

    Args:
        ignore_class: Label that is left out, as are labels outside 0 .. C-1.
        class_weights: One number >= 0 a class, or None.
        label_smoothing: 0 <= e < 1.
        ohem_threshold: Probability in (0, 1], or None for all pixels.
        ohem_min_kept: Least share of the valid pixels that is kept, in (0, 1].
        name: Name of the loss.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import losses
        >>> masks = np.array([[[0, 1], [255, 2]]], "uint8")
        >>> logits = np.zeros((1, 2, 2, 3), "float32")
        >>> round(float(losses.CrossEntropy()(masks, logits)), 4)
        1.0986
    """

    def __init__(
        self,
        ignore_class: int | None = 255,
        class_weights: Sequence[float] | np.ndarray | None = None,
        label_smoothing: float = 0.0,
        ohem_threshold: float | None = None,
        ohem_min_kept: float = 0.1,
        name: str = "cross_entropy",
    ) -> None:
        super().__init__(ignore_class=ignore_class, name=name)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}.")
        if ohem_threshold is not None and not 0.0 < ohem_threshold <= 1.0:
            raise ValueError(f"ohem_threshold must be in (0, 1] or None, got {ohem_threshold}.")
        if not 0.0 < ohem_min_kept <= 1.0:
            raise ValueError(f"ohem_min_kept is a share in (0, 1], got {ohem_min_kept}.")
        self.class_weights = class_weight_list(class_weights)
        self.label_smoothing = float(label_smoothing)
        self.ohem_threshold = None if ohem_threshold is None else float(ohem_threshold)
        self.ohem_min_kept = float(ohem_min_kept)

    def pixel_loss(self, labels: Any, logits: Any, weights: Any) -> Any:
        """The weighted mean described above."""
        num_classes = logits.shape[-1]
        nll = negative_log_likelihood(labels, logits)  # (B, H, W)
        if self.ohem_threshold is not None:
            warn_per_replica("The choice of hard pixels (ohem_threshold)")
            weights = weights * self._hard(nll, weights > 0)
        of_label = weights  # weight of each pixel, with that of its class
        if self.class_weights is not None:
            where = type(self).__name__
            of_label = weights * class_weight_map(self.class_weights, labels, num_classes, where)
        total = ops.sum(of_label * nll)
        if self.label_smoothing:
            uniform = np.asarray(self.class_weights or [1.0] * num_classes) / num_classes
            uniform = ops.convert_to_tensor(uniform, dtype="float32")
            spread = -ops.sum(uniform * ops.log_softmax(logits, axis=-1), axis=-1)  # (B, H, W)
            smooth = self.label_smoothing
            total = (1.0 - smooth) * total + smooth * ops.sum(weights * spread)
        return safe_ratio(*over_replicas(total, ops.sum(of_label)))

    def _hard(self, nll: Any, valid: Any) -> Any:
        """1.0 at the pixels that hard example mining keeps, (B, H, W)."""
        assert self.ohem_threshold is not None
        difficulty = ops.where(valid, ops.stop_gradient(nll), ops.full_like(nll, -1.0))
        count = ops.sum(ops.cast(valid, "float32"))
        kept = ops.cast(ops.floor(self.ohem_min_kept * count + 0.5), "int32")
        hardest_first = -ops.sort(ops.reshape(-difficulty, (-1,)))
        limit = ops.take(hardest_first, ops.maximum(kept, 1) - 1)
        limit = ops.minimum(limit, -math.log(self.ohem_threshold))
        return ops.cast(ops.logical_and(difficulty >= limit, valid), "float32")

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "label_smoothing": self.label_smoothing,
            "ohem_threshold": self.ohem_threshold,
            "ohem_min_kept": self.ohem_min_kept,
        }
