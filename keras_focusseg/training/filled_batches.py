"""Batches that are filled up until the replicas that train together divide them."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from keras_focusseg.label_spaces import IGNORE

FILL = (0, IGNORE, 0)
"""What fills up images, masks and sample weights."""


class FilledBatches(keras.utils.PyDataset):
    """Batches of a `PyDataset`, filled up and cut to the part of a process.

    Args:
        feed: Batches of images, masks and, if any, sample weights; the same in all processes.
        replicas: What has to divide each batch.
        part: From the images of a filled batch to those of this process.
    """

    def __init__(
        self, feed: keras.utils.PyDataset, replicas: int, part: Callable[[int], slice]
    ) -> None:
        super().__init__(workers=1)
        self._feed, self._replicas, self._part = feed, replicas, part

    def __len__(self) -> int:
        return len(self._feed)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        batch = self._feed[index]
        missing = -len(batch[0]) % self._replicas
        own = self._part(len(batch[0]) + missing)

        def filled(values: np.ndarray, fill: int) -> np.ndarray:
            paddings = [(0, missing)] + [(0, 0)] * (values.ndim - 1)
            return np.pad(values, paddings, constant_values=fill)[own]

        return tuple(filled(*pair) for pair in zip(batch, FILL, strict=False))

    def on_epoch_begin(self) -> None:
        """Tells the feed."""
        self._feed.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the feed."""
        self._feed.on_epoch_end()
