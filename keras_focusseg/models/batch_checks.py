"""What is looked at before a network runs: shapes, values of the images, ids in the masks.

`fit` and `evaluate` look at their first batch, so a check costs nothing in the steps. Of later ones
the shapes alone are looked at: where a step is traced for them, and as a generator hands them out.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_focusseg._replicas import check_divided, warn_of_equal_parts

SMALLEST_SIDE = 16
# Images whose mean was subtracted and that were divided by their deviation stay below this.
STANDARDIZED_BELOW = 16.0
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
        ValueError: `x` is a list or the like, which Keras would take for several inputs.
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
    images, masks, weights = keras.utils.unpack_x_y_sample_weight(batch)
    # What a distribution strategy hands out is no array, and the devices' parts are not looked at.
    return (images if hasattr(images, "shape") else None, masks, weights), x


def _put_back(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not None:
        yield first
    for batch in rest:
        images = keras.utils.unpack_x_y_sample_weight(batch)[0]
        if hasattr(images, "shape"):
            check_image_shape(tuple(images.shape))
        yield batch


def check_image_shape(shape: tuple[int | None, ...]) -> None:
    """Refuses batches that no network can segment, with the reason.

    Args:
        shape: Shape of the images, (B, H, W, 3); `None` where it is not known yet.

    Raises:
        ValueError: Not four axes, not three channels, or a side below 16 pixels.
    """
    if len(shape) != 4 or shape[3] not in (3, None):
        raise ValueError(
            f"Expected images of shape (batch, height, width, 3), got {shape}. For one image add "
            "the batch axis: images[None]."
        )
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
        images: Images of any shape. Whole numbers pass.
        name: What to call them.

    Raises:
        ValueError: Values that are not finite, in 0..1, or standardised.
    """
    if images.dtype.kind not in "fV" or images.size == 0:  # "V": bfloat16 as NumPy knows it
        return
    low, high = float(images.min()), float(images.max())
    found = f"{name} hold values {low:g}..{high:g}; expected RGB in 0..255."
    if not np.isfinite([low, high]).all():
        raise ValueError(found)
    if low >= 0 and 0 < high <= 1:
        raise ValueError(f"{found} Multiply by 255.")
    if low < 0 and high < STANDARDIZED_BELOW:
        raise ValueError(f"{found} Leave out the normalisation: the network does it.")


def check_masks(masks: np.ndarray, num_classes: int, ignore_class: int | None) -> None:
    """Refuses masks that hold fractions or no class at all; warns of ids that are no class.

    Args:
        masks: Ids (B, H, W) or (B, H, W, 1); anything else is left to the loss.
        num_classes: Number of classes.
        ignore_class: Mask value that is not counted.

    Raises:
        ValueError: Values are no whole numbers, or pixels are labelled, none of them with a class.
    """
    if masks.ndim != 3 and (masks.ndim != 4 or masks.shape[-1] != 1):
        return
    if masks.dtype.kind in "fV" and not (whole := masks == np.floor(masks)).all():
        raise ValueError(
            f"The first masks hold {masks[~whole].flat[0]:g}; expected class ids, whole numbers. A "
            "mask that was scaled by anything but the nearest neighbour holds blended ids."
        )
    labeled = masks != ignore_class if ignore_class is not None else np.ones(masks.shape, bool)
    known = labeled & (masks >= 0) & (masks < num_classes)
    if labeled.any() and not known.any():
        ids = np.unique(masks[labeled]).tolist()
        raise ValueError(
            f"No pixel of the first masks is a class: they hold {str(ids[:5])[1:-1]}"
            f"{', ...' if len(ids) > 5 else ''}; expected class ids 0..{num_classes - 1}, and "
            f"{ignore_class} where a pixel is ignored. Map the ids on disk to these."
        )
    ignored = not labeled.all()
    if (labeled & ~known).any():
        ids = np.unique(masks[labeled & ~known]).tolist()
        warnings.warn(
            f"The first masks hold {str(ids[:5])[1:-1]}{', ...' if len(ids) > 5 else ''} beside "
            f"class ids 0..{num_classes - 1}: such pixels are ignored. If they are classes, the "
            "network has too few (num_classes=).",
            stacklevel=4,
        )
    if ignore_class == 255 and ignored and labeled.any() and (masks[labeled] == 0).all():
        warnings.warn(
            "The first masks hold 0 and 255 alone, and 255 is ignored, so nothing but class 0 is "
            "learned from them. If 255 means a class, give it its id: masks // 255.",
            stacklevel=4,
        )


def check_batch(batch: Batch, num_classes: int, ignore_class: int | None) -> None:
    """Refuses a batch of images and masks that no training can be meant to see.

    Args:
        batch: Images, masks and sample weights, as `first_batch` gives them.
        num_classes: Number of classes.
        ignore_class: Mask value that is not counted.

    Raises:
        ValueError: With what arrived and what was expected.
    """
    images, masks, _ = batch
    if images is None:
        return
    check_images(images)
    if masks is None:
        raise ValueError("Masks are missing: batches must be (images, integer masks).")
    if isinstance(masks, (list, tuple)):
        raise ValueError(
            f"The masks came as a {type(masks).__name__} of {len(masks)}; expected one array "
            "(batch, height, width) of class ids: numpy.stack(masks)."
        )
    if hasattr(masks, "shape"):
        check_masks(ops.convert_to_numpy(masks), num_classes, ignore_class)


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


class FirstLook:
    """Looks at the first batch that a network trains on or is measured on.

    Args:
        network: The network, a `Segmenter`.

    Attributes:
        done: Whether the data were looked at already.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.done = False
        self._ranks: dict[str, Any] = {}
        self._seen: set[str] = set()

    def at_first(self, kind: str, x: Any, y: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Checks the first batch of the arguments of `fit` or `evaluate`; the `x` to go on with."""
        size = args[0] if args else kwargs.get("batch_size")
        batch, x = first_batch(x, y, kwargs.get("sample_weight"), size)
        self._check(batch)
        self._expect(kind, batch)
        check_divided(batch[0])
        if kind == "train":
            warn_of_equal_parts(batch[0])
        return x

    def at_validation(self, data: Any) -> Any:
        """Checks the first batch of `validation_data`; the data to go on with."""
        if data is None:
            return None
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        x = self.at_first("test", x, y, (), {"sample_weight": weights})
        return data if isinstance(data, (list, tuple)) else x

    def at_batch(self, kind: str, x: Any, y: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Checks a batch of `train_on_batch` or `test_on_batch`: its values the first time only."""
        batch = (x, y, args[0] if args else kwargs.get("sample_weight"))
        if kind not in self._seen:
            self._check(batch)
            self._seen.add(kind)
        check_image_shape(tuple(x.shape))
        self._expect(kind, batch)

    def _check(self, batch: Batch) -> None:
        check_batch(batch, self.network.num_classes, self.network.ignore_class)

    def _expect(self, kind: str, batch: Batch) -> None:
        """Makes the step anew where masks or weights have another rank than before.

        TensorFlow would go on with one function for tensors of any rank, in which no shape is
        known (`reduce_retracing` in Keras' trainer, 3.15).
        """
        ranks = tuple(len(part.shape) if hasattr(part, "shape") else None for part in batch)
        if self._ranks.get(kind, ranks) != ranks:
            network = self.network
            (network.make_train_function if kind == "train" else network.make_test_function)(
                force=True
            )
        self._ranks[kind] = ranks
