"""What a step knows of the replicas that take it at the same time, each with a part of the batch.

A loss over a batch has to be the loss over the batch of all replicas, wherever the ignored pixels
lie; so sums cross the replicas before anything is divided. On JAX there is nothing to do: a step is
one program over all devices. On TensorFlow the replicas are those of a `tf.distribute` strategy, on
PyTorch the processes of `training.distribution`.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial, wraps
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_focusseg._replica_checks import check_scope, check_training, with_parts

_COLLECTIVES = 1_000_000  # more than one strategy of TensorFlow has
_strategies = itertools.count()
_ranks = 1  # processes that train one network on PyTorch; see `train_on_ranks`


def train_on_ranks(number: int) -> None:
    """Says that this PyTorch process is one of so many; 1 ends it."""
    global _ranks
    _ranks = number


def loss_shares() -> int:
    """How many replicas' gradients are summed: Keras divides each loss of the batch by it.

    1 outside of a strategy, and on PyTorch, where the gradients of the ranks are averaged.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    shares: int = tf.distribute.get_strategy().num_replicas_in_sync
    return shares


def over_replicas(*values: Any) -> tuple[Any, ...]:
    """Each tensor summed over the replicas, with the gradient of that; itself without replicas.

    Args:
        *values: Tensors of one dtype and of known shapes, the same in all replicas.
    """
    if _ranks == 1 and loss_shares() == 1:
        return values
    shapes = [tuple(value.shape) for value in values]
    flat = ops.concatenate([ops.reshape(value, (-1,)) for value in values])  # one collective
    if _ranks > 1:
        total = _sum_over_ranks().apply(flat)
    else:
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is None:  # Keras builds a model outside of its replicas
            return values
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, flat)
    ends = list(itertools.accumulate(math.prod(shape) for shape in shapes))
    parts = zip([0, *ends[:-1]], ends, shapes, strict=True)
    return tuple(ops.reshape(total[start:end], shape) for start, end, shape in parts)


@cache
def _sum_over_ranks() -> Any:
    """PyTorch's all-reduce, with its gradient: that in `torch.distributed.nn` is deprecated, and
    what it should give way to has no gradient in older versions.
    """
    import torch.distributed

    def total(values: Any) -> Any:
        values = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(values)
        return values

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: Any) -> Any:
            return total(values)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return total(gradient)

    return Sum


def check_part(batch: Any) -> None:
    """Stops a step of training in which a replica of TensorFlow got no image.

    Raises:
        tf.errors.InvalidArgumentError: When the step runs.
    """
    if loss_shares() > 1:
        import tensorflow as tf

        images = keras.utils.unpack_x_y_sample_weight(batch)[0]
        tf.debugging.assert_positive(
            tf.shape(images)[0],
            f"One of the {loss_shares()} replicas got no image of a batch: leave out the last "
            "batch if it is smaller (drop_remainder=True), or take a batch_size that the replicas "
            "divide.",
        )


def filled_part(batch: Any, ignore_class: int | None) -> Any:
    """The part of a batch that came to this replica; a blank, ignored image if none came.

    TensorFlow deals the images of a batch to its replicas, and its convolutions on CPUs do not
    take a batch of none.
    """
    if loss_shares() == 1:
        return batch
    import tensorflow as tf

    images, masks, weights = keras.utils.unpack_x_y_sample_weight(batch)
    missing = tf.maximum(1 - tf.shape(images)[0], 0)
    label = 255 if ignore_class is None else ignore_class

    def fill(values: Any, value: float) -> Any:
        if values is None:
            return None
        values = tf.convert_to_tensor(values)
        padding = [[0, missing]] + [[0, 0]] * (len(values.shape) - 1)
        return tf.pad(values, padding, constant_values=tf.cast(value, values.dtype))

    parts = (fill(images, 0), fill(masks, label), fill(weights, 0))
    return keras.utils.pack_x_y_sample_weight(*parts)


def got_images(batch: Any) -> Any:
    """Whether images of a batch came to this replica; `None` where they always do."""
    if loss_shares() == 1:
        return None
    return ops.shape(keras.utils.unpack_x_y_sample_weight(batch)[0])[0] > 0


def own_part(outputs: Any, batch: Any) -> Any:
    """Outputs without those of the image that `filled_part` added."""
    if loss_shares() == 1:
        return outputs
    images = keras.utils.unpack_x_y_sample_weight(batch)[0]
    count = ops.shape(images)[0]
    return keras.tree.map_structure(lambda output: output[:count], outputs)


def warn_per_replica(what: str) -> None:
    """Says that part of a loss is not that of the whole batch."""
    if _ranks > 1 or loss_shares() > 1:
        warnings.warn(
            f"{what} is computed in each replica from its own part of the batch, and averaged: "
            "several replicas do not train as one device does. JAX computes it over all.",
            stacklevel=3,
        )


def join(model: keras.Model) -> None:
    """Makes a network ready to train in step with its copies in the other replicas.

    Batch norms take the statistics of the whole batch; ranks start from the weights of the first,
    and average their gradients before the optimizer sees them. Without replicas nothing happens.
    """
    strategy = getattr(model, "distribute_strategy", None)
    replicas = _ranks if strategy is None else strategy.num_replicas_in_sync
    check_scope(model, model.metrics)
    if replicas > 1 and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    check_training(model, replicas)
    if replicas == 1:
        return
    if strategy is not None:
        for optimizer in with_parts(model.optimizer):
            _clip_after_sum(optimizer)
    for layer in model._flatten_layers():  # Keras has no public way to the layers inside layers
        if isinstance(layer, keras.layers.BatchNormalization):
            if strategy is not None:
                layer.synchronized = True  # as an argument, JAX and PyTorch could not load it
            else:
                layer.fused = False  # of the library's own
                layer._moments = partial(_moments_over_ranks, layer._reduction_axes)
    if _ranks > 1:
        import torch.distributed

        for variable in [*model.variables, *model.optimizer.variables]:
            torch.distributed.broadcast(variable.value.detach(), 0)
        model.optimizer.apply = _after_averaging(model.optimizer.apply)


def images_of(batch: Any, ignore_class: int | None) -> Any:
    """How many images of a batch are none that fill it up: black, and ignored in each pixel.

    Args:
        batch: Images and masks of one replica, as a step gets them.
        ignore_class: Mask value that is not counted; feeds fill up with 255 whatever it is.
    """
    images, masks, _ = keras.utils.unpack_x_y_sample_weight(batch)
    labeled = ops.not_equal(masks, 255)
    if ignore_class is not None:
        labeled = ops.logical_and(labeled, ops.not_equal(masks, ignore_class))
    parts = (ops.not_equal(images, 0), labeled)
    seen = [ops.any(part, axis=tuple(range(1, len(part.shape)))) for part in parts]
    return ops.sum(ops.cast(ops.logical_or(*seen), "float32"))


def compare_parts(images: Any, batches: int | None, training: bool) -> None:
    """Compares what the ranks of PyTorch are given; all have to call it.

    Ranks that train on the same images are no faster than one, which is told. Where one has fewer
    batches than another, both would meet in sums of different things, or wait for each other.

    Args:
        images: The first batch of this rank, `None` if it cannot be seen.
        batches: Of an epoch, `None` if their number is not known.
        training: Whether the ranks are to train on them.

    Raises:
        ValueError: The ranks have different numbers of batches.
    """
    if _ranks == 1:
        return
    import torch
    import torch.distributed

    total = 0.0
    if images is not None:
        total = float(np.asarray(ops.convert_to_numpy(images), "float64").sum())
    number = -1 if batches is None else batches
    own = torch.tensor([total, number], dtype=torch.float64, device=_device())
    of_ranks = [torch.empty_like(own) for _ in range(_ranks)]
    torch.distributed.all_gather(of_ranks, own)
    totals, numbers = zip(*(rank.tolist() for rank in of_ranks), strict=True)
    if len(set(numbers)) > 1:
        raise ValueError(
            f"The {_ranks} ranks have {', '.join(f'{n:.0f}' for n in numbers)} batches, and would "
            "wait for each other: give each the same number of batches, as data.batches(..., "
            "shard=(rank, ranks), drop_remainder=True) and validation_feed do."
        )
    if training and images is not None and len(set(totals)) == 1:
        warnings.warn(
            f"All {_ranks} ranks got the same first batch: each trains on all images, and none "
            "is spared work. Give each its part, as data.batches(..., shard=(rank, ranks)) does.",
            stacklevel=3,
        )


def repair_keras(model: keras.Model) -> None:
    """Lets `fit` of Keras 3.15 run under `MultiWorkerMirroredStrategy` (keras issue 20585).

    Keras takes the mean of the logs of a step over an axis that scalars do not have. What it needs
    is any replica's value: at the end of an epoch Keras reads the metrics' own, summed variables.
    """
    if getattr(model, "distribute_strategy", None) is None:
        return
    from keras.src.backend.tensorflow import trainer

    original = trainer.reduce_per_replica
    if not keras.__version__.startswith("3.15.") or hasattr(original, "of_focusseg"):
        return

    def reduce_per_replica(values: Any, strategy: Any, reduction: str) -> Any:
        if reduction == "auto" and trainer._collective_all_reduce_multi_worker(strategy):
            return keras.tree.map_structure(
                lambda value: strategy.experimental_local_results(value)[0], values
            )
        return original(values, strategy, reduction)

    reduce_per_replica.of_focusseg = True  # type: ignore[attr-defined]
    trainer.reduce_per_replica = reduce_per_replica


def number_collectives(model: keras.Model) -> None:
    """Gives the collectives of each `MirroredStrategy` of this process numbers of their own.

    TensorFlow 2.21 begins anew for each strategy of the same devices, and takes a collective of the
    second for that of the first with its number, which has another shape (tensorflow issue 62790).
    """
    strategy = getattr(model, "distribute_strategy", None)
    keys = getattr(getattr(strategy, "extended", None), "_collective_keys", None)
    if keys is None or hasattr(keys, "of_focusseg"):
        return
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.MirroredStrategy):  # others have to agree on them
        keys.of_focusseg = True
        first = _COLLECTIVES * next(_strategies)
        for group in keys._instance_key_table.values():
            for device in group:
                group[device] += first


def sum_metrics(model: keras.Model) -> None:
    """Adds up what the metrics of all ranks counted; TensorFlow and JAX do it themselves."""
    if _ranks > 1:
        import torch.distributed

        for variable in model.metrics_variables:
            torch.distributed.all_reduce(variable.value)


def metric_counts(model: keras.Model) -> list[np.ndarray]:
    """What the metrics of a network have counted, in all replicas together.

    All processes have to call it. A network that trains on JAX has to be in step with its
    variables, as `Callback.model` makes it.
    """
    counts = [np.array(ops.convert_to_numpy(v)) for v in model.metrics_variables]
    if _ranks > 1:
        import torch.distributed

        for variable, count in zip(model.metrics_variables, counts, strict=True):
            total = variable.value.detach().clone()
            torch.distributed.all_reduce(total)
            count[...] = total.cpu().numpy()
    return counts


def set_metric_counts(model: keras.Model, counts: Sequence[np.ndarray]) -> None:
    """Lets the metrics of a network go on from what `metric_counts` returned.

    The first replica takes all of it, the others go on from nothing: Keras adds them up later.
    """
    pairs = list(zip(model.metrics_variables, counts, strict=True))
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None or strategy.num_replicas_in_sync == 1:
        first = _ranks == 1 or _rank() == 0
        for variable, count in pairs:
            variable.assign(count if first else np.zeros_like(count))
        return
    import tensorflow as tf

    @tf.function
    def assign() -> None:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        for variable, count in pairs:
            variable.assign(tf.where(tf.equal(number, 0), count, np.zeros_like(count)))

    strategy.run(assign)


def largest_of_processes(number: int, strategy: Any = None) -> int:
    """The largest of the numbers of the processes that train together; all have to call it.

    Args:
        number: That of this process.
        strategy: The `tf.distribute` strategy that joins the processes of TensorFlow.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        import torch
        import torch.distributed

        largest = torch.tensor(number, device=_device())
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
        return int(largest)
    if backend == "jax":
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.array([number])).max())
    import tensorflow as tf

    return int(tf.reduce_max(strategy.gather(strategy.run(lambda: tf.constant([number])), axis=0)))


def _device() -> str:
    """Where a tensor has to be for PyTorch's collective operations: NCCL takes no others."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _rank() -> int:
    """The number of this rank of PyTorch."""
    import torch.distributed

    return int(torch.distributed.get_rank())


def _clip_after_sum(optimizer: Any) -> None:
    """Lets an optimizer clip the gradient of the whole batch on TensorFlow.

    Keras 3.15 clips in each replica, and adds up what is left: N replicas would be clipped to a
    norm of up to N times what was asked for.
    """
    if hasattr(optimizer._clip_gradients, "of_replicas"):
        return
    clip, add_up = optimizer._clip_gradients, optimizer._all_reduce_sum_gradients

    def unclipped(grads: Any) -> Any:
        return grads

    def clipped_sum(grads_and_vars: Any) -> Any:
        grads, variables = zip(*add_up(grads_and_vars), strict=True)
        return list(zip(clip(list(grads)), variables, strict=True))

    unclipped.of_replicas = True  # type: ignore[attr-defined]
    optimizer._clip_gradients = unclipped
    optimizer._all_reduce_sum_gradients = clipped_sum


def _after_averaging(apply: Callable[..., None]) -> Callable[..., None]:
    """An optimizer's `apply` that takes the mean of the gradients of all ranks."""
    if hasattr(apply, "of_ranks"):
        return apply

    @wraps(apply)
    def averaged(grads: Any, trainable_variables: Any = None) -> None:
        import torch

        grads = list(grads)
        known = [i for i, gradient in enumerate(grads) if gradient is not None]
        flat = torch.cat([grads[i].reshape(-1) for i in known]) / _ranks
        if _ranks > 1:
            torch.distributed.all_reduce(flat)
        parts = flat.split([grads[i].numel() for i in known])
        for i, part in zip(known, parts, strict=True):
            grads[i] = part.view_as(grads[i])
        apply(grads, trainable_variables)

    averaged.of_ranks = True  # type: ignore[attr-defined]
    return averaged


def _moments_over_ranks(axes: list[int], inputs: Any, mask: Any) -> tuple[Any, Any]:
    """Mean and variance over the batches of all ranks, as `BatchNormalization._moments`.

    Keras 3.15 synchronises batch norms on TensorFlow alone, and PyTorch's own converter knows only
    PyTorch's layers.
    """
    if mask is not None:
        raise ValueError("Batch norms of masked inputs cannot be synchronised between ranks.")
    x = ops.cast(inputs, "float32")
    mean = ops.mean(x, axis=axes)
    variance = ops.mean(ops.square(x - mean), axis=axes)
    # Each rank fills its row, so that the sum shows all rows to all, in one meeting of the ranks.
    own = ops.one_hot(_rank(), _ranks)
    rows = ops.reshape(own, (-1, 1, 1)) * ops.stack([mean, variance])
    rows, pixels = over_replicas(rows, own * (math.prod(x.shape) / math.prod(mean.shape)))
    shares = ops.reshape(pixels / ops.sum(pixels), (-1, 1))
    mean = ops.sum(shares * rows[:, 0], axis=0)
    variance = ops.sum(shares * (rows[:, 1] + ops.square(rows[:, 0] - mean)), axis=0)
    return ops.cast(mean, inputs.dtype), ops.cast(variance, inputs.dtype)
