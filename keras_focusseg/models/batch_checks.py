"""What is looked at before a network runs: shapes, values of the images, ids in the masks.

`fit`, `evaluate` and `predict` look closely at their first batch. Of each later one they look at
the shape and a few pixels, where it is made (see `later_batches`): no step waits for a check.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

SMALLEST_SIDE = 16
# Images whose mean was subtracted and that were divided by their deviation stay below this.
STANDARDIZED_BELOW = 16.0
FRACTIONS_BELOW = 512.0
Batch = tuple[Any, Any, Any]


def first_batch(x: Any, y: Any, sample_weight: Any, size: int | None) -> tuple[Batch, Any]:
    """The first batch of what `fit` is given, and the data to go on with.

    A dataset is asked for one batch, as Keras does itself before it trains; a generator gets its
    batch put back. What a strategy of TensorFlow deals out is not looked at: asked for a batch it
    reads ahead, which may end a short epoch before it was trained on.

    Args:
        x: Arrays, or a dataset of any kind that Keras takes.
        y: Masks, for arrays.
        sample_weight: Weights, for arrays.
        size: Images a batch, for arrays.

    Returns:
        Images, masks and sample weights, `None` for what is not there or cannot be seen; and `x`.

    Raises:
        ValueError: `x` is a list or the like, which Keras would take for several inputs, or its
            batches are dicts.
    """
    if isinstance(x, (list, tuple, dict)):
        raise ValueError(
            f"The images came as a {type(x).__name__} of {len(x)}; expected one array (batch, "
            "height, width, 3), then the masks, or batches of (images, masks). Images of one size "
            "in a list: numpy.stack(images)."
        )
    if hasattr(x, "shape"):
        size = size or 32  # as Keras has it
        images, masks, weights = (
            part[:size] if hasattr(part, "shape") and len(part.shape) else part
            for part in (x, y, sample_weight)
        )
        return (images, masks, weights), x
    batch = None
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif isinstance(x, types.GeneratorType):
        batch = next(x, None)
        x = _put_back(batch, x)
    elif hasattr(x, "element_spec") and not hasattr(x, "map"):  # tf.distribute.DistributedDataset
        pass
    elif isinstance(x, Iterable):
        batch = next(iter(x), None)
    if batch is None:
        return (None, None, None), x
    if isinstance(batch, Mapping):
        raise ValueError(
            f"The batches came as dicts of {', '.join(map(str, batch))}; expected tuples (images, "
            "integer masks): take both out of the dict where the batches are made."
        )
    images, masks, weights = keras.utils.unpack_x_y_sample_weight(batch)
    # What a distribution strategy hands out is no array, and the devices' parts are not looked at.
    return (images if hasattr(images, "shape") else None, masks, weights), x


def number_of_batches(x: Any, size: int | None) -> int | None:
    """How many batches an epoch has, `None` where that is not known beforehand.

    Args:
        x: What `fit` is given.
        size: Images a batch, for arrays.
    """
    if isinstance(x, keras.utils.PyDataset):
        found: int | None = x.num_batches
        return found
    try:
        number = len(x)
    except TypeError:  # a generator, or a dataset without end
        return None
    return -(-number // (size or 32)) if hasattr(x, "shape") else number


def _put_back(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not None:
        yield first
    yield from rest


def check_image_shape(shape: tuple[int | None, ...]) -> None:
    """Refuses batches that no network can segment, with the reason.

    Args:
        shape: Shape of the images, (B, H, W, 3); `None` where it is not known yet.

    Raises:
        ValueError: Not four axes, not three channels, or a side below 16 pixels.
    """
    if len(shape) != 4 or shape[3] not in (3, None):
        hint = ""
        if len(shape) == 3:
            hint = " For one image add the batch axis: images[None]."
        elif len(shape) == 4 and shape[1] == 3:
            hint = " Channels come last: keras.ops.transpose(images, (0, 2, 3, 1))."
        raise ValueError(f"Expected images of shape (batch, height, width, 3), got {shape}.{hint}")
    for side, name in zip(shape[1:3], ("height", "width"), strict=True):
        if side is not None and side < SMALLEST_SIDE:
            raise ValueError(
                f"Images of {shape[1]}x{shape[2]} (height x width) are too small: the {name} is "
                f"{side}, at least {SMALLEST_SIDE} pixels are needed, because the features are "
                "8 to 32 times smaller than the image. Enlarge or pad the image."
            )


def check_pixels(images: np.ndarray, name: str = "The images") -> None:
    """Refuses values that no RGB image in 0..255 has.

    Args:
        images: Images of any shape.
        name: What to call them.

    Raises:
        ValueError: Values that are not finite, above 255, in 0..1, or standardised.
    """
    fault, _ = fault_of_values(images, name)
    if fault:
        raise ValueError(fault)


def fault_of_values(images: np.ndarray, name: str) -> tuple[str, bool]:
    """What is wrong with the values of images, and whether they can be no images in 0..255 at all.

    Fractions may leave 0..255 a little, by a cubic resize or a change of contrast.

    Args:
        images: Images of any shape, numbers of any kind.
        name: What to call them.

    Returns:
        A sentence, empty if nothing is wrong; and `False` where dark images could look like that.
    """
    if images.dtype == np.uint8 or images.dtype == bool or images.size == 0:
        return "", False
    low, high = float(images.min()), float(images.max())
    found = f"{name} hold values {low:g}..{high:g}; expected RGB in 0..255."
    if not np.isfinite([low, high]).all():
        return found, True
    whole = images.dtype.kind in "iu"
    if high > (255 if whole else FRACTIONS_BELOW):
        return f"{found} Bring them there: those of 16 bits divided by 257.", True
    if whole:
        return (found, True) if low < 0 else ("", False)
    if low >= 0 and 0 < high <= 1:
        return f"{found} Multiply by 255.", False
    if low < 0 and high < STANDARDIZED_BELOW:
        return f"{found} Leave out the normalisation: the network does it.", False
    return "", False


IGNORED = "such pixels are ignored"


def check_masks(
    masks: np.ndarray, num_classes: int, ignore_class: int | None, unknown: str = IGNORED
) -> set[str]:
    """Refuses masks that hold fractions or no class at all; warns of ids that are no class.

    Args:
        masks: Ids (B, H, W) or (B, H, W, 1); anything else is left to the loss.
        num_classes: Number of classes.
        ignore_class: Mask value that is not counted.
        unknown: What the loss does with pixels of other ids.

    Returns:
        Which warnings it gave: `"unknown"`, `"halves"`.

    Raises:
        ValueError: Values are no whole numbers, or pixels are labelled, none of them with a class.
    """
    if masks.ndim != 3 and (masks.ndim != 4 or masks.shape[-1] != 1):
        return set()
    if masks.dtype.kind in "fV" and not (whole := masks == np.floor(masks)).all():
        raise ValueError(
            f"The first masks hold {masks[~whole].flat[0]:g}; expected class ids, whole numbers. A "
            "mask that was scaled by anything but the nearest neighbour holds blended ids."
        )
    labeled, known = known_labels(masks, num_classes, ignore_class)
    if labeled.any() and not known.any():
        raise ValueError(
            f"No pixel of the first masks is a class: they hold {first_ids(masks[labeled])}; "
            f"expected class ids 0..{num_classes - 1}, and {ignore_class} where a pixel is "
            "ignored. Map the ids on disk to these."
        )
    told = set()
    if (labeled & ~known).any():
        told.add("unknown")
        warnings.warn(
            f"The first masks hold {first_ids(masks[labeled & ~known])} beside class ids "
            f"0..{num_classes - 1}: {unknown}. If they are classes, the network has too few "
            "(num_classes=).",
            stacklevel=4,
        )
    if ignore_class == 255 and not labeled.all() and labeled.any() and not masks[labeled].any():
        told.add("halves")
        warnings.warn(
            "The first masks hold 0 and 255 alone, and 255 is ignored, so nothing but class 0 is "
            "learned from them. If 255 means a class, give it its id: masks // 255.",
            stacklevel=4,
        )
    return told


def known_labels(
    masks: np.ndarray, num_classes: int, ignore_class: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Where pixels are labelled, and where with a class, both of the shape of the masks."""
    labeled = masks != ignore_class if ignore_class is not None else np.ones(masks.shape, bool)
    return labeled, labeled & (masks >= 0) & (masks < num_classes)


def first_ids(values: np.ndarray) -> str:
    """The five smallest ids that occur, to be told."""
    ids = np.unique(values).tolist()
    return f"{str(ids[:5])[1:-1]}{', ...' if len(ids) > 5 else ''}"


def check_batch(
    batch: Batch, num_classes: int, ignore_class: int | None, unknown: str = IGNORED
) -> set[str]:
    """Refuses a batch of images and masks that no training can be meant to see.

    Args:
        batch: Images, masks and sample weights, as `first_batch` gives them.
        num_classes: Number of classes.
        ignore_class: Mask value that is not counted.
        unknown: See `check_masks`.

    Returns:
        Which warnings it gave, see `check_masks`.

    Raises:
        ValueError: With what arrived and what was expected.
    """
    images, masks, _ = batch
    if images is None:
        return set()
    check_images(images)
    if masks is None:
        raise ValueError("Masks are missing: batches must be (images, integer masks).")
    if isinstance(masks, (list, tuple)):
        raise ValueError(
            f"The masks came as a {type(masks).__name__} of {len(masks)}; expected one array "
            "(batch, height, width) of class ids: numpy.stack(masks)."
        )
    if not hasattr(masks, "shape"):
        return set()
    return check_masks(ops.convert_to_numpy(masks), num_classes, ignore_class, unknown)


def check_images(images: Any) -> None:
    """Shape and values of a batch of images, an array or a tensor (see the checks of each)."""
    check_image_shape(tuple(images.shape))
    check_pixels(ops.convert_to_numpy(images))


def refuse_class_weight(kwargs: Mapping[str, Any]) -> None:
    """Refuses Keras' `class_weight`, which looks up one label an image.

    Raises:
        ValueError: It is among the arguments.
    """
    if kwargs.get("class_weight") is not None:
        raise ValueError(
            "class_weight weighs images by their one label and has no meaning for masks: give the "
            "weight of each class to the network (class_weights=) or to the loss."
        )
