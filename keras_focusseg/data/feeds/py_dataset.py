"""The plan as a `keras.utils.PyDataset`, without TensorFlow."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import keras
import numpy as np

from keras_focusseg.data.feeds.plan import Plan
from keras_focusseg.data.feeds.workers import Workers, told_of_death
from keras_focusseg.data.transforms.canvas import Pair


class PyDatasetFeed(keras.utils.PyDataset):
    """The plan as a `keras.utils.PyDataset`: no TensorFlow, threads or processes of its own.

    Batches come in the order of the plan, whatever numbers they are asked for by: `fit` asks in
    an order drawn from Python's global generator unless it is told `shuffle=False`. A number
    that is asked for again within an epoch gives the same batch again.

    Keras' own worker threads are not used (`workers` stays 1 for Keras): what they prepared
    before `fit` looked at the first batch would come again in the first epoch.

    `get_state` says how far a pass has got, and `set_state` goes on there, in this process or in
    another, without reading what came before. The pass that goes on is shorter, and so is `len`;
    `fit` asks for the length only once, so give that pass a `fit` of its own.

    Args:
        plan: What to load.
        prefetch: Batches prepared ahead.
        workers: How many samples are read at the same time.
        processes: Whether by processes.

    Example:
        ```python
        from keras_focusseg import data

        def feed():
            return data.batches(data.SyntheticStreets(8), 2, shuffle=True, feed="pydataset")

        before = feed()
        next(iter(before))
        state = before.get_state()  # {"epoch": 0, "batch": 1}
        after = feed()
        after.set_state(state)
        len(after)  # 3
        ```
    """

    def __init__(self, plan: Plan, prefetch: int, workers: int, processes: bool = False) -> None:
        super().__init__(workers=1)
        self.epoch = plan.start_epoch
        self._plan = plan
        self._prefetch = prefetch
        self._pool = Workers(plan, plan.result_size(), workers, processes)
        self._pending: dict[tuple[int, int], list[Future[Pair]]] = {}
        self._lock = threading.Lock()
        self._order = plan.order(self.epoch)
        self._first = plan.start_batch  # batch of the epoch that the pass starts with
        self._positions: dict[int, int] = {}  # of the numbers asked for in this pass

    def __len__(self) -> int:
        return self._plan.num_batches - self._first

    def __getitem__(self, index: int) -> Pair:
        """The next batch of the epoch: images (B, H, W, 3) uint8, masks (B, H, W) int32."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        with told_of_death(), self._lock:
            position = self._first + self._positions.setdefault(index, len(self._positions))
            futures = self._submit(position)
            end = min(position + 1 + self._prefetch, self._plan.num_batches)
            ahead = range(position + 1, end)
            wanted = {(self.epoch, number): self._submit(number) for number in ahead}
            for key, others in self._pending.items():
                if key not in wanted and others is not futures:
                    for future in others:
                        future.cancel()
            self._pending = wanted
        with told_of_death():
            images, masks = zip(*(future.result() for future in futures), strict=True)
        return np.stack(images), np.stack(masks, dtype="int32")

    def __iter__(self) -> Iterator[Pair]:
        """One pass of batches; the iteration after it is the next epoch."""
        self.on_epoch_begin()
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def on_epoch_begin(self) -> None:
        """Starts the current pass at its first batch."""
        with self._lock:
            self._positions.clear()

    def on_epoch_end(self) -> None:
        """Go on to the next epoch if this pass was read to its end."""
        with self._lock:
            if len(self._positions) == len(self):
                self._start(self.epoch + 1, 0)
            self._positions.clear()

    def get_state(self) -> dict[str, int]:
        """How far the pass has got: "epoch", and how many batches of it were handed out."""
        with self._lock:
            return {"epoch": self.epoch, "batch": self._first + len(self._positions)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called on a feed of the same arguments.

        Args:
            state: What `get_state` returned.

        Raises:
            ValueError: If it is no such state, or its batch lies beyond the epoch.
        """
        epoch, batch = state.get("epoch"), state.get("batch")
        if not (
            isinstance(epoch, int)
            and isinstance(batch, int)
            and epoch >= 0
            and 0 <= batch <= self._plan.num_batches
        ):
            raise ValueError(
                "state must be what get_state() of a feed with the same source and batch_size "
                f"returned, with a batch of 0..{self._plan.num_batches}, got {dict(state)!r}."
            )
        with self._lock:
            if batch == self._plan.num_batches:
                epoch, batch = epoch + 1, 0
            self._start(epoch, batch)
            self._positions.clear()

    def _start(self, epoch: int, batch: int) -> None:
        self.epoch, self._first = epoch, batch
        self._order = self._plan.order(epoch)

    def _submit(self, position: int) -> list[Future[Pair]]:
        """What computes that batch of the current epoch, started if it was not yet."""
        pending = self._pending.get((self.epoch, position))
        if pending is not None:
            return pending
        size = self._plan.loaded_batch_size
        keys = self._order[position * size : (position + 1) * size]
        return [self._pool.submit(self.epoch, int(key)) for key in keys]
