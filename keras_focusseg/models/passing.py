"""Batches of any form that Keras takes, looked at one by one on their way to the network.

It happens on the host, where the batch is made: no step waits for it. A look sees the shape of the
images, and of images and masks a grid of about 32x32 pixels.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

GRID = 32
Look = Callable[[tuple[int, ...], np.ndarray, np.ndarray | None], Any]


def looked_at(data: Any, look: Look) -> Any:
    """What goes on to Keras in place of `data`, equal to it, with a look at each batch.

    Args:
        data: Batches of images, of (images, masks) or of (images, masks, weights): a
            `keras.utils.PyDataset`, a generator, a `tf.data.Dataset`, a Grain dataset or a
            `DataLoader` of PyTorch. Anything else goes on as it is.
        look: Called for each batch with the shape of the images, few of their pixels, and the ids
            of the masks there, or `None` without masks.

    Returns:
        Data of the same form.

    Example:
        ```python
        def look(shape, pixels, ids):
            print(shape, pixels.max())

        for images, masks in looked_at(batches, look):
            ...
        ```
    """
    if isinstance(data, keras.utils.PyDataset):
        return _PyDataset(data, look)
    if isinstance(data, types.GeneratorType):
        return _generator(data, look)
    if hasattr(data, "element_spec"):
        return _tensorflow(data, look) if hasattr(data, "map") else data  # distributed: no map
    if _is_of(data, "grain") and hasattr(data, "map"):
        return data.map(_Passed(look))
    if _is_of(data, "torch") and hasattr(data, "collate_fn"):
        data = copy.copy(data)
        data.collate_fn = _Passed(look, data.collate_fn)
    return data


def look_at(batch: Any, look: Look) -> None:
    """Looks at one batch of arrays or of tensors in the memory of the host."""
    images, masks, _ = keras.utils.unpack_x_y_sample_weight(batch)
    if getattr(images, "ndim", 0):
        ids = np.asarray(grid(masks)) if getattr(masks, "ndim", 0) else None
        look(tuple(images.shape), np.asarray(grid(images)), ids)


def grid(values: Any, rows: Any = None) -> Any:
    """Pixels at equal distances of images or masks (B, H, W, ...), about 32 by 32 of each.

    Args:
        values: Array or tensor.
        rows: Height and width, where the tensor does not know them yet.
    """
    if len(values.shape) < 3:
        return values
    height, width = rows if rows is not None else values.shape[1:3]
    return values[:, :: height // GRID + 1, :: width // GRID + 1]


def _is_of(data: Any, package: str) -> bool:
    return any(parent.__module__.split(".")[0] == package for parent in type(data).__mro__)


def _generator(batches: Iterator[Any], look: Look) -> Iterator[Any]:
    for batch in batches:
        look_at(batch, look)
        yield batch


class _Passed:
    """A function of batches that looks at them; a class, so that other processes can have it."""

    def __init__(self, look: Look, make: Callable[[Any], Any] | None = None) -> None:
        self.look, self.make = look, make

    def __call__(self, batch: Any) -> Any:
        batch = batch if self.make is None else self.make(batch)
        look_at(batch, self.look)
        return batch


class _PyDataset(keras.utils.PyDataset):
    """Another one, which is told of the epochs as if Keras had it."""

    def __init__(self, data: keras.utils.PyDataset, look: Look) -> None:
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data, self.passed = data, _Passed(look)

    @property
    def num_batches(self) -> int | None:
        number: int | None = self.data.num_batches
        return number

    def __getitem__(self, index: int) -> Any:
        return self.passed(self.data[index])

    def on_epoch_begin(self) -> None:
        self.data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.data.on_epoch_end()


def _tensorflow(data: Any, look: Look) -> Any:
    """A `tf.data.Dataset` with the look as its last stage, which reads nothing ahead."""
    import tensorflow as tf

    tupled = isinstance(data.element_spec, tuple)
    images, masks, _ = keras.utils.unpack_x_y_sample_weight(data.element_spec)
    if not isinstance(images, tf.TensorSpec) or images.shape.rank != 4:
        return data
    with_masks = isinstance(masks, tf.TensorSpec) and masks.shape.rank in (3, 4)

    def told(shape: np.ndarray, pixels: np.ndarray, *ids: np.ndarray) -> np.bool_:
        look(tuple(shape.tolist()), pixels, ids[0] if ids else None)
        return np.True_

    def passed(*batch: Any) -> Any:
        images, *others = batch
        shape = tf.shape(images)
        seen = [grid(images, tf.unstack(shape[1:3]))]
        if with_masks:
            seen.append(grid(others[0], tf.unstack(tf.shape(others[0])[1:3])))
        # NumPy knows no bfloat16.
        seen = [tf.cast(x, "float32") if x.dtype.is_floating else x for x in seen]
        with tf.control_dependencies([tf.numpy_function(told, [shape, *seen], tf.bool)]):
            images = tf.identity(images)
        return (images, *others) if tupled else images

    return data.map(passed)
