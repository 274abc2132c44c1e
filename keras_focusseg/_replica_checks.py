"""What is refused where several replicas train: each with the reason, and with what to do."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

NOT_DIVIDED = (
    "Each batch has to be divided by the devices of keras.distribution, the last one and those of "
    "validation too: take a batch_size that they divide, leave out the last batch if it is smaller "
    "(drop_remainder=True), and fill up those of validation by "
    "training.distribution(...).validation_feed(batches). After "
    "keras.distribution.set_distribution(None) any number of images can be measured and predicted."
)


def check_training(model: keras.Model, replicas: int) -> None:
    """Refuses what would train another network than one device does, or none.

    Raises:
        ValueError: With what to do instead.
    """
    check_rank(replicas)
    if keras.backend.backend() == "torch" and replicas > 1:
        if getattr(model.loss, "reduction", None) == "sum":
            raise ValueError(
                f"A loss with reduction='sum' would train at 1/{replicas} of its rate: the ranks "
                "of PyTorch average their gradients. Use the default reduction."
            )
    if keras.backend.backend() != "tensorflow":
        return
    if keras.distribution.distribution() is not None:
        raise ValueError(
            "keras.distribution does nothing on TensorFlow: the network would train on one device. "
            "Use tf.distribute, as training.distribution('mirrored') does, or the JAX backend."
        )
    if replicas == 1:
        return
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "mixed_float16 cannot be trained on several replicas of TensorFlow: Keras 3.15 looks "
            "for an overflow in the gradients of the first replica alone, and one in another makes "
            "the weights infinite. Use mixed_bfloat16."
        )
    if model.jit_compile:
        raise ValueError(
            "jit_compile=True cannot be had on several replicas of TensorFlow: XLA would compile "
            "the replicas into one program of one device. Leave it 'auto', or use the JAX backend, "
            "which compiles for all devices."
        )
    if model.steps_per_execution > 1:
        raise ValueError(
            f"steps_per_execution={model.steps_per_execution} cannot be had on several replicas of "
            "TensorFlow: the function that Keras 3.15 makes for it cannot be run there. Leave it "
            "1, or use the JAX backend."
        )
    for optimizer in with_parts(model.optimizer):
        if optimizer.gradient_accumulation_steps:
            raise ValueError(
                "gradient_accumulation_steps cannot be had on several replicas of TensorFlow: "
                "Keras 3.15 meets the other replicas inside a condition, which TensorFlow does not "
                "allow. Use the JAX or the PyTorch backend, or larger batches."
            )
        if optimizer.ema_overwrite_frequency:
            raise ValueError(
                f"ema_overwrite_frequency={optimizer.ema_overwrite_frequency} cannot be had on "
                "several replicas of TensorFlow: Keras 3.15 overwrites the weights inside a "
                "condition, which TensorFlow does not allow. Leave it out, and fit ends with the "
                "averages in place of the weights; or use the JAX or the PyTorch backend."
            )


def with_parts(optimizer: Any) -> tuple[Any, ...]:
    """An optimizer, and those among which a `keras.optimizers.MultiOptimizer` shares variables.

    It knows those that a function chooses once it is built.
    """
    return (optimizer, *getattr(optimizer, "optimizers", ()))


def check_rank(replicas: int) -> None:
    """Refuses to train one network in each process that torchrun started.

    Raises:
        ValueError: With what to do instead.
    """
    if keras.backend.backend() == "torch" and replicas == 1 and "RANK" in os.environ:
        if torchrun_number("WORLD_SIZE", 1) > 1:
            raise ValueError(
                f"This is process {os.environ['RANK']} of the {os.environ['WORLD_SIZE']} that "
                "torchrun started, and it would train a network of its own: build, compile and fit "
                "inside `with training.distribution('ranks').scope():` (focusseg train: --strategy "
                "ranks)."
            )


def check_torchrun() -> None:
    """Refuses to join other ranks without what torchrun tells each process.

    Raises:
        ValueError: With what is missing, or is not what it should be.
    """
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR") if name not in os.environ]
    if missing:
        raise ValueError(
            f"strategy 'ranks' needs what torchrun sets ({', '.join(missing)}): start this with "
            "torchrun --nproc-per-node GPUS -m keras_focusseg.cli train ..."
        )
    for name in ("RANK", "WORLD_SIZE"):
        torchrun_number(name, 0)


def torchrun_number(name: str, default: int) -> int:
    """A number that torchrun tells each process in an environment variable.

    Raises:
        ValueError: Something else stands there.
    """
    value = os.environ.get(name, str(default))
    if not value.isdecimal():
        raise ValueError(
            f"The environment variable {name} must be a whole number, as torchrun sets it, got "
            f"{value!r}: start this with torchrun, or unset it."
        )
    return int(value)


def check_scope(model: keras.Model, metrics: Iterable[keras.metrics.Metric] = ()) -> None:
    """Refuses what was made before, or outside of, the strategy that is to use it.

    TensorFlow and JAX speak of mixed strategies and devices then; and of a metric's variable all
    replicas of TensorFlow would read and write the same one.

    Args:
        model: The network.
        metrics: What counts beside it.

    Raises:
        ValueError: With what has to be made anew, and where.
    """
    belongs = _membership(model)
    if belongs is None:
        return
    parts = {
        "network": model.variables,
        "optimizer": getattr(getattr(model, "optimizer", None), "variables", ()),
        "metrics": [variable for metric in metrics for variable in metric.variables],
    }
    strange = [part for part, variables in parts.items() if not all(map(belongs, variables))]
    if strange:
        raise ValueError(
            "These were not made under the strategy by which the network is trained or measured: "
            f"{', '.join(strange)}. Make the network, its optimizer and its metrics inside the "
            "scope of tf.distribute, or after keras.distribution.set_distribution; or do all "
            "without."
        )


def _membership(model: keras.Model) -> Callable[[keras.Variable], bool] | None:
    """Whether a variable is one of the strategy in force; `None` where nothing can be mixed."""
    if keras.backend.backend() == "tensorflow":
        extended = model.distribute_strategy.extended
        return lambda variable: extended.variable_created_in_scope(variable.value)
    layout = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if layout is None:
        return None
    devices = math.prod(layout.device_mesh.shape)
    return lambda variable: len(variable.value.sharding.device_set) == devices


def check_last_batch(model: keras.Model, images: int, batch_size: int) -> None:
    """Refuses a last batch of which a replica of TensorFlow would get no image.

    Once a step has failed in one replica, TensorFlow's collectives cannot be used any more in this
    process; what is seen beforehand spares that.

    Args:
        model: The network.
        images: Of an epoch.
        batch_size: Of all replicas; each gets its share, the first ones of a smaller batch first.

    Raises:
        ValueError: With what to do.
    """
    if keras.backend.backend() != "tensorflow":
        return
    replicas = model.distribute_strategy.num_replicas_in_sync
    last = images % batch_size or batch_size
    if replicas > 1 and last <= batch_size - batch_size // replicas:
        raise ValueError(
            f"The last batch has {last} of {batch_size} images, so that one of the {replicas} "
            f"replicas gets none: leave out {last} images, or take a batch_size that divides the "
            f"{images} images and that the replicas divide."
        )


def check_divided(images: Any) -> None:
    """Refuses a first batch that the devices of JAX do not divide, while the weights are there.

    Raises:
        ValueError: With what to do.
    """
    found = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if found is None or images is None:
        return
    import jax

    mesh = found.device_mesh
    parts = mesh.shape[mesh.axis_names.index(found.batch_dim_name)] // jax.process_count()
    if parts and images.shape[0] % parts:
        raise ValueError(f"A batch has {images.shape[0]} images for {parts} devices. {NOT_DIVIDED}")


@contextlib.contextmanager
def told_of_parts() -> Iterator[None]:
    """Says what JAX means if the devices do not divide a later batch.

    Raises:
        ValueError: With what to do.
    """
    try:
        yield
    except ValueError as error:
        if keras.distribution.distribution() is None or "is partitioned" not in str(error):
            raise
        raise ValueError(NOT_DIVIDED) from error
