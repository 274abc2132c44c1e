"""What `predict` runs: a network's graph up to the logits, or up to the class of each pixel."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg import _replicas
from keras_focusseg.models.batch_checks import check_images, first_batch

SIZES = 8
"""Sizes of images whose compiled functions are kept."""


class Part(keras.Model):
    """A functional model of some of a network's layers; it has no weights of its own.

    JAX compiles it anew for each size of images and keeps what it compiled; here it is given back
    once there were more than `SIZES` of them.

    Attributes:
        sizes_met: How often a size came that was not kept. Where `jit_compile` holds, each was
            compiled.
    """

    sizes_met = 0
    _sizes: tuple[tuple[int, ...], ...] = ()

    def expect(self, shape: tuple[int, ...]) -> None:
        """Says which shape comes next."""
        if shape in self._sizes:
            return
        if len(self._sizes) == SIZES:
            self.make_predict_function(force=True)
            self._sizes = ()
        self._sizes = (*self._sizes, shape)
        self.sizes_met += 1

    def predict_on_batch(self, x: Any) -> Any:
        """What the network says to one batch of images."""
        self.expect(tuple(x.shape))
        return super().predict_on_batch(x)

    def predict_step(self, *arguments: Any) -> Any:
        """Keras' step; a replica that got no image of a small batch predicts none."""
        *state, batch = arguments
        outputs = super().predict_step(*state, _replicas.filled_part(batch, None))
        return _replicas.own_part(outputs, batch)


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
    """`part.predict` after a look at the first batch of images, run as the network was compiled."""
    (images, _, _), x = first_batch(x, None, None, args[0] if args else kwargs.get("batch_size"))
    if images is not None:
        check_images(images)
        part.expect(tuple(images.shape))
    if network.compiled:
        part.run_eagerly, part.jit_compile = network.run_eagerly, network.jit_compile
    return part.predict(x, *args, **kwargs)
