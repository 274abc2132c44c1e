"""From pictures of any size to class maps."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from keras_focusseg.inference.memory import check_memory
from keras_focusseg.label_spaces import LabelSpace, from_names
from keras_focusseg.label_spaces.text import as_on_disk
from keras_focusseg.models.batch_checks import check_image_shape
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.pictures.readers import SUFFIXES, read_image
from keras_focusseg.visualization import colorize, overlay


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """One segmented picture.

    Args:
        name: File name, or `image_NNN` for an array.
        image: The picture, (H, W, 3) uint8.
        labels: Class of each pixel, (H, W) uint8.
        confidence: Softmax probability of that class, (H, W) float32 in 0..1.
        label_space: Names and colours of the classes.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    label_space: LabelSpace

    def overlay(self, opacity: float = 0.55) -> Image.Image:
        """The picture under its class colours; `opacity` 0 shows the picture, 1 the colours."""
        return overlay(self.image, self.labels, self.label_space, opacity)

    def colors(self) -> Image.Image:
        """The class map in the colours of the label space."""
        return Image.fromarray(colorize(self.labels, self.label_space))

    def shares(self) -> dict[str, float]:
        """Share of the pixels of each class that occurs, largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=self.label_space.num_classes)
        order = np.argsort(-counts, kind="stable")
        return {
            self.label_space.classes[i]: float(counts[i] / self.labels.size)
            for i in order
            if counts[i]
        }


OnError = Literal["raise", "skip"] | Callable[[str, Exception], None]


def segment(
    model: Segmenter,
    images: Any,
    label_space: LabelSpace | None = None,
    on_error: OnError = "raise",
) -> Iterator[Segmentation]:
    """Segments pictures one by one, each at its own size.

    Args:
        model: A network of this library.
        images: A path, an array (H, W, 3) of RGB in 0..255, a folder of pictures, or a list of
            paths and arrays.
        label_space: Names and colours; by default those the preset brought (`model.label_space`),
            else made-up ones.
        on_error: What a picture does that cannot be read or segmented: `"raise"` ends with its
            error, `"skip"` leaves it out with a warning, and a function of its name and the error
            is called and it is left out.

    Yields:
        A `Segmentation` a picture, in order; nothing is kept in memory between them.

    Raises:
        DataError: A file is missing or is not a readable picture.
        ValueError: A picture is too small, or too large for the memory that is free; an array is
            not RGB in 0..255; or `on_error` is something else.

    Example:
        ```python
        from keras_focusseg import presets, segment

        model = presets.load("fornet_mobilenet_v2_synthetic_streets")
        for result in segment(model, ["street.jpg"]):
            result.overlay().save("street_overlay.png")
        ```
    """
    space = label_space or model.label_space
    if space is None:
        space = from_names([f"class {i}" for i in range(model.num_classes)])
    if space.num_classes != model.num_classes:
        raise ValueError(
            f"The network has {model.num_classes} classes, label space {space.name!r} "
            f"{space.num_classes}."
        )
    tell = error_handler(on_error)
    for name, read in _pictures(images):
        try:
            image = read()
            labels, confidence = predict_labels(model, image, name)
        except (ValueError, OSError) as error:
            tell(name, error)
            continue
        yield Segmentation(name, image, labels, confidence, space)


def error_handler(on_error: OnError) -> Callable[[str, Exception], None]:
    """The function that is called with the name of what failed, and its error.

    Raises:
        ValueError: `on_error` is neither `"raise"` nor `"skip"` nor a function.
    """
    if on_error == "raise":
        return _raise
    if on_error == "skip":
        return _warn
    if not callable(on_error):
        raise ValueError(f"on_error must be 'raise', 'skip' or a function, got {on_error!r}.")
    return on_error


def _raise(name: str, error: Exception) -> None:
    raise error


def _warn(name: str, error: Exception) -> None:
    warnings.warn(f"{name} is left out: {error}", stacklevel=3)


def predict_logits(model: Segmenter, image: np.ndarray, name: str = "image") -> np.ndarray:
    """Logits (H, W, classes) of one RGB picture (H, W, 3); `name` is for the error message.

    Raises:
        ValueError: The picture is too small, or holds values outside 0..255.
    """
    _check(model, image, name)
    return np.asarray(model.logits_model.predict_on_batch(image[None]))[0]


def predict_labels(
    model: Segmenter, image: np.ndarray, name: str = "image"
) -> tuple[np.ndarray, np.ndarray]:
    """Class and confidence of each pixel of one RGB picture, found where the network runs.

    Args:
        model: A network of this library.
        image: RGB picture (H, W, 3), uint8.
        name: For the error message.

    Returns:
        Labels (H, W) uint8, and the softmax probability of these classes, (H, W) float32.

    Raises:
        ValueError: The picture is too small, or too large for the memory that is free.
    """
    _check(model, image, name)
    found = model.labels_model.predict_on_batch(image[None])
    return np.asarray(found["labels"])[0], np.asarray(found["confidence"])[0]


def _check(model: Segmenter, image: np.ndarray, name: str) -> None:
    try:
        check_image_shape((1, *image.shape))
        check_memory(model, *image.shape[:2])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _pictures(images: Any) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Names of whatever was given, and what reads each as an RGB array."""
    if isinstance(images, (str, Path)) and (folder := as_on_disk(images)).is_dir():
        images = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not images:
            raise ValueError(f"{folder} holds no picture ({', '.join(SUFFIXES)}).")
    elif isinstance(images, (str, Path, Image.Image)):
        images = [images]
    elif isinstance(images, np.ndarray):
        images = [images] if images.ndim == 3 else images
    if not isinstance(images, Iterable):
        raise ValueError(f"Expected paths, arrays or a folder, got {type(images).__name__}.")
    for i, image in enumerate(images):
        if isinstance(image, (str, Path)):
            yield Path(image).name, partial(read_image, as_on_disk(image))
        else:
            yield f"image_{i:03d}", partial(_rgb, image, f"image {i}")


def _rgb(image: Any, name: str) -> np.ndarray:
    """An RGB array, or a Pillow image, as uint8."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{name} has shape {image.shape}; expected (height, width, 3), RGB.")
    if image.dtype == np.uint8:
        return image
    values = image.astype("float32")
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if not np.isfinite([low, high]).all() or low < 0 or high > 255:
        raise ValueError(f"{name} holds values {low:g}..{high:g}; expected RGB in 0..255.")
    if np.issubdtype(image.dtype, np.floating) and 0 < high <= 1.0:
        raise ValueError(
            f"{name} holds values {low:g}..{high:g}; expected RGB in 0..255. Multiply by 255."
        )
    return values.round().astype("uint8")
