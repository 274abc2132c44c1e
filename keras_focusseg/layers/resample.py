"""Resizing, sampling, padding and cropping of maps whose size is known only at run time."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
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
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.resize_to(keras.ops.ones((1, 4, 4, 2)), (8, 8)).shape)
        (1, 8, 8, 2)
    """
    if keras.backend.backend() == "tensorflow" and not all(isinstance(s, int) for s in size):
        # keras.ops.image.resize refuses symbolic sizes on TensorFlow (Keras 3.14 and 3.15.1,
        # mended upstream by keras-team/keras pull request 23315; drop this with keras > 3.15.1).
        import tensorflow as tf

        resized = tf.image.resize(x, tf.stack(list(size)), method=interpolation)
        return tf.cast(resized, x.dtype)
    return ops.image.resize(x, size, interpolation=interpolation, data_format="channels_last")


@keras.saving.register_keras_serializable(package="keras_focusseg")
class ResizeLike(keras.layers.Layer):
    """Resizes its first input to the height and width of its second, whatever they are.

    Bilinear with half-pixel centres (`align_corners=False`), without antialiasing.

    Args:
        interpolation: `"bilinear"` or `"nearest"`.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> low, high = keras.ops.ones((1, 4, 4, 8)), keras.ops.ones((1, 7, 9, 4))
        >>> tuple(layers.ResizeLike()(low, high).shape)
        (1, 7, 9, 8)
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


@keras.saving.register_keras_serializable(package="keras_focusseg")
class BilinearUpsampling(keras.layers.Layer):
    """Upsampling that follows nothing: `ResizeLike`, called as `SemanticRefinement` is.

    Its arguments are those of `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> low, high = keras.ops.ones((1, 8, 16, 32)), keras.ops.ones((1, 16, 32, 32))
        >>> y, fields = layers.BilinearUpsampling()(low, high, return_fields=True)
        >>> tuple(y.shape), fields  # nothing is moved
        ((1, 16, 32, 32), {})
    """

    def call(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Maps (B, h, w, C) and (B, H, W, any) to (B, H, W, C)."""
        y = resize_to(low, tuple(ops.shape(high)[1:3]))
        return (y, {}) if return_fields else y

    def compute_output_spec(
        self, low: Any, high: Any, return_fields: bool = False, training: bool | None = None
    ) -> Any:
        """Batch and channels of `low`, height and width of `high`."""
        y = keras.KerasTensor((low.shape[0], *high.shape[1:3], low.shape[-1]), self.compute_dtype)
        return (y, {}) if return_fields else y


def sample_bilinear(x: Any, coordinates: Any, padding: str = "border") -> Any:
    """Reads maps at fractional positions, differentiably in the maps and in the positions.

    Four lookups of the flattened map, one a neighbour, blended in float32 whatever the dtype of
    the map: half precision cannot hold pixel coordinates above 256. (`map_coordinates` of Keras
    gives the same values; `benchmarks/bilinear_sampling.py` has the ratio of the times.)

    Args:
        x: Maps (B, H, W, C).
        coordinates: Where to read, (B, h, w, 2): column and row in pixels of `x`, the centre of
            the first pixel at (0, 0). Any finite value.
        padding: `"border"` continues the map beyond its border by its outermost pixels (the
            gradient of such a coordinate is 0); `"zeros"` by zeros.

    Returns:
        Values (B, h, w, C) in the dtype of `x`.

    Raises:
        ValueError: Unknown `padding`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> ramp = keras.ops.reshape(keras.ops.arange(4.0), (1, 1, 4, 1))
        >>> float(layers.sample_bilinear(ramp, keras.ops.array([[[[2.5, 0.0]]]]))[0, 0, 0, 0])
        2.5
    """
    if padding not in ("border", "zeros"):
        raise ValueError(f"padding must be 'border' or 'zeros', got {padding!r}.")
    x, coordinates = ops.convert_to_tensor(x), ops.cast(coordinates, "float32")
    height, width = ops.shape(x)[1:3]
    column, row = ops.unstack(coordinates, axis=-1)  # (B, h, w)
    columns, rows = _neighbors(column, width, padding), _neighbors(row, height, padding)
    read = _reader(x)

    def corner(row: tuple[Any, Any], column: tuple[Any, Any]) -> Any:
        values = read(row[0] * width + column[0])  # (B, h, w, C)
        return ops.cast(values, "float32") * ops.expand_dims(row[1] * column[1], -1)

    corners = (corner(row, column) for row in rows for column in columns)
    return ops.cast(functools.reduce(operator.add, corners), x.dtype)


def _neighbors(position: Any, side: Any, padding: str) -> list[tuple[Any, Any]]:
    """The cells before and behind positions (B, h, w) on one side of a map, and their shares."""
    margin = 0.0 if padding == "border" else 1.0  # one ring outside decides all that lies there
    last = ops.cast(side - 1, "float32")
    position = ops.clip(position, -margin, last + margin)
    before = ops.floor(position)
    beyond = position - before  # in [0, 1)
    found = []
    for cell, share in ((before, 1.0 - beyond), (before + 1.0, beyond)):
        if padding == "zeros":
            share = share * ops.cast((cell >= 0) & (cell <= last), "float32")
        found.append((ops.cast(ops.clip(cell, 0.0, last), "int32"), share))
    return found


def _reader(x: Any) -> Callable[[Any], Any]:
    """What reads cells (B, h, w), counted along the rows, of maps (B, H, W, C): (B, h, w, C)."""
    batch, height, width, channels = ops.shape(x)
    if keras.backend.backend() == "jax":
        # Map by map: of all as one, devices that share a batch would send each other whole maps.
        maps = ops.reshape(x, (batch, -1, channels))

        def read(cells: Any) -> Any:
            found = ops.take_along_axis(maps, ops.reshape(cells, (batch, -1, 1)), axis=1)
            return ops.reshape(found, (*ops.shape(cells), channels))

        return read
    flat = ops.reshape(x, (-1, channels))  # (B H W, C)
    first = ops.reshape(ops.arange(batch, dtype="int32") * (height * width), (-1, 1, 1))
    return lambda cells: ops.take(flat, first + cells, axis=0)


def window(x: Any, top: int, left: int, height: Any, width: Any) -> Any:
    """Rows from `top` and columns from `left` of maps (B, H, W, C): (B, height, width, C)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # The gradient of x[:, top:..., left:...] takes TensorFlow ten times as long.
        found = tf.slice(x, (0, top, left, 0), (-1, height, width, -1))
        found.set_shape((x.shape[0], None, None, x.shape[-1]))  # a slice forgets channels
        return found
    return x[:, top : top + height, left : left + width]


def pixel_grid(like: Any) -> Any:
    """Column and row of every pixel of maps (B, H, W, C), as (1, H, W, 2) in float32."""
    height, width = ops.shape(like)[1:3]
    columns, rows = ops.meshgrid(
        ops.arange(width, dtype="float32"), ops.arange(height, dtype="float32")
    )
    return ops.stack([columns, rows], axis=-1)[None]


# Without numbers below zero, which ONNX divides in another way than Python.
def _divided_up(side: Any, divisor: int) -> Any:
    return (side + (divisor - 1)) // divisor


def _missing(side: Any, multiple: int) -> Any:
    return (multiple - side % multiple) % multiple


@keras.saving.register_keras_serializable(package="keras_focusseg")
class PadToMultiple(keras.layers.Layer):
    """Continues maps at the bottom and the right until a number divides both sides.

    The last row and the last column are repeated: unlike zeros, they bring no edge into the
    picture.

    Args:
        multiple: What height and width become multiples of.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> tuple(layers.PadToMultiple(32)(keras.ops.ones((1, 36, 48, 3))).shape)
        (1, 64, 64, 3)
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x: Any) -> Any:
        """Maps (B, H, W, C) to (B, H', W', C), the smallest multiples that hold them."""
        for axis in (1, 2):
            side = ops.shape(x)[axis]
            missing = _missing(side, self.multiple)
            if isinstance(missing, int) and missing == 0:
                continue
            if keras.backend.backend() == "torch":
                # `take` of Keras (3.15.1) there is a squeeze of a side that is not 1, which
                # PyTorch passes over, but no file in ONNX and OpenVINO.
                last = x[:, -1:] if axis == 1 else x[:, :, -1:]
                x = ops.concatenate([x, *[last] * missing], axis=axis)
                continue
            x = ops.take(x, ops.minimum(ops.arange(side + missing), side - 1), axis=axis)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Height and width rounded up."""
        batch, height, width, channels = input_shape
        up = [
            None if side is None else side + _missing(side, self.multiple)
            for side in (height, width)
        ]
        return (batch, *up, channels)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="keras_focusseg")
class CropLike(keras.layers.Layer):
    """Cuts maps down to what covers an image: the counterpart of `PadToMultiple`.

    Args:
        stride: Pixels of the image a cell of the maps stands for.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_focusseg import layers
        >>> images, logits = keras.ops.ones((1, 36, 48, 3)), keras.ops.ones((1, 16, 16, 11))
        >>> tuple(layers.CropLike(stride=4)(logits, images).shape)
        (1, 9, 12, 11)
    """

    def __init__(self, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, x: Any, like: Any) -> Any:
        """Maps (B, h', w', C) to the first ceil(H / stride) rows and ceil(W / stride) columns."""
        height, width = (_divided_up(side, self.stride) for side in ops.shape(like)[1:3])
        return window(x, 0, 0, height, width)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], like_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Height and width of `like`, divided by the stride and rounded up."""
        sides = [
            None if side is None else _divided_up(side, self.stride) for side in like_shape[1:3]
        ]
        return (x_shape[0], *sides, x_shape[3])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "stride": self.stride}
