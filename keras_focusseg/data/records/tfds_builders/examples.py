"""What `tfds.load` gives, as what `model.fit` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_focusseg import label_spaces


def image_and_mask(example: Mapping[str, Any]) -> tuple[Any, Any]:
    """Image and mask of one example, for `map` of a `tf.data.Dataset` or of a data source.

    Takes the examples of the builders here, of prepared records, and those of TensorFlow Datasets'
    own "cityscapes/semantic_segmentation", whose `segmentation_label` holds the raw ids of
    `gtFine_labelIds`: they become the 19 train ids.

    Args:
        example: What TensorFlow Datasets gives: tensors of TensorFlow, or NumPy arrays where it
            reads `array_record`, for which TensorFlow is not needed.

    Returns:
        image (H, W, 3) uint8 and mask (H, W) int32: 0..C-1, 255 where ignored; of the same kind
        as what came in.

    Raises:
        ValueError: If the example has neither kind of mask.

    Example:
        ```python
        train = tfds.load("cityscapes", split="train").map(image_and_mask)
        ```
    """
    if "segmentation_mask" in example:
        return example["image"], _int32(example["segmentation_mask"][..., 0])
    if "segmentation_label" in example:
        raw = _int32(example["segmentation_label"][..., 0])
        return example["image_left"], _take(_cityscapes_table(), raw)
    raise ValueError(
        f"The example has {', '.join(sorted(example))}; expected a 'segmentation_mask', as the "
        "builders here write it, or a 'segmentation_label', as that of Cityscapes does."
    )


def _int32(ids: Any) -> Any:
    if isinstance(ids, np.ndarray):
        return ids.astype("int32")
    import tensorflow as tf

    return tf.cast(ids, "int32")


def _take(table: np.ndarray, ids: Any) -> Any:
    if isinstance(ids, np.ndarray):
        return table[ids]
    import tensorflow as tf

    return tf.gather(tf.constant(table), ids)


def _cityscapes_table() -> np.ndarray:
    """Train id of each raw id, (256,) int32; 255 for numbers that are none."""
    space = label_spaces.get("cityscapes")
    table = np.full(256, label_spaces.IGNORE, "int32")
    table[list(space.ids)] = np.arange(space.num_classes)
    return table
