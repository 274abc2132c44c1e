"""What a network learns from another one: where on the image each class's logits are high."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg.losses.base import weighted_mean


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ChannelDistillation(keras.losses.Loss):
    """Channel-wise knowledge distillation (Shu et al., ICCV 2021, arXiv 2011.13256).

    The logits of a class, a map over the image, become a distribution over its N positions,

        phi(y_c)_i = exp(y_ci / T) / sum_j exp(y_cj / T),                                    (3)

    and the loss is the divergence of the student's from the teacher's, over all C classes,

        T^2 / C * sum_c sum_i phi(t_c)_i * log(phi(t_c)_i / phi(s_c)_i),                     (4)

    averaged over the images of the batch. A constant added to all logits of a class changes
    nothing. The teacher gets no gradient.

    Args:
        temperature: T, > 0; the larger, the more positions count.
        stride: Every stride-th row and column is compared. Networks make their logits at a quarter
            of the image's size or below, so that 4 leaves out next to nothing.
        name: Name of the loss.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_focusseg import losses
        >>> teacher = np.zeros((1, 8, 8, 3), "float32")
        >>> teacher[:, :4, :, 1] = 8.0  # class 1 lies above
        >>> loss = losses.ChannelDistillation()
        >>> float(loss(teacher, teacher)), round(float(loss(teacher, 0.0 * teacher)), 4)
        (0.0, 1.7483)
    """

    def __init__(
        self, temperature: float = 4.0, stride: int = 4, name: str = "channel_distillation"
    ) -> None:
        # A Keras loss for its scaling under `tf.distribute`; float32 whatever the policy.
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        if temperature <= 0 or stride < 1:
            raise ValueError(
                "ChannelDistillation needs a temperature > 0 and a stride >= 1, got "
                f"temperature={temperature} and stride={stride}."
            )
        self.temperature, self.stride = float(temperature), int(stride)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss as one value of shape (1,), for Keras to reduce.

        Args:
            y_true: Logits of the teacher (B, H, W, C).
            y_pred: Logits of the student, of the same shape.
        """
        teacher, student = self._log_shares(ops.stop_gradient(y_true)), self._log_shares(y_pred)
        divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=1)  # (B, C)
        of_images = self.temperature**2 * ops.mean(divergence, axis=-1)  # (B,)
        return ops.reshape(weighted_mean(of_images, ops.ones_like(of_images)), (1,))

    def _log_shares(self, logits: Any) -> Any:
        """log phi, Eq. (3), (B, N, C)."""
        chosen = ops.cast(logits[:, :: self.stride, :: self.stride], "float32")
        maps = ops.reshape(chosen, (ops.shape(chosen)[0], -1, chosen.shape[-1]))
        return ops.log_softmax(maps / self.temperature, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Plain arguments."""
        return {"temperature": self.temperature, "stride": self.stride, "name": self.name}
