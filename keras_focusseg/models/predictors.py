"""What `predict` runs: a network's graph up to the logits, or up to the class of each pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_focusseg import _replica_checks, _replicas
from keras_focusseg._graphs import GraphModel
from keras_focusseg.models.batch_checks import check_images, first_batch
from keras_focusseg.models.later_batches import LaterBatches, left_whole, look_at_arrays
from keras_focusseg.models.passing import looked_at

SIZES = 8
"""Sizes of images whose compiled functions are kept."""
Shape = tuple[int, ...]


class Part(GraphModel):
    """A functional model of some of a network's layers; it has no weights of its own.

    JAX compiles it anew for each size of images and keeps what it compiled; here it is given back
    once there were more than `SIZES` of them.

    Attributes:
        sizes_met: How often a size came that was not kept. Where `jit_compile` holds, each was
            compiled.
    """

    sizes_met = 0
    _sizes: tuple[Shape, ...] = ()

    def expect(self, shape: Shape) -> None:
        """Says which shape comes next."""
        if shape not in self._sizes:
            self._sizes = kept_with(shape, self._sizes, self.make_predict_function)
            self.sizes_met += 1

    def predict_on_batch(self, x: Any) -> Any:
        """What the network says to one batch of images."""
        self.expect(tuple(x.shape))
        found = super().predict_on_batch(x)
        # Keras 3.15 gives each replica of TensorFlow all images, and joins what they all say.
        return keras.tree.map_structure(lambda array: array[: x.shape[0]], found)

    def predict_step(self, *arguments: Any) -> Any:
        """Keras' step; a replica that got no image of a small batch predicts none."""
        *state, batch = arguments
        outputs = super().predict_step(*state, _replicas.filled_part(batch, None))
        return _replicas.own_part(outputs, batch)


def kept_with(
    shape: Shape, shapes: tuple[Shape, ...], make: Callable[..., Any]
) -> tuple[Shape, ...]:
    """Shapes whose compiled functions are kept, with another one; gives all back if too many.

    Args:
        shape: Shape that comes.
        shapes: Those that are kept.
        make: Keras' method that makes the function anew with `force=True`.
    """
    if len(shapes) == SIZES:
        make(force=True)
        return (shape,)
    return (*shapes, shape)


def part_of(inputs: Any, outputs: Any, name: str) -> Part:
    """A model of the same layers that gives other tensors, for images of any size."""
    part = Part(inputs, outputs, name=name)
    part.input_spec = None  # the images are checked before
    return part


def class_map(logits: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """The largest logit's class, and its softmax probability."""
    largest = ops.max(logits, axis=-1, keepdims=True)
    labels = ops.argmax(logits, axis=-1)
    return {
        "labels": ops.cast(labels, "uint8" if logits.shape[-1] <= 256 else "int32"),
        "confidence": 1.0 / ops.sum(ops.exp(logits - largest), axis=-1),
    }


def probability_map(logits: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """What `class_map` gives, and the softmax over the classes, float32."""
    return {**class_map(logits), "probabilities": ops.softmax(logits, axis=-1)}


def parts_of(inputs: Any, logits: Any, name: str) -> dict[str, Part]:
    """What a network's `predict` and its kin run, from the graph of its logits."""
    return {
        "logits_model": part_of(inputs, logits, f"{name}_logits"),
        "labels_model": part_of(inputs, class_map(logits), f"{name}_labels"),
        "probabilities_model": part_of(inputs, probability_map(logits), f"{name}_probabilities"),
    }


def predict(network: Any, part: Part, x: Any, *args: Any, **kwargs: Any) -> Any:
    """`part.predict` with a look at the images, run as the network was compiled.

    Raises:
        ValueError: They are no images that the network takes, or there are none.
    """
    (images, _, _), x = first_batch(x, None, None, args[0] if args else kwargs.get("batch_size"))
    if images is not None:
        check_images(images)
        if images.shape[0] == 0:
            raise ValueError(f"There are no images to segment: got shape {tuple(images.shape)}.")
        _replica_checks.check_divided(images)
        part.expect(tuple(images.shape))
    if network.compiled:
        part.run_eagerly, part.jit_compile = network.run_eagerly, network.jit_compile
    later = LaterBatches(size=None if images is None else tuple(images.shape[1:3]))
    if hasattr(x, "shape"):
        look_at_arrays(x, None, later)
    else:
        x = looked_at(x, later)
    with later.in_plain_words(), left_whole(part), _replica_checks.told_of_parts():
        return part.predict(x, *args, **kwargs)
