"""SERNet-Former's attention-boosting gate, and the module that adds it to a filtered map."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg.layers.elementwise import Add


@keras.saving.register_keras_serializable(package="keras_focusseg")
class AttentionBoostingGate(keras.layers.Layer):
    """A map that gates itself: `sigmoid(b) * b` (AbG; SERNet-Former, arXiv 2401.15741, Eq. 1).

    The paper takes b from the batch normalisation that follows the last convolution of a block. The
    gate has no parameters, keeps the shape, and is the function known as SiLU or Swish: it is 0
    at 0, never below -0.27847 (at b = -1.2785), and close to b where b is large. Its arguments are
    those of `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> added = layers.AttentionBoostingGate()(keras.ops.ones((1, 8, 8, 4)))
        >>> round(float(added[0, 0, 0, 0]), 4)
        0.7311
    """

    def call(self, b: Any) -> Any:
        """Normalised map b (B, H, W, C) to `sigmoid(b) * b` of the same shape."""
        return ops.sigmoid(b) * b

    def compute_output_shape(self, b_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the map."""
        return b_shape


def attention_boost(
    filtered: keras.KerasTensor, b: keras.KerasTensor, *, name: str, dtype: Any = None
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Adds the gate of b to what a block made of b: the attention-boosting module, AbM.

    The layers are named `{name}_gate` and `{name}`. Where the sum enters a residual block is our
    reading of the paper: after the ReLU that follows the shortcut.

    Args:
        filtered: Output of the block (B, H, W, C), for example ReLU(shortcut + b).
        b: Output of the block's last batch normalisation, of the same shape.
        name: Prefix of the layer names.
        dtype: Dtype policy of the layers.

    Returns:
        The boosted map `filtered + sigmoid(b) * b`, and the second summand alone.

    Raises:
        ValueError: The two maps differ in their channels.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> b = keras.Input((None, None, 8))
        >>> boosted, added = layers.attention_boost(keras.layers.ReLU()(b), b, name="abm")
        >>> boosted.shape
        (None, None, None, 8)
    """
    if filtered.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"{name}: the boosted map has {filtered.shape[-1]} channels and the gated one "
            f"{b.shape[-1]}; a gate is added at equal sizes, so give it the block's own output."
        )
    added = AttentionBoostingGate(dtype=dtype, name=f"{name}_gate")(b)
    return Add(dtype=dtype, name=name)([filtered, added]), added
