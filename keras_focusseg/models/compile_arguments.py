"""What `Segmenter.compile` takes as loss and metrics, as Keras takes it for the logits alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from keras_focusseg._replicas import loss_shares, warn_per_replica

# By name Keras means these of probabilities; a network gives logits.
OF_LOGITS: dict[str, Callable[..., keras.losses.Loss]] = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "categorical_focal_crossentropy": keras.losses.CategoricalFocalCrossentropy,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "binary_focal_crossentropy": keras.losses.BinaryFocalCrossentropy,
}


def loss_of_logits(loss: Any, ignore_class: int | None) -> Any:
    """The one loss that is meant, of masks and logits.

    Args:
        loss: A Keras loss, its name, or a function; also as `{"logits": loss}` or `[loss]`.
        ignore_class: Mask value that no loss counts; a loss by name that can leave it out does.

    Returns:
        A loss as Keras takes it. A name that Keras would mean of probabilities becomes the loss of
        logits.

    Raises:
        ValueError: Losses of other outputs, several losses, or a loss of probabilities.
    """
    if isinstance(loss, Mapping):
        if set(loss) != {"logits"}:
            raise ValueError(
                f"compile takes a loss of the logits alone, got losses of {sorted(loss)}: what the "
                "paper computes from the other outputs belongs to loss='auto'."
            )
        loss = loss["logits"]
    if isinstance(loss, (list, tuple)):
        if len(loss) != 1:
            raise ValueError(
                f"compile takes one loss, got a list of {len(loss)}. Write a function of masks and "
                "logits that adds them."
            )
        loss = loss[0]
    if isinstance(loss, str):
        name = loss.lower()
        if name in ("crossentropy", "ce"):
            name = "sparse_categorical_crossentropy"
        for known, kind in OF_LOGITS.items():
            if name in (known, known.replace("_", "")):
                options = {"ignore_class": ignore_class} if known.startswith("sparse") else {}
                return loss_of_logits(kind(from_logits=True, **options), ignore_class)
        return loss
    if _expects_probabilities(loss):
        raise ValueError(
            f"{getattr(loss, 'name', None) or getattr(loss, '__name__', loss)} takes probabilities "
            "unless told otherwise, and the network gives logits: use the loss with "
            "from_logits=True."
        )
    if callable(loss) and not isinstance(loss, keras.losses.Loss):
        return FunctionLoss(loss)
    of_keras = type(loss).__module__.startswith("keras.")
    if of_keras and loss.get_config().get("ignore_class") is not None:  # 0 is a class, too
        warn_per_replica("Keras' mean over the pixels that are not ignored")
    plain = type(loss).__call__ is keras.losses.Loss.__call__  # those of ours have their own
    if loss_shares() > 1 and plain and loss.reduction not in ("sum", "none", None):
        return FunctionLoss(
            loss.call, loss, name=loss.name, reduction=loss.reduction, dtype=loss.dtype
        )
    return loss


def is_of_keras(loss: Any) -> bool:
    """Whether a loss, as `loss_of_logits` gives it, is one of Keras' own."""
    given = getattr(loss, "given", loss)
    return isinstance(given, str) or type(given).__module__.startswith("keras.")


class FunctionLoss(keras.losses.Loss):
    """A function of masks and logits as a loss: the mean of what it returns.

    Args:
        function: Gives a scalar, or one value a pixel.
        given: What `compile` was given; by default the function.
        **options: As for `keras.losses.Loss`.
    """

    def __init__(
        self, function: Callable[[Any, Any], Any], given: Any = None, **options: Any
    ) -> None:
        # TensorFlow refuses the brackets of "<lambda>" in a name.
        name = getattr(function, "__name__", "loss").strip("<>")
        super().__init__(**{"name": name, **options})
        self.function, self.given = function, given or function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What the function says, as Keras reduces it."""
        value = ops.convert_to_tensor(self.function(y_true, y_pred))
        # Keras gives a scalar whole to each replica of a strategy, not its share.
        return ops.reshape(value, (1,)) if len(value.shape) == 0 else value


def _expects_probabilities(loss: Any) -> bool:
    """Whether `from_logits` is an argument of a loss of Keras, and False."""
    if isinstance(loss, keras.losses.Loss):
        return type(loss).__module__.startswith("keras.") and (
            loss.get_config().get("from_logits", True) is False
        )
    if callable(loss) and getattr(loss, "__module__", "").startswith("keras."):
        found = inspect.signature(loss).parameters.get("from_logits")
        return found is not None and found.default is False
    return False


def metrics_of_logits(metrics: Any) -> dict[str, list[Any]]:
    """Metrics as `{"logits": [...]}`; they may come alone, in a list or in that form.

    Raises:
        ValueError: Metrics of other outputs, of probabilities or of predicted ids.
    """
    if isinstance(metrics, Mapping):
        if set(metrics) != {"logits"}:
            raise ValueError(
                f"compile takes metrics of the logits alone, got some of {sorted(metrics)}."
            )
        metrics = metrics["logits"]
    if metrics is None:
        metrics = []
    found = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    for metric in keras.tree.flatten(found):
        _check_takes_logits(metric)
    return {"logits": found}


def _check_takes_logits(given: Any) -> None:
    """Refuses metrics of Keras that would count logits as probabilities or as ids."""
    name = given if isinstance(given, str) else getattr(given, "name", None)
    if isinstance(given, str) and given in OF_LOGITS and "focal" not in given:
        given = keras.metrics.get(given)
    if not type(given).__module__.startswith("keras."):
        return
    kind = type(given).__name__
    if getattr(given, "from_logits", True) is False:
        raise ValueError(
            f"The metric {name} takes probabilities unless told otherwise, and the network gives "
            f"logits: use keras.metrics.{kind}(from_logits=True). Where pixels are ignored, look "
            "at the loss instead: the metric counts them."
        )
    if getattr(given, "sparse_y_pred", False) and not isinstance(given, keras.metrics.BinaryIoU):
        raise ValueError(
            f"The metric {name} takes predicted ids unless told otherwise, and the network gives "
            f"logits: use keras.metrics.{kind} with sparse_y_pred=False and ignore_class=255, or "
            "keras_focusseg.metrics.MeanIoU."
        )
