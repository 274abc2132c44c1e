"""Resizing of feature maps to sizes that are known only at run time."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def resize_to(x: Any, size: tuple[Any, Any], interpolation: str = "bilinear") -> Any:
    """Resizes maps (B, H, W, C) with half-pixel centres and without antialiasing.

    Args:
        x: Maps (B, H, W, C).
        size: Wanted height and width: integers, or scalar tensors.
        interpolation: `"bilinear"` or `"nearest"`.

    Returns:
        Maps (B, size[0], size[1], C) of the same dtype.

    Example:
        ```python
        big = resize_to(keras.ops.ones((1, 4, 4, 2)), (8, 8))    # (1, 8, 8, 2)
        ```
    """
    if keras.backend.backend() == "tensorflow" and not all(isinstance(s, int) for s in size):
        # keras.ops.image.resize refuses symbolic sizes on TensorFlow (Keras 3.14 and 3.15.1,
        # mended upstream by keras-team/keras pull request 23315; drop this with keras > 3.15.1).
        import tensorflow as tf

        resized = tf.image.resize(x, tf.stack(list(size)), method=interpolation)
        return tf.cast(resized, x.dtype)
    return ops.image.resize(x, size, interpolation=interpolation)


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ResizeLike(keras.layers.Layer):
    """Resizes its first input to the height and width of its second, whatever they are.

    Bilinear with half-pixel centres (`align_corners=False`), without antialiasing.

    Args:
        interpolation: `"bilinear"` or `"nearest"`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        ```python
        low = keras.Input((None, None, 8))
        high = keras.Input((None, None, 4))
        same_size = ResizeLike()(low, high)
        ```
    """

    def __init__(self, interpolation: str = "bilinear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.interpolation = interpolation

    def call(self, x: Any, like: Any) -> Any:
        """Maps (B, h, w, C) at the size of `like` (B, H, W, any): (B, H, W, C)."""
        return resize_to(x, tuple(ops.shape(like)[1:3]), self.interpolation)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], like_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Height and width of `like`, batch and channels of `x`."""
        return (x_shape[0], like_shape[1], like_shape[2], x_shape[3])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "interpolation": self.interpolation}
