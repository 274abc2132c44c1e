"""Augmentation layers of Keras and keras-cv as a step.

The layers take `{"images", "segmentation_masks"}`, fill the mask with the image's fill value where
the picture ends, and keep their random state between calls. `KerasAugment` makes of them what
`batches` needs: a function of image, mask and generator whose masks hold the ids that were there
and 255. Each layer has to prove that when it is wrapped, see `layer_proof`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_focusseg.data.transforms.base import Step
from keras_focusseg.data.transforms.canvas import Canvas, Pair
from keras_focusseg.data.transforms.layer_copies import EagerCopy, TensorFlowCopy, readable, revived
from keras_focusseg.data.transforms.layer_proof import prove
from keras_focusseg.label_spaces import IGNORE

# Layers see ids from here on, out of the way of 0..255, with which they fill new area.
_FIRST_ID = 1000


class KerasAugment(Step):
    """Augmentation layers of Keras or keras-cv as a step of a `Compose`, or alone.

    Masks come out as they went in, uint8 ids, and 255 where a layer filled new area, whatever its
    `fill_value`; image and mask stay aligned. Each layer shows that when it is wrapped: it runs on
    a painted picture whose mask is known. The result is a function of image, mask and generator
    alone, whatever was called before and in whatever thread; the state and the `seed` of the
    layers are not used.

    Where TensorFlow is installed, it computes, on the CPU and under every backend, with one graph
    for each size of image (the last 16 are kept, so that images of many sizes should be cropped
    first). Elsewhere the backend computes step by step, which is slow on JAX. keras-cv always
    needs TensorFlow: `pip install 'keras-focusseg[cv]'`.

    Args:
        layers: One layer, or several that are applied one after the other.

    Raises:
        TypeError: If something else than layers is given.
        ValueError: If a layer fails on a picture with a mask, damages or loses one of them, moves
            them apart, or cannot be repeated; the message says what happened. Also when it is
            called: if ids come out that the mask did not have.

    Example:
        ```python
        zoom = keras.layers.RandomZoom(0.3, fill_mode="constant")
        augment = data.KerasAugment([keras.layers.RandomFlip("horizontal"), zoom])
        image, mask = np.zeros((48, 64, 3), "uint8"), np.zeros((48, 64), "uint8")
        image, mask = augment(image, mask, np.random.default_rng(0))
        ```
    """

    def __init__(self, layers: keras.Layer | Sequence[keras.Layer]) -> None:
        self.layers = tuple(layers) if isinstance(layers, (list, tuple)) else (layers,)
        if not self.layers:
            raise ValueError("KerasAugment: give at least one layer.")
        for layer in self.layers:
            if not isinstance(layer, keras.Layer):
                raise TypeError(
                    f"KerasAugment: layers must be Keras layers, got {layer!r}. A function "
                    "(image, mask, rng) -> (image, mask) is an augmentation as it is."
                )
        self._runs = [_Run(layer) for layer in self.layers]
        sizes = [prove(run, run.name) for run in self._runs]
        self._crop_size = next((size for size in reversed(sizes) if size is not None), None)

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) of every result if a layer fixes it, else None."""
        return self._crop_size

    def run(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Applies the layers to what is there."""
        image, mask = canvas.arrays()
        for run in self._runs:
            image, mask = run(image, mask, int(rng.integers(2**63 - 1)))
        canvas.put(image, mask)

    def __repr__(self) -> str:
        return f"KerasAugment([{', '.join(run.name for run in self._runs)}])"

    def __reduce__(self) -> Any:
        """What `pickle` needs to make it anew: graphs and generators stay behind."""
        return type(self).from_config, (self.to_config(),)

    def to_config(self) -> dict[str, Any]:
        """The layers as plain values that `json` can write."""
        layers = [readable(keras.saving.serialize_keras_object(layer)) for layer in self.layers]
        return {"step": "KerasAugment", "layers": layers}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> KerasAugment:
        """The step that `to_config` described; runs no code that a file brings along."""
        return cls([revived(layer) for layer in config["layers"]])


class _Run:
    """One layer, run by copies of it, its masks held to the ids that were there."""

    def __init__(self, layer: keras.Layer) -> None:
        self.name = f"{type(layer).__module__.split('.')[0]}.{type(layer).__name__}"
        self._layer = layer
        # One copy for each thread that calls at the same time: a layer's state is its own.
        self._free: list[TensorFlowCopy | EagerCopy] = []

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> Pair:
        try:
            copy = self._free.pop()
        except IndexError:
            has_tensorflow = importlib.util.find_spec("tensorflow") is not None
            copy = (TensorFlowCopy if has_tensorflow else EagerCopy)(self._layer)
        shifted = mask.astype("float32")[..., None] + _FIRST_ID
        try:
            new_image, found = copy(image.astype("float32"), shifted, np.random.default_rng(seed))
        except Exception as error:
            raise ValueError(
                f"{self.name} fails on an image of {mask.shape[0]} x {mask.shape[1]} (height x "
                "width) with a mask, given as {'images', 'segmentation_masks'}: "
                f"{type(error).__name__}: {error}"
            ) from error
        self._free.append(copy)
        if new_image.shape[2:] != (3,) or found.shape != (*new_image.shape[:2], 1):
            raise ValueError(
                f"{self.name} made an image {new_image.shape} and a mask {found.shape} of an "
                f"image {image.shape}; expected (H, W, 3) and (H, W, 1)."
            )
        return np.clip(np.rint(new_image), 0, 255).astype("uint8"), self._ids(found[..., 0], mask)

    def _ids(self, found: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The mask that a layer made, as ids; an error if there are others than before."""
        values = found - _FIRST_ID
        values[values < 0] = IGNORE  # filled
        ids = np.clip(values, 0, IGNORE).astype("uint8")
        known = np.zeros(256, bool)
        known[before], known[IGNORE] = True, True
        wrong = (ids != values) | ~known[ids]
        if wrong.any():
            raise ValueError(
                f"{self.name} damages masks: {values[wrong][0]:g} ({int(wrong.sum())} of "
                f"{wrong.size} pixels) was not in the mask before. Crops do it where the image is "
                "smaller than they are: crop first with data.ScaleCrop, which fills up. Or use "
                "another layer, or a function (image, mask, rng) -> (image, mask) of your own."
            )
        return ids
