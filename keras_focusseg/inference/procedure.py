"""How a network is asked about pictures: whole or in windows, once or averaged."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Literal, NamedTuple

import numpy as np
from keras import ops
from PIL import Image

from keras_focusseg.inference import memory
from keras_focusseg.inference.windows import strips
from keras_focusseg.layers.resample import resize_to
from keras_focusseg.models.batch_checks import SMALLEST_SIDE, check_image_shape
from keras_focusseg.models.segmenter import Segmenter

Window = int | tuple[int, int] | Literal["auto"] | None
AUTOMATIC = (1024, 768, 512, 256)
"""Sides of the windows that a picture without room is cut into: the first that fits."""
ROOM = 2
"""A picture is taken whole if so many times its tensors fit: they are not all that it takes."""


class ClassMap(NamedTuple):
    """What a network says about one picture.

    Attributes:
        labels: Class of each pixel, (H, W) uint8 (int32 with more than 256 classes).
        confidence: Probability of that class, (H, W) float32.
        probabilities: Those of all classes, (H, W, classes) float16, where they were asked for.
        window: Height and width of the windows that the picture was cut into, if it was.
    """

    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None = None
    window: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Procedure:
    """How pictures are given to a network, and what is kept of its answers.

    Args:
        window: Side of square windows in pixels, or height and width; `None` takes every picture
            whole, and refuses those without room; "auto" cuts these into windows.
        overlap: Least share of a window that the next one covers as well, 0 or more, below 1.
        flip: Averages with the answer to the mirrored picture.
        scales: Averages over the picture at these multiples of its size.
        batch_size: Pictures of one size, or windows side by side, that go to the network at once.
        probabilities: Keeps the probabilities of all classes.

    Raises:
        ValueError: An argument is out of its range.
    """

    window: Window = "auto"
    overlap: float = 0.25
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    batch_size: int = 1
    probabilities: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if self.window is not None and self.window != "auto":
            sides = self.window if isinstance(self.window, (tuple, list)) else (self.window,) * 2
            if len(sides) != 2 or not all(
                isinstance(side, (int, np.integer)) and side >= SMALLEST_SIDE for side in sides
            ):
                raise ValueError(
                    f"window must be a side or a height and width of {SMALLEST_SIDE} pixels or "
                    f"more, 'auto' or None, got {self.window!r}."
                )
            object.__setattr__(self, "window", tuple(int(side) for side in sides))
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be 0 or more and below 1, got {self.overlap}.")
        if not self.scales or not all(0 < s < math.inf for s in self.scales):
            raise ValueError(f"scales must be one or more numbers above 0, got {self.scales}.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {self.batch_size}.")

    def told(self) -> str:
        """The procedure in the words of a table of scores: `"single scale, no flip"`."""
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        parts = ["single scale" if self.scales == (1.0,) else f"scales {scales}"]
        parts.append("flip" if self.flip else "no flip")
        if isinstance(self.window, tuple):
            parts.append(f"windows {told_size(self.window)}, overlap {self.overlap:g}")
        return ", ".join(parts)

    @property
    def averages(self) -> bool:
        """Whether the network is asked about a picture more than once, or at another size."""
        return self.flip or self.scales != (1.0,)

    def window_of(self, model: Segmenter, size: tuple[int, int]) -> tuple[int, int] | None:
        """Height and width of the windows that a picture of a size is cut into, `None` for none.

        Raises:
            ValueError: The picture, or its windows, do not fit into the memory that is free.
        """
        window = None
        if isinstance(self.window, tuple):
            window = (min(self.window[0], size[0]), min(self.window[1], size[1]))
        if size[0] * size[1] < memory.SMALL:
            return None if window == size else window
        if self.window == "auto":
            window = self._automatic(model, size)
        memory.check_memory(self._needed(model, size, window), size, model.name, window)
        return None if window == size else window

    def _automatic(self, model: Segmenter, size: tuple[int, int]) -> tuple[int, int] | None:
        free = memory.available_memory()
        if free is None or ROOM * self._needed(model, size) <= free:
            return None
        choices = [(min(side, size[0]), min(side, size[1])) for side in AUTOMATIC]
        fitting = (w for w in choices if ROOM * self._needed(model, size, w) <= free)
        return next(fitting, choices[-1])

    def _needed(
        self, model: Segmenter, size: tuple[int, int], window: tuple[int, int] | None = None
    ) -> int:
        """Bytes that a picture needs at least, whole or in windows."""
        height, width = window or size
        largest = max(1.0, *self.scales) ** 2
        needed = memory.needed_memory(model, height, width) * largest
        probabilities = 4 * model.num_classes
        if self.averages:
            needed += 2 * probabilities * height * width
        needed *= self.batch_size
        if window:
            needed += probabilities * window[0] * size[1]
        if self.probabilities:
            needed += 2 * model.num_classes * size[0] * size[1]
        return int(needed)

    def class_maps(self, model: Segmenter, images: np.ndarray) -> list[ClassMap]:
        """Class maps of pictures of one size.

        Args:
            model: A network of this library.
            images: RGB pictures (B, H, W, 3) uint8.

        Returns:
            One a picture.

        Raises:
            ValueError: They are too small, or too large for the memory that is free.
        """
        check_image_shape(images.shape)
        window = self.window_of(model, (images.shape[1], images.shape[2]))
        if window is not None:
            return [self._in_windows(model, image, window) for image in images]
        if self.averages:
            found = {"probabilities": self._ask(model, images)}
            found["confidence"] = found["probabilities"].max(-1)
            found["labels"] = found["probabilities"].argmax(-1).astype(_label_type(model))
        else:
            part = model.probabilities_model if self.probabilities else model.labels_model
            found = {name: np.asarray(x) for name, x in part.predict_on_batch(images).items()}
        kept: list[np.ndarray | None] = [None] * len(images)
        if self.probabilities:
            kept = list(found["probabilities"].astype("float16"))
        return [
            ClassMap(*one) for one in zip(found["labels"], found["confidence"], kept, strict=True)
        ]

    def _in_windows(self, model: Segmenter, image: np.ndarray, window: tuple[int, int]) -> ClassMap:
        ask, size = functools.partial(self._ask, model), image.shape[:2]
        labels = np.zeros(size, _label_type(model))
        confidence = np.zeros(size, "float32")
        kept = None
        if self.probabilities:
            kept = np.zeros((*size, model.num_classes), "float16")
        for top, found in strips(ask, image, window, self.overlap, self.batch_size):
            rows = slice(top, top + len(found))
            labels[rows] = found.argmax(-1)
            confidence[rows] = found.max(-1)
            if kept is not None:
                kept[rows] = found
        return ClassMap(labels, confidence, kept, window)

    def _ask(self, model: Segmenter, images: np.ndarray) -> np.ndarray:
        """Mean of the probabilities over scales and mirror images, (B, H, W, classes) float32."""
        height, width = size = images.shape[1:3]
        total = np.zeros((), "float32")
        for scale in self.scales:
            small = (round(scale * height), round(scale * width))
            try:
                check_image_shape((len(images), *small, 3))
            except ValueError as error:
                raise ValueError(f"At scale {scale:g}: {error}") from error
            scaled = _resized(images, small)
            for step in (1, -1) if self.flip else (1,):
                shown = np.ascontiguousarray(scaled[:, :, ::step])
                seen = model.probabilities_model.predict_on_batch(shown)["probabilities"]
                found = np.ascontiguousarray(np.asarray(seen)[:, :, ::step])
                if scale != 1:
                    found = ops.convert_to_numpy(resize_to(ops.convert_to_tensor(found), size))
                total = total + found
        return total / np.float32(len(self.scales) * (1 + self.flip))


def told_size(size: tuple[int, int]) -> str:
    """A size as "HEIGHTxWIDTH"."""
    return f"{size[0]}x{size[1]}"


def _label_type(model: Segmenter) -> str:
    return "uint8" if model.num_classes <= 256 else "int32"


def _resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pictures (B, H, W, 3) at another size, as the augmentation of the training resizes them."""
    if images.shape[1:3] == size:
        return images
    how = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(i).resize(size[::-1], how)) for i in images])
