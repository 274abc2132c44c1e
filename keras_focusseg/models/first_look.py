"""Looks at what a network is to train on or is measured on: once closely, then in passing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_focusseg._replica_checks import check_divided, check_last_batch, check_scope
from keras_focusseg._replicas import compare_parts
from keras_focusseg.losses.base import SegmentationLoss
from keras_focusseg.models.batch_checks import (
    IGNORED,
    Batch,
    check_batch,
    check_image_shape,
    first_batch,
    number_of_batches,
)
from keras_focusseg.models.later_batches import LaterBatches, left_whole, look_at_arrays
from keras_focusseg.models.passing import look_at, looked_at
from keras_focusseg.models.predictors import Shape, kept_with


class FirstLook:
    """Looks closely at the first batch of data, and in passing at the later ones.

    Args:
        network: The network, a `Segmenter`.

    Attributes:
        done: Whether the data were looked at already.
        mask_channels: Axes of the masks after height and width.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.done = False
        self.mask_channels: tuple[int, ...] = ()
        self._ranks: dict[str, Any] = {}
        self._seen: dict[str, LaterBatches] = {}
        self._later: list[LaterBatches] = []
        self._sizes: tuple[Shape, ...] = ()

    def at_first(self, kind: str, x: Any, y: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Checks the first batch of the arguments of `fit` or `evaluate`; the `x` to go on with."""
        size = args[0] if args else kwargs.get("batch_size")
        batch, x = first_batch(x, y, kwargs.get("sample_weight"), size)
        later = self._check(batch)
        check_scope(self.network)
        check_divided(batch[0])
        if kind == "train" and hasattr(x, "shape") and not _is_cut(kwargs):
            check_last_batch(self.network, len(x), size or 32)
        self._expect(kind, batch)
        steps = kwargs.get("steps_per_epoch" if kind == "train" else "steps")
        compare_parts(batch[0], steps or number_of_batches(x, size), kind == "train")
        self._later.append(later)
        if hasattr(x, "shape"):
            look_at_arrays(x, y, later)
            return x
        compiled = kind == "test" and self.network.jit_compile
        return looked_at(x, later.telling(self._expect_size if compiled else None, x))

    def at_validation(self, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Checks the first batch of `validation_data` of `fit`; the data to go on with."""
        data = kwargs["validation_data"]
        if data is None:
            return None
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        size = kwargs.get("validation_batch_size") or (args or (kwargs.get("batch_size"),))[0]
        options = {"sample_weight": weights, "steps": kwargs.get("validation_steps")}
        x = self.at_first("test", x, y, (size,), options)
        return data if isinstance(data, (list, tuple)) else x

    def at_batch(self, kind: str, x: Any, y: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Checks a batch of `train_on_batch` or `test_on_batch`: the first one closely."""
        batch = (x, y, args[0] if args else kwargs.get("sample_weight"))
        if kind not in self._seen:
            self._seen[kind] = self._check(batch)
        elif isinstance(x, np.ndarray):
            look_at(batch, self._seen[kind])
        check_image_shape(tuple(x.shape))
        check_divided(x)
        self._expect(kind, batch)

    @contextlib.contextmanager
    def in_plain_words(self) -> Iterator[None]:
        """Gives what was found in passing as it was said, and leaves the network whole."""
        with contextlib.ExitStack() as stack:
            for later in self._later:
                stack.enter_context(later.in_plain_words())
            self._later = []
            stack.enter_context(left_whole(self.network))
            yield

    def _check(self, batch: Batch) -> LaterBatches:
        classes, ignored = self.network.num_classes, self.network.ignore_class
        unknown = _unknown_ids(self.network.loss)
        told = check_batch(batch, classes, ignored, unknown)
        return LaterBatches(classes, ignored, told, unknown=unknown)

    def _expect_size(self, shape: Shape) -> None:
        """Gives back what was compiled for other sizes, as `predict` does.

        A step of training is kept for every size: epoch after epoch it would be compiled again.
        """
        if shape not in self._sizes:
            make = self.network.make_test_function
            self._sizes = kept_with(shape, self._sizes, make)

    def _expect(self, kind: str, batch: Batch) -> None:
        """Makes the step anew where masks or weights have another rank than before.

        TensorFlow would go on with one function for tensors of any rank, in which no shape is
        known (`reduce_retracing` in Keras' trainer, 3.15).
        """
        self.mask_channels = tuple(getattr(batch[1], "shape", ()))[3:]
        ranks = tuple(len(part.shape) if hasattr(part, "shape") else None for part in batch)
        if self._ranks.get(kind, ranks) != ranks:
            network = self.network
            (network.make_train_function if kind == "train" else network.make_test_function)(
                force=True
            )
        self._ranks[kind] = ranks


def _is_cut(options: Mapping[str, Any]) -> bool:
    """Whether `fit` is told to train on a part of its arrays."""
    return bool(options.get("steps_per_epoch") or options.get("validation_split"))


def _unknown_ids(loss: Any) -> str:
    """What a compiled loss does with pixels whose id is no class; the paper's is `None`.

    Keras' cross-entropy stops at them on TensorFlow, by an assertion.
    """
    if loss is None or isinstance(loss, SegmentationLoss):
        return IGNORED
    name = getattr(loss, "name", loss)
    return f"{name} may stop at such pixels or count them, losses of keras_focusseg ignore them"
