"""What is said of batches that come after the first one, while a network is used."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from keras_focusseg.models.batch_checks import (
    IGNORED,
    check_image_shape,
    fault_of_values,
    first_ids,
    known_labels,
)
from keras_focusseg.models.passing import Look, grid


class LaterBatches:
    """Looks at the shape and a few pixels of each batch that passes by.

    What can be no batch ends the run: a shape that no network takes, values that are not finite,
    whole numbers above 255, blended ids. Of what may be meant there is one warning, and no end in
    the middle of a long training: black pictures can look like those in 0..1, unknown ids are
    ignored by the losses here.

    Args:
        num_classes: Number of classes; 0 where masks, if there are any, are not used.
        ignore_class: Mask value that is not counted.
        told: Warnings that were given already, of the first batch.
        size: Height and width that all images must have, if they must.
        unknown: What the loss does with pixels of unknown ids.

    Attributes:
        error: What ended the run.
    """

    def __init__(
        self,
        num_classes: int = 0,
        ignore_class: int | None = None,
        told: set[str] | None = None,
        size: tuple[int, ...] | None = None,
        unknown: str = IGNORED,
    ) -> None:
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.told = told or set()
        self.size = size
        self.unknown = unknown
        self.only_zero = True
        self.error: ValueError | None = None

    def __call__(self, shape: tuple[int, ...], pixels: np.ndarray, ids: np.ndarray | None) -> None:
        """Looks at a batch, see `models.passing`."""
        try:
            check_image_shape(shape)
            if self.size not in (None, shape[1:3]):
                raise ValueError(
                    "predict gives one array, so its images must have one size; after (height, "
                    f"width) {self.size} came {shape[1:3]}. segment takes pictures of any size."
                )
            self._look_at_pixels(pixels)
            if self.num_classes and ids is not None:
                self._look_at_ids(ids)
        except ValueError as error:
            self.error = error
            raise

    def telling(self, expect: Callable[[tuple[int, ...]], None] | None, data: Any) -> Look:
        """The same look, of whose shapes `expect` is told as well.

        Not where other processes make the data: they are sent the look, and cannot tell this one.
        """
        if expect is None or getattr(data, "use_multiprocessing", False):
            return self

        def told(shape: tuple[int, ...], pixels: np.ndarray, ids: np.ndarray | None) -> None:
            self(shape, pixels, ids)
            expect(shape)

        return told

    @contextlib.contextmanager
    def in_plain_words(self) -> Iterator[None]:
        """Gives what was found as it was said, and not as TensorFlow wraps it."""
        try:
            yield
        except Exception:
            if self.error is not None:
                raise self.error from None
            raise

    def _look_at_pixels(self, pixels: np.ndarray) -> None:
        if pixels.dtype == np.uint8 or pixels.size == 0:
            return
        values = pixels.reshape(len(pixels), -1)
        if values.min() >= 0 and 1 < values.max(axis=1).min() and values.max() <= 255:
            return
        for picture in values:
            fault, certain = fault_of_values(picture, "The images of a later batch")
            if certain:
                raise ValueError(fault)
            # A dark picture may hold 0 and 1 alone.
            if fault and (picture != np.floor(picture)).any():
                self._tell("values", fault)

    def _look_at_ids(self, ids: np.ndarray) -> None:
        if ids.ndim != 3 and (ids.ndim != 4 or ids.shape[-1] != 1):
            return
        if ids.dtype.kind == "f" and (ids != np.floor(ids)).any():
            raise ValueError(
                f"The masks of a later batch hold {ids[ids != np.floor(ids)][0]:g}; expected class "
                "ids, whole numbers."
            )
        labeled, known = known_labels(ids, self.num_classes, self.ignore_class)
        if (labeled & ~known).any():
            self._tell(
                "unknown",
                f"The masks of a later batch hold {first_ids(ids[labeled & ~known])}, no class id "
                f"0..{self.num_classes - 1}: {self.unknown}.",
            )
        self.only_zero = self.only_zero and not ids[labeled].any()
        if self.ignore_class == 255 and self.only_zero and labeled.any() and not labeled.all():
            self._tell(
                "halves",
                "So far the masks hold 0 and 255 alone, and 255 is ignored, so nothing but class 0 "
                "is learned from them. If 255 means a class, give it its id: masks // 255.",
            )

    def _tell(self, what: str, text: str) -> None:
        if what not in self.told:
            self.told.add(what)
            warnings.warn(text, stacklevel=2)


@contextlib.contextmanager
def left_whole(model: Any) -> Iterator[None]:
    """Leaves a model its values where an error, or Ctrl-C, ends `fit` and its kin.

    On JAX Keras 3.15 takes them out of the variables while it runs, and puts them back at the end
    alone; whoever then went on with the model found variables without values.
    """
    try:
        yield
    except BaseException:
        put_back = getattr(model, "jax_state_sync", None)
        if put_back is not None:
            put_back()
        raise


def look_at_arrays(images: Any, masks: Any, look: LaterBatches) -> None:
    """Looks in passing at 256 images of arrays, evenly taken from all, with their masks."""
    if len(images.shape) != 4:
        return

    def some(values: Any) -> np.ndarray:
        every = len(values) // 256 + 1
        return np.asarray(ops.convert_to_numpy(grid(values[::every])))

    look(tuple(images.shape), some(images), some(masks) if hasattr(masks, "shape") else None)
