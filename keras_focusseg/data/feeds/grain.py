"""Batches by Grain: its threads read the plan, and the place within an epoch can be saved."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_focusseg.data.feeds.plan import Plan

Batch = tuple[np.ndarray, np.ndarray]


class GrainFeed(keras.utils.PyDataset):
    """The plan as a `keras.utils.PyDataset` that Grain reads; it needs no TensorFlow.

    Grain's own datasets have no length for Keras, which then counts the first epoch and warns. This
    one has, and keeps the rules of the other feeds: batches come in the order of the plan,
    whatever numbers they are asked for by, and a pass that is broken off is repeated.

    `get_state` says how far a pass has got, `set_state` goes on there, in this process or in
    another, without reading what came before. The pass that goes on is shorter, and so is `len`;
    `fit` asks for the length only once, so give that pass a `fit` of its own.

    Args:
        plan: what to load.
        prefetch: batches prepared ahead.
        threads: how many samples are read at the same time.

    Raises:
        ImportError: if Grain is not installed.

    Example:
        ```python
        from keras_focusseg import data

        def feed():
            return data.batches(data.SyntheticStreets(8), 2, shuffle=True, feed="grain")

        before = feed()
        next(iter(before))
        state = before.get_state()  # {"epoch": 0, "batch": 1, "iterator": {...}}, for a JSON file
        after = feed()
        after.set_state(state)
        len(after)  # 3
        ```
    """

    def __init__(self, plan: Plan, prefetch: int, threads: int) -> None:
        super().__init__(workers=1)
        try:
            import grain
        except ImportError as error:
            raise ImportError(
                "feed='grain' needs Grain: pip install 'keras-focusseg[grain]'"
            ) from error
        self.epoch = plan.start_epoch
        self._plan = plan
        self._size = plan.result_size()
        # Buffered by samples, and without a thread where nothing is to be read ahead.
        self._options = grain.ReadOptions(
            num_threads=threads if prefetch else 0,
            prefetch_buffer_size=prefetch * plan.loaded_batch_size,
        )
        self._lock = threading.RLock()
        self._start: dict[str, Any] | None = None  # where the pass starts; None: with the epoch
        self._iterator: Any = None
        self._positions: dict[int, int] = {}  # of the numbers asked for in this pass
        self._last: Batch | None = None

    def __len__(self) -> int:
        return self._plan.num_batches - self._first

    def __getitem__(self, index: int) -> Batch:
        """The next batch of the pass: images (B, H, W, 3) uint8, masks (B, H, W) int32."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        with self._lock:
            position = self._positions.get(index)
            if position is None:
                if self._iterator is None:
                    self._iterator = self._started()
                self._last = next(self._iterator)
                self._positions[index] = len(self._positions)
                return self._last
            if position == len(self._positions) - 1 and self._last is not None:
                return self._last
            return self._samples(self.epoch).batch(self._plan.loaded_batch_size)[
                self._first + position
            ]

    def __iter__(self) -> Iterator[Batch]:
        """One pass of batches; the iteration after it is the next epoch."""
        self.on_epoch_begin()
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def on_epoch_begin(self) -> None:
        """Start the current pass at its first batch."""
        with self._lock:
            if self._positions:
                self._rewind()

    def on_epoch_end(self) -> None:
        """Go on to the next epoch if this pass was read to its end."""
        with self._lock:
            if len(self._positions) == len(self):
                self.epoch += 1
                self._start = None
            self._rewind()

    def get_state(self) -> dict[str, Any]:
        """How far the pass has got, as plain values that `json` can write.

        Returns:
            "epoch", "batch" (of the epoch: how many were handed out) and "iterator", Grain's own
            state of the iterator. What is prepared ahead does not count.
        """
        with self._lock:
            if self._iterator is None:
                self._iterator = self._started()
            return {
                "epoch": self.epoch,
                "batch": self._first + len(self._positions),
                "iterator": self._iterator.get_state(),
            }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called on a feed of the same arguments.

        Args:
            state: what `get_state` returned.

        Raises:
            ValueError: if it is no such state, or its batch lies beyond the epoch.
        """
        epoch, batch = state.get("epoch"), state.get("batch")
        if not (
            isinstance(epoch, int)
            and isinstance(batch, int)
            and epoch >= 0
            and 0 <= batch <= self._plan.num_batches
            and "iterator" in state
        ):
            raise ValueError(
                "state must be what get_state() of a feed with the same source and batch_size "
                f"returned, with a batch of 0..{self._plan.num_batches}, got {dict(state)!r}."
            )
        with self._lock:
            ended = batch == self._plan.num_batches
            self.epoch = epoch + ended
            self._start = None if ended or batch == 0 else dict(state)
            self._rewind()

    def as_tensorflow(self) -> Any:
        """The same batches as a `tf.data.Dataset` of known cardinality, for Keras on TensorFlow.

        Its trainer reads a `PyDataset` further than it trains, which would count as passes.
        """
        import tensorflow as tf

        height, width = self._size or (None, None)
        signature = (
            tf.TensorSpec((None, height, width, 3), tf.uint8),
            tf.TensorSpec((None, height, width), tf.int32),
            tf.TensorSpec((2,), tf.int64),  # epoch, and how many batches of it are left
        )

        def rows() -> Iterator[tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
            epoch = self.epoch
            batches = iter(self._dataset(epoch))
            for left in reversed(range(self._plan.num_batches)):
                images, masks = next(batches)
                yield images, masks, (epoch, left)

        def count(row: np.ndarray) -> np.ndarray:
            if row[1] == 0:  # the consumer has asked for the last batch
                self.epoch = int(row[0]) + 1
            return row

        def counted(images: Any, masks: Any, row: Any) -> Any:
            with tf.control_dependencies([tf.numpy_function(count, [row], tf.int64)]):
                return tf.identity(images), tf.identity(masks)

        dataset = tf.data.Dataset.from_generator(rows, output_signature=signature).map(counted)
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        options.autotune.enabled = False  # as in the feed "tensorflow"
        return dataset.apply(
            tf.data.experimental.assert_cardinality(self._plan.num_batches)
        ).with_options(options)

    @property
    def _first(self) -> int:
        """The batch of the epoch that the pass starts with."""
        return self._start["batch"] if self._start else 0

    def _samples(self, epoch: int) -> Any:
        """The samples of an epoch as a `grain.MapDataset`."""
        import grain

        return grain.MapDataset.source(_Samples(self._plan, epoch, self._size))

    def _dataset(self, epoch: int) -> Any:
        """The batches of an epoch as a `grain.IterDataset`."""
        samples = self._samples(epoch).to_iter_dataset(self._options)
        return samples.batch(self._plan.loaded_batch_size)

    def _started(self) -> Any:
        """An iterator that stands where the pass starts."""
        iterator = iter(self._dataset(self.epoch))
        if self._start:
            iterator.set_state(self._start["iterator"])
        return iterator

    def _rewind(self) -> None:
        self._iterator = self._last = None
        self._positions.clear()


def grain_feed(plan: Plan, prefetch: int, workers: int) -> Any:
    """A `GrainFeed` of the plan; on TensorFlow as a `tf.data.Dataset`, see there."""
    feed = GrainFeed(plan, prefetch, workers)
    return feed.as_tensorflow() if keras.backend.backend() == "tensorflow" else feed


class _Samples:
    """The samples of one epoch in their order: what Grain calls a random access data source."""

    def __init__(self, plan: Plan, epoch: int, size: tuple[int, int] | None) -> None:
        self._plan, self._epoch, self._size = plan, epoch, size
        self._order = plan.order(epoch)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Batch:
        return self._plan.sample(self._epoch, int(self._order[position]), self._size)

    def __repr__(self) -> str:
        return f"{self._plan.source!r}, epoch {self._epoch}"
