"""Copies of a Keras layer that run apart from it, repeatably, for one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_focusseg.data.accelerators import leave_accelerators_alone

_SIZES_KEPT = 16  # graphs of a layer, one for each size of image
_LOCK = threading.Lock()


class TensorFlowCopy:
    """A copy of a layer as TensorFlow graphs; for one thread at a time."""

    def __init__(self, layer: keras.Layer) -> None:
        import tensorflow as tf

        leave_accelerators_alone(tf)
        self._graphs: dict[tuple[int, int], tuple[Any, list[Any]]] = {}
        with _building(), tf.device("CPU:0"), _own_generator(tf) as generator:
            self._layer = _copy(layer)
            _replace_samplers(self._layer, generator)

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) and mask (H, W, 1) float32 to both, changed, their state from `rng`."""
        import tensorflow as tf

        with tf.device("CPU:0"):
            size = mask.shape[0], mask.shape[1]
            if size not in self._graphs:
                if len(self._graphs) == _SIZES_KEPT:
                    del self._graphs[next(iter(self._graphs))]
                with _building():
                    if not self._graphs:
                        # Building a layer may draw as well, and only the first graph would do that.
                        self._trace(tf, size)
                    self._graphs[size] = self._trace(tf, size)
            graph, states = self._graphs[size]
            for state, number in zip(
                states, rng.integers(2**31 - 1, size=len(states)), strict=True
            ):
                # Keras' generators hold (seed, counter), TensorFlow's (counter, counter, key).
                state.assign([number, 0] if state.shape == [2] else [0, 0, number])
            new_image, new_mask = graph(tf.constant(image), tf.constant(mask))
            return new_image.numpy(), new_mask.numpy().astype("float32")

    def _trace(self, tf: Any, size: tuple[int, int]) -> tuple[Any, list[Any]]:
        """The graph for images of one size, and the states of generators that it reads."""

        def run(image: Any, mask: Any) -> tuple[Any, Any]:
            result = self._layer({"images": image, "segmentation_masks": mask}, training=True)
            return result["images"], result["segmentation_masks"]

        graph = tf.function(run).get_concrete_function(
            tf.TensorSpec((*size, 3), tf.float32), tf.TensorSpec((*size, 1), tf.float32)
        )
        # In the order in which the layer reads them, which is the same in every copy.
        states = [
            variable
            for handle in graph.captured_inputs
            for variable in graph.variables
            if variable.handle is handle
            and variable.dtype.is_integer
            and variable.shape in ([2], [3])
        ]
        return graph, states


class EagerCopy:
    """A copy of a layer that the backend runs step by step; for one thread at a time."""

    def __init__(self, layer: keras.Layer) -> None:
        with _building():
            self._layer = _copy(layer)
        self._generators = [
            value
            for part in _all_layers(self._layer)
            for value in vars(part).values()
            if isinstance(value, keras.random.SeedGenerator)
        ]

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) and mask (H, W, 1) float32 to both, changed, their state from `rng`."""
        with keras.device("cpu:0"):
            for generator in self._generators:
                generator.state.assign(np.array([rng.integers(2**31 - 1), 0]))
            result = self._layer(
                {
                    "images": keras.ops.convert_to_tensor(image),
                    "segmentation_masks": keras.ops.convert_to_tensor(mask),
                },
                training=True,
            )
            return (
                keras.ops.convert_to_numpy(result["images"]),
                keras.ops.convert_to_numpy(result["segmentation_masks"]).astype("float32"),
            )


@contextmanager
def _building() -> Iterator[None]:
    """One thread at a time builds layers and graphs, in float32 whatever the policy is."""
    with _LOCK:
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            yield
        finally:
            keras.config.set_dtype_policy(policy)


@contextmanager
def _own_generator(tf: Any) -> Iterator[Any]:
    """A global generator of TensorFlow for what is built inside, as keras-cv's layers take it."""
    before = tf.random.get_global_generator()
    own = tf.random.Generator.from_seed(0)
    tf.random.set_global_generator(own)
    try:
        yield own
    finally:
        tf.random.set_global_generator(before)


def _copy(value: Any) -> Any:
    """A layer built anew from its configuration, in float32, and so the layers inside it."""
    if isinstance(value, keras.Layer):
        return type(value).from_config(_copy(value.get_config()))
    if isinstance(value, dict):
        config = readable(value)
        return {k: "float32" if k == "dtype" else _copy(v) for k, v in config.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copy(item) for item in value)
    return value


def readable(config: Any) -> Any:
    """The configuration with the factors of Keras' RandomShear as its constructor takes them.

    Given 0.4, it writes (-0.4, 0.4), which it refuses to read (keras 3.15.1).
    """
    if isinstance(config, dict):
        return {
            key: value[1]
            if key in ("x_factor", "y_factor")
            and isinstance(value, (list, tuple))
            and value[0] == -value[1]
            else readable(value)
            for key, value in config.items()
        }
    return [readable(item) for item in config] if isinstance(config, list) else config


def revived(value: Any) -> Any:
    """The object that a configuration describes.

    Keras' layers build what is inside them; not all of keras-cv's do, so theirs is built first.
    """
    if isinstance(value, dict):
        if "class_name" not in value:
            return {key: revived(item) for key, item in value.items()}
        if not str(value.get("module")).startswith("keras."):
            value = {**value, "config": revived(value["config"])}
        return keras.saving.deserialize_keras_object(value, safe_mode=True)
    if isinstance(value, (list, tuple)):
        items = [revived(item) for item in value]
        # JSON knows lists only, and some layers insist on tuples.
        return items if any(isinstance(item, keras.Layer) for item in items) else tuple(items)
    return value


def _replace_samplers(layer: keras.Layer, generator: Any) -> None:
    """Lets keras-cv's factors come from the generator: theirs come from an unrepeatable state."""
    layers = _all_layers(layer)
    if not any(type(part).__module__.startswith("keras_cv.") for part in layers):
        return
    import tensorflow as tf
    from keras_cv import core

    class Uniform(core.UniformFactorSampler):
        def __call__(self, shape: Any = (), dtype: Any = "float32") -> Any:
            return generator.uniform(shape, self.lower, self.upper, dtype=dtype)

    class Normal(core.NormalFactorSampler):
        def __call__(self, shape: Any = (), dtype: Any = "float32") -> Any:
            drawn = generator.normal(shape, self.mean, self.stddev, dtype=dtype)
            return tf.clip_by_value(drawn, self.min_value, self.max_value)

    repeatable: dict[type, Any] = {
        core.UniformFactorSampler: Uniform,
        core.NormalFactorSampler: Normal,
    }
    for part in layers:
        for name, value in list(vars(part).items()):
            if type(value) in repeatable:
                setattr(part, name, repeatable[type(value)].from_config(value.get_config()))


def _all_layers(layer: keras.Layer) -> list[keras.Layer]:
    """The layer and all layers inside it, each once, in the order of their attributes."""
    found, waiting = {id(layer): layer}, [layer]
    while waiting:
        for value in vars(waiting.pop(0)).values():
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, keras.Layer) and id(item) not in found:
                    found[id(item)] = item
                    waiting.append(item)
    return list(found.values())
