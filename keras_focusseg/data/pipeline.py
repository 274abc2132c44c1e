"""From a source to batches for `fit`: one plan of order and randomness, three feeds that carry it.

Everything random is a function of (seed, epoch, index), so all feeds give the same batches, a
second run repeats the first, and a resumed run goes on with the epoch it stopped at.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_focusseg.data import statistics
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import Sample, Source, check_sample

Augmentation = Callable[
    [np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]
]
"""(image uint8 (H, W, 3), mask uint8 (H, W), rng) to the same two, changed. See `Augment`.

Attributes say more, where there are any: all results have the size `crop_size`; with a true
`needs_partner` it is called with `partner=`, with a true `takes_target` it may be called with
`target=`, a class that the result has to show. See `Compose`."""


class Cached(Source):
    """A source that keeps every sample it has read in memory.

    It holds 4 bytes a pixel, and nothing is ever dropped: 254 MB for CamVid's 367 training
    frames at 480x360, 24 GB for Cityscapes' 2975 at 2048x1024. Several feeds may share one.

    Args:
        source: where the samples come from.

    Example:
        ```python
        source = Cached(SyntheticStreets(100))
        ```
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.split = source.split
        self.label_space = source.label_space
        self.note = source.note
        self.layout = source.layout
        self._source = source
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._source)

    def sample_name(self, index: int) -> str:
        """Name of one sample."""
        return self._source.sample_name(index)

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of one sample."""
        return self._source.files(index)

    def load(self, index: int) -> Sample:
        """The sample, from memory if it was read before; its arrays cannot be written to."""
        sample = self._samples.get(index)
        if sample is None:
            image, mask, name = self._source.load(index)
            sample = Sample(_read_only(image), _read_only(mask), name)
            self._samples[index] = sample
        return sample


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.setflags(write=False)
    return view


def batches(
    source: Source,
    batch_size: int,
    augment: Augmentation | None = None,
    shuffle: bool = False,
    seed: int = 0,
    feed: Literal["auto", "tensorflow", "pydataset", "grain"] = "auto",
    cache: Literal["memory"] | None = None,
    drop_remainder: bool = False,
    prefetch: int = 2,
    workers: int | None = None,
    start_epoch: int = 0,
    class_uniform: float = 0.0,
    class_counts: np.ndarray | None = None,
) -> Any:
    """Batches of images and integer masks for `model.fit` or a loop of your own.

    Each complete pass is an epoch: the next one has another order and other augmentations, both
    functions of (seed, epoch, index) alone. A pass that is broken off (Keras looks at one batch
    before it trains) is repeated, not counted. With `augment=None` and `shuffle=False` all
    passes are equal.

    Args:
        source: where the samples come from.
        batch_size: images a batch.
        augment: an `Augment`, or any function like it; None leaves the samples as they are.
        shuffle: another order in each epoch.
        seed: of order and augmentation, at least 0.
        feed: "tensorflow" gives a `tf.data.Dataset`, which trains on every backend; "pydataset" a
            `keras.utils.PyDataset` that needs no TensorFlow; "grain" one that Grain reads, whose
            place within an epoch can be saved (see `grain_feed.GrainFeed`; on Keras' TensorFlow
            backend a `tf.data.Dataset` of it, without that); "auto" the first where TensorFlow
            is installed, else the second.
        cache: "memory" keeps the decoded samples (see `Cached` for how much that takes); None
            reads them again in each epoch.
        drop_remainder: leave out the last batch if it is not full.
        prefetch: batches prepared ahead.
        workers: threads that read and augment; None takes the number of cores.
        start_epoch: the epoch that the first pass is, to go on after an interruption.
        class_uniform: share of an epoch's samples that are drawn by class: each class that the
            source shows gets as many of them as any other, from images that show it, cropped
            around one of its pixels. The rest is drawn as always, and the epoch is no longer
            for it. Known from the training of Zhu et al. (CVPR 2019, arXiv 1812.01593); 0.5 is
            usual. Needs `shuffle`, and an augmentation that crops around a class, as `Augment`
            and the crops among the steps do.
        class_counts: what `data.class_counts` found in this source, for `class_uniform`; None
            counts, which reads the masks once.

    Returns:
        Batches of images (B, H, W, 3) uint8 and masks (B, H, W) int32, with train ids 0..C-1 and
        255 where ignored. Sizes may differ between samples only if `batch_size` is 1, or if
        `augment` crops them to one size.

    Raises:
        DataError: if the source is empty, smaller than one batch that has to be full, or if
            samples of one batch differ in size (when that sample is read). The TensorFlow feed
            wraps errors of later samples into its own, with the message inside.
        ValueError: if an argument is out of its range.
        ImportError: if `feed` is "tensorflow" or "grain" and that is not installed.

    Example:
        ```python
        train = batches(source, 8, Augment((288, 384)), shuffle=True)
        model.fit(train, epochs=40)
        ```
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("prefetch", prefetch, 0),
        ("start_epoch", start_epoch, 0),
        ("workers", 1 if workers is None else workers, 1),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    if cache not in ("memory", None):
        raise ValueError(f"cache must be 'memory' or None, got {cache!r}.")
    if feed not in _FEEDS and feed != "auto":
        raise ValueError(
            f"feed must be 'auto', 'tensorflow', 'pydataset' or 'grain', got {feed!r}."
        )
    if class_uniform and class_counts is None:
        _check_class_uniform(class_uniform, shuffle, augment)  # before all masks are read
        class_counts = statistics.class_counts(source, workers=workers)
    plan = Plan(
        source=Cached(source) if cache == "memory" and not isinstance(source, Cached) else source,
        batch_size=batch_size,
        augment=augment,
        shuffle=shuffle,
        seed=seed,
        drop_remainder=drop_remainder,
        start_epoch=start_epoch,
        class_uniform=class_uniform,
        class_counts=class_counts,
    )
    if feed == "auto":
        feed = "tensorflow" if importlib.util.find_spec("tensorflow") else "pydataset"
    return _FEEDS[feed](plan, prefetch, workers or os.cpu_count() or 1)


@dataclass(frozen=True)
class Plan:
    """Which samples, in which order, changed how: all that a feed has to know.

    A feed calls `order` for the keys of an epoch, and `sample` with each of them. The key of a
    sample that is drawn as always is its index; the key of one that is drawn by class holds index,
    class, and the number of the draw, so that a sample may come twice in an epoch, cropped anew.

    Attributes are the arguments of `batches` of the same names.
    """

    source: Source
    batch_size: int
    augment: Augmentation | None = None
    shuffle: bool = False
    seed: int = 0
    drop_remainder: bool = False
    start_epoch: int = 0
    class_uniform: float = 0.0
    class_counts: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_class_uniform(self.class_uniform, self.shuffle, self.augment)
        if self.class_uniform:
            self._check_counts()
        if self.num_batches == 0:
            raise DataError(
                f"{self.source!r} does not fill one batch of {self.batch_size}; use a smaller "
                "batch_size or drop_remainder=False."
                if len(self.source)
                else f"{self.source!r} is empty."
            )

    @property
    def num_classes(self) -> int:
        """Classes of the source."""
        return self.source.label_space.num_classes

    @property
    def num_samples(self) -> int:
        """Samples an epoch."""
        whole = len(self.source) // self.batch_size * self.batch_size
        return whole if self.drop_remainder else len(self.source)

    @property
    def num_batches(self) -> int:
        """Batches an epoch."""
        return -(-self.num_samples // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Keys of the samples in the order of that epoch, (num_samples,) int64."""
        keys = np.arange(len(self.source))
        if self.shuffle:
            rng = np.random.default_rng((self.seed, epoch))
            keys = rng.permutation(keys)
            if self.class_uniform:
                drawn = self._drawn_by_class(rng)
                keys = rng.permutation(np.concatenate([drawn, keys[len(drawn) :]]))
        return keys[: self.num_samples]

    def result_size(self) -> tuple[int, int] | None:
        """(height, width) of every image, or None where each may have its own."""
        crop_size = getattr(self.augment, "crop_size", None)
        if crop_size is not None:
            return crop_size
        if self.batch_size == 1:
            return None
        image, _ = self._sample(self.start_epoch, 0)
        return image.shape[0], image.shape[1]

    def sample(
        self,
        epoch: int,
        key: int,
        size: tuple[int, int] | None = None,
        mask_dtype: str = "int32",
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sample with that key, as it is in that epoch.

        Args:
            epoch: counted from 0.
            key: one of those that `order` gives.
            size: (height, width) that it must have; None allows any.
            mask_dtype: of the mask; "uint8" is a fourth to copy where a feed converts later.

        Returns:
            image (H, W, 3) uint8 and mask (H, W) of `mask_dtype`.

        Raises:
            DataError: if the source cannot give a valid sample, or it has another size.
        """
        image, mask = self._sample(epoch, key)
        if size is not None and image.shape[:2] != size:
            name = self.source.sample_name(key % len(self.source))
            raise DataError(
                f"sample {name!r} of {self.source.name!r} "
                f"({self.source.split}) is {image.shape[0]} x {image.shape[1]}, but the batch "
                f"needs {size[0]} x {size[1]} (height x width). Use batch_size=1, or an augment "
                "with a crop_size."
            )
        return image, mask.astype(mask_dtype, copy=False)

    def _sample(self, epoch: int, key: int) -> tuple[np.ndarray, np.ndarray]:
        draw, index = divmod(key, len(self.source))
        image, mask, _ = check_sample(self.source.load(index), self.source)
        if self.augment is None:
            return image, mask
        options: dict[str, Any] = {}
        if draw:
            options["target"] = (draw - 1) % self.num_classes
        if getattr(self.augment, "needs_partner", False):
            options["partner"] = partial(self._partner, epoch, key)
        return self.augment(image, mask, np.random.default_rng((self.seed, epoch, key)), **options)

    def _partner(
        self, epoch: int, key: int, number: int
    ) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """A second sample to mix into one, and the generator of its own augmentation."""
        seeds = np.random.SeedSequence((self.seed, epoch, key), spawn_key=(number,))
        rng = np.random.default_rng(seeds)
        length = len(self.source)
        # Any other one, if there is any.
        index = (key + int(rng.integers(1, max(2, length)))) % length
        image, mask, _ = check_sample(self.source.load(index), self.source)
        return image, mask, rng

    def _drawn_by_class(self, rng: np.random.Generator) -> np.ndarray:
        """Keys of the samples that are drawn by class in an epoch."""
        assert self.class_counts is not None
        is_shown = self.class_counts[:, :-1] > 0
        classes = np.flatnonzero(is_shown.any(axis=0))
        number = round(self.class_uniform * len(self.source))
        rounds = max(1, -(-number // len(classes)))
        # Round after round of all classes, so that none gets two more than another.
        targets = np.concatenate([rng.permutation(classes) for _ in range(rounds)])[:number]
        keys = np.empty(number, "int64")
        for target in classes:
            here = np.flatnonzero(targets == target)
            indices = rng.choice(np.flatnonzero(is_shown[:, target]), here.size)
            keys[here] = indices + len(self.source) * (1 + target + self.num_classes * here)
        return keys

    def _check_counts(self) -> None:
        counts, expected = self.class_counts, (len(self.source), self.num_classes + 1)
        if counts is None or counts.shape != expected:
            found = None if counts is None else counts.shape
            raise ValueError(
                f"class_counts must be {expected} as data.class_counts gives, got {found}."
            )
        if len(self.source) and not counts[:, :-1].any():
            raise DataError(f"{self.source!r} shows no class, so none can be drawn.")


def _check_class_uniform(share: float, shuffle: bool, augment: Augmentation | None) -> None:
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"class_uniform must be a share 0..1, got {share!r}.")
    if share and not shuffle:
        raise ValueError(f"class_uniform={share!r} draws samples at random: shuffle=True.")
    if share and not getattr(augment, "takes_target", False):
        raise ValueError(
            f"class_uniform={share!r} needs an augmentation that crops around a class, such as "
            f"data.Augment or a Compose with a ScaleCrop; got {augment!r}."
        )


def _tensorflow_feed(plan: Plan, prefetch: int, workers: int) -> Any:
    """A `tf.data.Dataset` of the plan, with known cardinality."""
    import tensorflow as tf

    leave_accelerators_alone(tf)
    size = plan.result_size()
    state = {"epoch": plan.start_epoch}

    def order() -> np.ndarray:
        epoch = state["epoch"]
        indices = plan.order(epoch)
        positions = np.arange(len(indices))
        return np.stack([np.full_like(indices, epoch), indices, positions], axis=1)

    def load(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return plan.sample(int(row[0]), int(row[1]), size, "uint8")

    def count(row: np.ndarray) -> np.ndarray:
        # Runs when the consumer has asked for the last batch, so that neither a look at the
        # first batch nor what is prefetched counts as an epoch.
        if row[2] == plan.num_samples - 1:
            state["epoch"] = int(row[0]) + 1
        return row

    def rows(_: Any) -> Any:
        table = tf.numpy_function(order, [], tf.int64)  # runs anew in each epoch
        return tf.data.Dataset.from_tensor_slices(
            tf.ensure_shape(table, (plan.num_samples, 3))
        )  # (epoch, index, position)

    def with_sample(row: Any) -> Any:
        image, mask = tf.numpy_function(load, [row], (tf.uint8, tf.uint8))
        height, width = size or (None, None)
        return (
            tf.ensure_shape(image, (height, width, 3)),
            tf.ensure_shape(mask, (height, width)),
            row,
        )

    def counted(images: Any, masks: Any, batch_rows: Any) -> Any:
        last = tf.numpy_function(count, [batch_rows[-1]], tf.int64)
        with tf.control_dependencies([last]):
            return tf.identity(images), tf.cast(masks, tf.int32)

    dataset = tf.data.Dataset.range(1).flat_map(rows)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(plan.num_samples))
    dataset = dataset.map(with_sample, num_parallel_calls=workers, deterministic=True)
    # Where all batches are full, this gives them a static first dimension and drops nothing.
    full = plan.num_samples % plan.batch_size == 0
    dataset = dataset.batch(plan.batch_size, drop_remainder=full)
    if prefetch:
        dataset = dataset.prefetch(prefetch)
    # Nothing may fetch ahead of `counted`.
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    # There is nothing to tune, and TensorFlow 2.21 may end a pass only when the tuner next wakes,
    # which it does after 0.6, 1.3, 2.6, ... seconds.
    options.autotune.enabled = False
    return dataset.map(counted).with_options(options)


def leave_accelerators_alone(tf: Any) -> None:
    """Where TensorFlow only feeds another backend, it must not take that one's memory."""
    if keras.backend.backend() == "tensorflow":
        return
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        pass  # it has started already, with what it was given then


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
        start = position * self._plan.batch_size
        return [
            self._pool.submit(self._plan.sample, self.epoch, int(index), self._size, "uint8")
            for index in self._order[start : start + self._plan.batch_size]
        ]


def _grain_feed(plan: Plan, prefetch: int, workers: int) -> Any:
    """A `GrainFeed` of the plan; on TensorFlow as a `tf.data.Dataset`, see there."""
    from keras_focusseg.data.grain_feed import GrainFeed

    feed = GrainFeed(plan, prefetch, workers)
    return feed.as_tensorflow() if keras.backend.backend() == "tensorflow" else feed


_FEEDS: dict[str, Callable[[Plan, int, int], Any]] = {
    "tensorflow": _tensorflow_feed,
    "pydataset": PyDatasetFeed,
    "grain": _grain_feed,
}
