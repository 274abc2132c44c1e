"""Batches of any source by the feed that suits the machine."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from keras_focusseg.data.feeds import statistics
from keras_focusseg.data.feeds.plan import Plan, check_class_uniform
from keras_focusseg.data.feeds.py_dataset import PyDatasetFeed
from keras_focusseg.data.feeds.tensorflow import tensorflow_feed
from keras_focusseg.data.sources.base import Source, check_source
from keras_focusseg.data.sources.cached import Cached
from keras_focusseg.data.transforms import Augmentation
from keras_focusseg.data.transforms.base import as_augmentation
from keras_focusseg.data.transforms.canvas import Pair


def batches(
    source: Source,
    batch_size: int,
    augment: Augmentation | Callable[..., Pair] | None = None,
    shuffle: bool = False,
    seed: int = 0,
    feed: Literal["auto", "tensorflow", "pydataset"] = "auto",
    cache: Literal["memory"] | None = None,
    drop_remainder: bool = False,
    prefetch: int = 2,
    workers: int | None = None,
    start_epoch: int = 0,
    start_batch: int = 0,
    class_uniform: float = 0.0,
    class_counts: np.ndarray | None = None,
    shard: tuple[int, int] = (0, 1),
    processes: bool = False,
) -> Any:
    """Batches of images and integer masks for `model.fit` or a loop of your own.

    Each complete pass is an epoch: the next one has another order and other augmentations, both
    functions of (seed, epoch, index) alone. A pass that is broken off (Keras looks at one batch
    before it trains) is repeated, not counted. With `augment=None` and `shuffle=False` all
    passes are equal.

    Args:
        source: Where the samples come from.
        batch_size: Images a batch.
        augment: What `Augment` gives, a `Compose` of steps, a step, or a function `(image, mask,
            rng) -> (image, mask)`; None leaves the samples as they are.
        shuffle: Another order in each epoch.
        seed: Of order and augmentation, at least 0.
        feed: "tensorflow" gives a `tf.data.Dataset`, which trains on every backend; "pydataset" a
            `keras.utils.PyDataset` that needs no TensorFlow, and whose place within an epoch can
            be saved (see `feeds.py_dataset.PyDatasetFeed`); "auto" the first where TensorFlow is
            installed, else the second.
        cache: "memory" keeps the decoded samples (see `Cached` for how much that takes); None
            reads them again in each epoch.
        drop_remainder: Leave out the last batch if it is not full.
        prefetch: Batches prepared ahead.
        workers: Threads, or processes, that read and augment; None takes the number of cores.
        start_epoch: The epoch that the first pass is, to go on after an interruption.
        start_batch: The batch of that epoch that the first pass begins with. The pass is shorter
            then, and `fit` asks for its length only once: take such a feed for one pass.
        class_uniform: Share of an epoch's samples that are drawn by class: each class that the
            source shows gets as many of them as any other, from images that show it, cropped
            around one of its pixels. The rest is drawn as always, and the epoch is no longer
            for it. Known from the training of Zhu et al. (CVPR 2019, arXiv 1812.01593); 0.5 is
            usual. Needs `shuffle`, and an augmentation that crops around a class, as `Augment`
            and the crops among the steps do.
        class_counts: What `data.class_counts` found in this source, for `class_uniform`; None
            counts, which reads the masks once.
        shard: (index, count) of this process among those that train together. All follow one
            order, and each loads its share of each batch of `batch_size` samples; then batches
            have to be full.
        processes: Whether the workers are processes, for machines with more cores than threads
            can keep busy. Each takes seconds to start, and a script that asks for them needs
            `if __name__ == "__main__":` around what it does. Source and augmentation must be
            picklable. Not with `cache`.

    Returns:
        Batches of images (B, H, W, 3) uint8 and masks (B, H, W) int32, with train ids 0..C-1 and
        255 where ignored. Sizes may differ between samples only if `batch_size` is 1, or if
        `augment` crops them to one size.

    Raises:
        DataError: If the source is empty, smaller than one batch that has to be full, or if
            samples of one batch differ in size (when that sample is read). The TensorFlow feed
            wraps errors of later samples into its own, with the message inside.
        ValueError: If an argument is out of its range.
        ImportError: If `feed` is "tensorflow" and that is not installed.

    Example:
        ```python
        train = data.batches(source, 8, data.Augment((288, 384)), shuffle=True)
        model.fit(train, epochs=40)
        ```
    """
    check_source(source)
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("prefetch", prefetch, 0),
        ("start_epoch", start_epoch, 0),
        ("start_batch", start_batch, 0),
        ("workers", 1 if workers is None else workers, 1),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    if cache not in ("memory", None):
        raise ValueError(f"cache must be 'memory' or None, got {cache!r}.")
    if feed not in _FEEDS and feed != "auto":
        raise ValueError(f"feed must be 'auto', 'tensorflow' or 'pydataset', got {feed!r}.")
    if processes and (cache or isinstance(source, Cached)):
        raise ValueError(
            "processes=True cannot share what this process keeps in memory: leave out the cache."
        )
    augmentation = None if augment is None else as_augmentation(augment)
    if class_uniform and class_counts is None:
        check_class_uniform(class_uniform, shuffle, augmentation)  # before all masks are read
        class_counts = statistics.class_counts(source, workers=workers)
    plan = Plan(
        source=Cached(source) if cache == "memory" and not isinstance(source, Cached) else source,
        batch_size=batch_size,
        augment=augmentation,
        shuffle=shuffle,
        seed=seed,
        drop_remainder=drop_remainder,
        start_epoch=start_epoch,
        start_batch=start_batch,
        class_uniform=class_uniform,
        class_counts=class_counts,
        shard=shard,
    )
    if feed == "auto":
        feed = "tensorflow" if importlib.util.find_spec("tensorflow") else "pydataset"
    return _FEEDS[feed](plan, prefetch, workers or os.cpu_count() or 1, processes)


_FEEDS: dict[str, Callable[[Plan, int, int, bool], Any]] = {
    "tensorflow": tensorflow_feed,
    "pydataset": PyDatasetFeed,
}
