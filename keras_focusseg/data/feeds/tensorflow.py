"""The plan as a `tf.data.Dataset`."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_focusseg.data.accelerators import leave_accelerators_alone
from keras_focusseg.data.feeds.plan import Plan
from keras_focusseg.data.feeds.workers import Workers, told_of_death


def tensorflow_feed(plan: Plan, prefetch: int, workers: int, processes: bool = False) -> Any:
    """A `tf.data.Dataset` of the plan, with known cardinality.

    It cannot change from pass to pass, so where the plan has a `start_batch` every pass is the rest
    of `start_epoch`.
    """
    import tensorflow as tf

    leave_accelerators_alone(tf)
    size = plan.result_size()
    state = {"epoch": plan.start_epoch}
    first = plan.start_batch * plan.loaded_batch_size
    pool = Workers(plan, size, workers, processes=True) if processes else None

    def order() -> np.ndarray:
        epoch = state["epoch"]
        indices = plan.order(epoch)
        positions = np.arange(len(indices))
        return np.stack([np.full_like(indices, epoch), indices, positions], axis=1)[first:]

    def load(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epoch, key = int(row[0]), int(row[1])
        if pool is not None:
            with told_of_death():
                return pool.submit(epoch, key).result()
        return plan.sample(epoch, key, size)

    def count(row: np.ndarray) -> np.ndarray:
        # Runs when the consumer has asked for the last batch, so that neither a look at the
        # first batch nor what is prefetched counts as an epoch.
        if row[2] == plan.num_loaded - 1 and not first:
            state["epoch"] = int(row[0]) + 1
        return row

    def rows(_: Any) -> Any:
        table = tf.numpy_function(order, [], tf.int64)  # runs anew in each epoch
        return tf.data.Dataset.from_tensor_slices(
            tf.ensure_shape(table, (plan.num_loaded - first, 3))
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
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(plan.num_loaded - first))
    # A thread each waits for the processes, so that every one has its next sample at hand.
    calls = 2 * workers if processes else workers
    dataset = dataset.map(with_sample, num_parallel_calls=calls, deterministic=True)
    # Where all batches are full, this gives them a static first dimension and drops nothing.
    full = plan.num_loaded % plan.loaded_batch_size == 0
    dataset = dataset.batch(plan.loaded_batch_size, drop_remainder=full)
    if prefetch:
        dataset = dataset.prefetch(prefetch)
    # Nothing may fetch ahead of `counted`.
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    # There is nothing to tune, and TensorFlow 2.21 may end a pass only when the tuner next wakes,
    # which it does after 0.6, 1.3, 2.6, ... seconds.
    options.autotune.enabled = False
    return dataset.map(counted).with_options(options)
