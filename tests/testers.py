"""Checks that every network, layer and loss goes through, on whichever backend the run uses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

GOLDEN = Path(__file__).resolve().parent / "golden"
Arrays = dict[str, np.ndarray]


def gradient(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """Gradient of a scalar function of one array, by the backend's own differentiation."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = function(variable)
        result = tape.gradient(value, variable)
        return np.zeros_like(x) if result is None else np.asarray(tf.convert_to_tensor(result))
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(function)(jax.numpy.asarray(x)))
    import torch

    variable = torch.tensor(x, requires_grad=True)
    value = function(variable)
    if not value.requires_grad:
        return np.zeros_like(x)
    (result,) = torch.autograd.grad(value, variable, allow_unused=True)
    return np.zeros_like(x) if result is None else result.detach().numpy()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as `fit` would run it, for arrays or tensors.

    On TensorFlow it is traced with every axis but the last unknown, on JAX it is jitted.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(function)
    if backend == "torch":
        return lambda *arrays: function(*map(keras.ops.convert_to_tensor, arrays))
    import tensorflow as tf

    def call(*arrays: Any) -> Any:
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        signature = [
            tf.TensorSpec([None] * (len(tensor.shape) - 1) + [tensor.shape[-1]], tensor.dtype)
            for tensor in tensors
        ]
        return tf.function(function, input_signature=signature)(*tensors)

    return call


def outputs_and_gradients(
    model: keras.Model,
    loss: Callable[[Any], Any],
    images: np.ndarray,
    weights: list[keras.Variable],
    training: bool = False,
) -> tuple[Any, list[np.ndarray]]:
    """Outputs of a model, and the gradients of `loss(outputs)` with respect to some weights."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            outputs = model(images, training=training)
            value = loss(outputs)
        found = tape.gradient(value, [weight.value for weight in weights])
    elif backend == "jax":
        import jax

        fixed = [variable.value for variable in model.non_trainable_variables]

        def value_of(trainable: list[Any]) -> tuple[Any, Any]:
            outputs, _ = model.stateless_call(trainable, fixed, images, training=training)
            return loss(outputs), outputs

        variables = model.trainable_variables
        differentiate = jax.jit(jax.grad(value_of, has_aux=True))
        every, outputs = differentiate([variable.value for variable in variables])
        found = [
            next(g for g, v in zip(every, variables, strict=True) if v is weight)
            for weight in weights
        ]
    else:
        import torch

        outputs = model(images, training=training)
        found = torch.autograd.grad(
            loss(outputs), [weight.value for weight in weights], allow_unused=True
        )
    gradients = [
        np.zeros(tuple(weight.shape), "float32") if gradient is None else to_numpy(gradient)
        for weight, gradient in zip(weights, found, strict=True)
    ]
    return to_numpy(outputs), gradients


def randomize_weights(model: keras.Model, seed: int = 0, scale: float = 1.0) -> None:
    """Gives every weight a value that depends on its place and shape only, not on the backend.

    Batch-norm variances and gammas stay positive and near one, so that deep networks neither die
    nor explode.
    """
    values = []
    for index, weight in enumerate(model.weights):
        rng = np.random.default_rng([seed, index])
        shape = tuple(weight.shape)
        if weight.name in ("moving_variance", "gamma"):
            value = rng.uniform(0.8, 1.2, shape)
        elif len(shape) > 1:
            fan_in = int(np.prod(shape[:-1]))
            value = rng.normal(0.0, scale / np.sqrt(fan_in), shape)
        else:
            value = rng.normal(0.0, 0.1, shape)
        values.append(value.astype("float32"))
    model.set_weights(values)


def to_numpy(outputs: Any) -> Any:
    """Tensors of any nesting as NumPy arrays."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def assert_matches_golden(name: str, outputs: Arrays, tolerance: float = 1e-4) -> None:
    """Holds outputs to the stored ones, so that the three backends agree with each other.

    `FOCUSSEG_WRITE_GOLDEN=1` writes `tests/golden/<name>.npz` instead (run it on TensorFlow).
    """
    path = GOLDEN / f"{name}.npz"
    if os.environ.get("FOCUSSEG_WRITE_GOLDEN") == "1":
        GOLDEN.mkdir(exist_ok=True)
        np.savez_compressed(path, **outputs)
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored.files) == set(outputs)
        for key in stored.files:
            np.testing.assert_allclose(
                outputs[key], stored[key], rtol=tolerance, atol=tolerance, err_msg=f"{name}: {key}"
            )


def reload_in_new_process(model_path: Path, images: np.ndarray, folder: Path) -> Arrays:
    """Loads a `.keras` file in a fresh interpreter that imports only the package; its outputs."""
    np.save(folder / "images.npy", images)
    script = (
        "import sys, numpy as np, keras, keras_focusseg\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "outputs = model.predict(np.load(sys.argv[2]), verbose=0)\n"
        "outputs = outputs if isinstance(outputs, dict) else {'output': outputs}\n"
        "np.savez(sys.argv[3], **{k: np.asarray(v) for k, v in outputs.items()})\n"
    )
    command = [sys.executable, "-c", script, str(model_path), str(folder / "images.npy")]
    done = subprocess.run(
        [*command, str(folder / "outputs.npz")],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "outputs.npz", allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def check_config_round_trip(thing: Any) -> Any:
    """Serialises a Keras object, builds it again, compares the configs; returns the copy."""
    config = keras.saving.serialize_keras_object(thing)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(thing)
    assert keras.saving.serialize_keras_object(copy) == config
    return copy


def tiny_backbone(channels: int = 8) -> keras.Model:
    """A pyramid of five convolutions: quick to build and to compile on every backend."""
    x = inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    outputs = {}
    for level in range(1, 6):
        stride = 1 if level > 3 else 2
        x = keras.layers.Conv2D(
            channels, 3, strides=stride, padding="same", activation="relu", name=f"stage{level}"
        )(x)
        outputs[f"P{level}"] = x
    del outputs["P1"]
    return keras.Model(inputs, outputs, name="tiny_backbone")


def tiny_fornet(num_classes: int = 3, **options: Any) -> Any:
    """FoR-Net with 8 channels on `tiny_backbone`: stride 8, two branches."""
    from keras_focusseg import models

    settings = {
        "filters": 8,
        "low_level_filters": 4,
        "kernel_sizes": (1, 3),
        "dilation_rates": (1, 2),
        "ratios": (0.2, 0.4),
        **options,
    }
    return models.FoRNet(num_classes=num_classes, backbone=tiny_backbone(), **settings)
