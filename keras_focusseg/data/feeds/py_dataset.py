"""The plan as a `keras.utils.PyDataset`, without TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from keras_focusseg.data.feeds.plan import Plan


class PyDatasetFeed(keras.utils.PyDataset):
    """The plan as a `keras.utils.PyDataset`: no TensorFlow, threads of its own.

    Batches come in the order of the plan, whatever numbers they are asked for by: `fit` asks in
    an order drawn from Python's global generator unless it is told `shuffle=False`. A number
    that is asked for again within an epoch gives the same batch again.

    Keras' own worker threads are not used (`workers` stays 1 for Keras): what they prepared
    before `fit` looked at the first batch would come again in the first epoch.

    Args:
        plan: what to load.
        prefetch: batches prepared ahead.
        threads: how many samples are read at the same time.
    """

    def __init__(self, plan: Plan, prefetch: int, threads: int) -> None:
        super().__init__(workers=1)
        self.epoch = plan.start_epoch
        self._plan = plan
        self._size = plan.result_size()
        self._prefetch = prefetch
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="focusseg-data")
        self._pending: dict[tuple[int, int], list[Future[tuple[np.ndarray, np.ndarray]]]] = {}
        self._lock = threading.Lock()
        self._order = plan.order(self.epoch)
        self._positions: dict[int, int] = {}  # of the numbers asked for in this epoch

    def __len__(self) -> int:
        return self._plan.num_batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The next batch of the epoch: images (B, H, W, 3) uint8, masks (B, H, W) int32."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        with self._lock:
            position = self._positions.setdefault(index, len(self._positions))
            futures = self._submit(position)
            ahead = range(position + 1, min(position + 1 + self._prefetch, len(self)))
            wanted = {(self.epoch, number): self._submit(number) for number in ahead}
            for key, others in self._pending.items():
                if key not in wanted and others is not futures:
                    for future in others:
                        future.cancel()
            self._pending = wanted
        images, masks = zip(*(future.result() for future in futures), strict=True)
        return np.stack(images), np.stack(masks, dtype="int32")

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One epoch of batches; the iteration after it is the next epoch."""
        self.on_epoch_begin()
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def on_epoch_begin(self) -> None:
        """Start the current epoch at its first batch."""
        with self._lock:
            self._positions.clear()

    def on_epoch_end(self) -> None:
        """Go on to the next epoch if this one was read to its end."""
        with self._lock:
            if len(self._positions) == len(self):
                self.epoch += 1
                self._order = self._plan.order(self.epoch)
            self._positions.clear()

    def _submit(self, position: int) -> list[Future[tuple[np.ndarray, np.ndarray]]]:
        """What computes that batch of the current epoch, started if it was not yet."""
        pending = self._pending.get((self.epoch, position))
        if pending is not None:
            return pending
        start = position * self._plan.loaded_batch_size
        return [
            self._pool.submit(self._plan.sample, self.epoch, int(index), self._size, "uint8")
            for index in self._order[start : start + self._plan.loaded_batch_size]
        ]
