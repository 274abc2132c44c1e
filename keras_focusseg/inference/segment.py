"""From pictures of any size to class maps."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from keras_focusseg.inference.inputs import named_pictures
from keras_focusseg.inference.procedure import Procedure, Window, told_size
from keras_focusseg.label_spaces import LabelSpace, from_names
from keras_focusseg.label_spaces.label_space import check_label_space
from keras_focusseg.models.batch_checks import check_image_shape
from keras_focusseg.models.segmenter import Segmenter
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
        probabilities: Those of all classes, (H, W, classes) float16, where they were asked for.
        window: Height and width of the windows that the picture was cut into, if it was.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    label_space: LabelSpace
    probabilities: np.ndarray | None = None
    window: tuple[int, int] | None = None

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

FEW_SIZES = 4
"""More sizes of pictures are told of, where each is compiled."""


def segment(
    model: Segmenter,
    images: Any,
    label_space: LabelSpace | None = None,
    on_error: OnError = "raise",
    *,
    window: Window = "auto",
    overlap: float = 0.25,
    flip: bool = False,
    scales: float | Sequence[float] = (1.0,),
    batch_size: int = 1,
    probabilities: bool = False,
    pad_to_multiple: int = 1,
) -> Iterator[Segmentation]:
    """Segments pictures of any size.

    On JAX, and on a GPU with TensorFlow, each new size is compiled for seconds. `pad_to_multiple`
    makes few sizes of many, and results that are no longer exact: what the networks average and
    rank over the whole picture changes with what it is filled up with.

    Args:
        model: A network of this library.
        images: A path, a pattern such as `trip/*.jpg`, an array (H, W, 3) of RGB in 0..255, a
            folder of pictures, or a list of paths and arrays.
        label_space: Names and colours; by default those the preset brought (`model.label_space`),
            else made-up ones.
        on_error: What a picture does that cannot be read or segmented: `"raise"` ends with its
            error, `"skip"` leaves it out with a warning, and a function of its name and the error
            is called and it is left out.
        window: Cuts pictures into overlapping windows of this side, or height and width, and blends
            their probabilities by a Gaussian: memory is bounded by the window and one row of
            windows. `None` takes every picture whole, and refuses those for which there is no
            memory; "auto" cuts these alone, with a warning, since the result is another one.
        overlap: Least share of a window that the next one covers as well, 0 or more, below 1.
        flip: Averages the probabilities with those of the mirrored picture.
        scales: Averages them over the picture at these multiples of its size; in windows, over each
            window.
        batch_size: Pictures of one size that follow each other, or windows side by side, that go to
            the network at once.
        probabilities: Keeps the probabilities of all classes.
        pad_to_multiple: Fills pictures up, at the bottom and on the right, with their own mirror
            images, until their sides are multiples of so many pixels; the results have the size of
            the picture. 1 leaves pictures as they are.

    Yields:
        A `Segmentation` a picture, in order; nothing is kept in memory between them.

    Raises:
        DataError: A file is missing or is not a readable picture.
        ValueError: A picture is too small, or too large for the memory that is free; an array is
            not RGB in 0..255; or an argument is out of its range.

    Example:
        ```python
        from keras_focusseg import presets, segment

        model = presets.load("fornet_mobilenet_v2_synthetic_streets")
        for result in segment(model, ["street.jpg"]):
            result.overlay().save("street_overlay.png")
        ```
    """
    scales = tuple(np.atleast_1d(scales))
    procedure = Procedure(window, overlap, flip, scales, batch_size, probabilities)
    if type(pad_to_multiple) is not int or pad_to_multiple < 1:
        raise ValueError(
            f"pad_to_multiple must be a whole number above 0, got {pad_to_multiple!r}."
        )
    space = known_classes(model, label_space)
    tell = error_handler(on_error)

    def segmented(batch: list[tuple[str, np.ndarray]]) -> Iterator[Segmentation]:
        """The pictures of a batch, one by one where they do not go through together."""
        pictures = np.stack([image for _, image in batch])
        sizes_met = _sizes_met(model)
        try:
            check_image_shape(pictures.shape)
            maps = procedure.class_maps(model, _filled_up(pictures, pad_to_multiple))
        except (ValueError, OSError) as error:
            if len(batch) > 1:
                for one in batch:
                    yield from segmented([one])
            else:
                tell(batch[0][0], _about(batch[0][0], error))
            return
        if pad_to_multiple == 1 and sizes_met == FEW_SIZES < _sizes_met(model):
            _tell_of_many_sizes()
        height, width = pictures.shape[1:3]
        for (name, image), found in zip(batch, maps, strict=True):
            if found.window and window == "auto":
                _tell_of_windows(name, image, found.window)
            labels, confidence = (x[:height, :width] for x in found[:2])
            kept = found.probabilities
            kept = None if kept is None else kept[:height, :width]
            yield Segmentation(name, image, labels, confidence, space, kept, found.window)

    waiting: list[tuple[str, np.ndarray]] = []
    for name, read in named_pictures(images):
        try:
            image = read()
        except (ValueError, OSError) as error:
            tell(name, error)
            continue
        if waiting and waiting[0][1].shape != image.shape:
            yield from segmented(waiting)
            waiting = []
        waiting.append((name, image))
        if len(waiting) == batch_size:
            yield from segmented(waiting)
            waiting = []
    if waiting:
        yield from segmented(waiting)


def known_classes(model: Segmenter, label_space: LabelSpace | None = None) -> LabelSpace:
    """The classes that were given, or those of the network, or made-up ones.

    Raises:
        ValueError: They are another number than the network has, or there is no network.
    """
    check_network(model)
    if label_space is not None:
        check_label_space(label_space)
    space = label_space or model.label_space
    if space is None:
        space = from_names([f"class {i}" for i in range(model.num_classes)])
    if space.num_classes != model.num_classes:
        raise ValueError(
            f"The network has {model.num_classes} classes, label space {space.name!r} "
            f"{space.num_classes}."
        )
    return space


def check_network(model: Any) -> None:
    """Refuses what is no network of this library.

    Raises:
        ValueError: It is something else, such as a name.
    """
    if not hasattr(model, "label_space"):
        raise ValueError(
            "model must be a network of this library, such as presets.load gives; got "
            f"{model!r:.80}."
        )


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


def _about(name: str, error: Exception) -> Exception:
    return ValueError(f"{name}: {error}").with_traceback(error.__traceback__)


def _filled_up(images: np.ndarray, multiple: int) -> np.ndarray:
    """Pictures (B, H, W, 3) with mirror images below and beside, up to multiples of a side."""
    _, height, width, _ = images.shape
    more = (0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)
    return np.pad(images, more, "symmetric")


def _sizes_met(model: Segmenter) -> int:
    """How many sizes of pictures a network was compiled for; 0 where that is not done."""
    parts = model.labels_model, model.probabilities_model
    return sum(part.sizes_met for part in parts if part.jit_compile)


def _tell_of_many_sizes() -> None:
    warnings.warn(
        f"{FEW_SIZES + 1} sizes of pictures so far, and each new one is compiled for seconds. "
        "pad_to_multiple= (--pad-to-multiple) makes few sizes of many; the results are then not "
        "exact.",
        stacklevel=4,
    )


def _tell_of_windows(name: str, image: np.ndarray, window: tuple[int, int]) -> None:
    warnings.warn(
        f"{name} of {told_size(image.shape[:2])} (height x width) has no room in memory as a whole "
        f"and was cut into windows of {told_size(window)}; window={window} does the same anywhere.",
        stacklevel=4,
    )


def predict_logits(model: Segmenter, image: np.ndarray, name: str = "image") -> np.ndarray:
    """Logits (H, W, classes) of one RGB picture (H, W, 3), whole; `name` is for error messages.

    Args:
        model: The network.
        image: RGB in 0..255, (H, W, 3).
        name: What to call it in an error.

    Raises:
        ValueError: The picture is too small, or too large for the memory that is free.
    """
    try:
        check_image_shape((1, *image.shape))
        Procedure(window=None).window_of(model, image.shape[:2])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return np.asarray(model.logits_model.predict_on_batch(image[None]))[0]
