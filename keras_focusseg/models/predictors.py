"""What `predict` runs: a network's graph up to the logits, or up to the class of each pixel."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_focusseg import _replicas
from keras_focusseg.models.batch_checks import check_images, first_batch


class Part(keras.Model):
    """A functional model of some of a network's layers; it has no weights of its own."""

    def predict_step(self, *arguments: Any) -> Any:
        """Keras' step; a replica that got no image of a small batch predicts none."""
        *state, batch = arguments
        outputs = super().predict_step(*state, _replicas.filled_part(batch, None))
        return _replicas.own_part(outputs, batch)


def part_of(inputs: Any, outputs: Any, name: str) -> keras.Model:
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


def predict(network: Any, part: keras.Model, x: Any, *args: Any, **kwargs: Any) -> Any:
    """`part.predict` after a look at the first batch of images, run as the network was compiled."""
    (images, _, _), x = first_batch(x, None, None, args[0] if args else kwargs.get("batch_size"))
    if images is not None:
        check_images(images)
    if network.compiled:
        part.run_eagerly, part.jit_compile = network.run_eagerly, network.jit_compile
    return part.predict(x, *args, **kwargs)
