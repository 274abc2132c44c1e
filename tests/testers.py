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
import pytest

from keras_focusseg import label_spaces
from tests.models import tiny

GOLDEN = Path(__file__).resolve().parent / "golden"
# What networks are asked for outputs of: of one size, for which each is compiled once.
PICTURE = tiny.images(33, 47, batch=1).round()
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


def reload_in_new_process(
    model_paths: list[Path], images: np.ndarray, folder: Path
) -> list[Arrays]:
    """Loads several `.keras` files in one fresh interpreter; the outputs of each.

    Nothing of the package is touched after Keras has come: it registers its classes at once.
    """
    np.save(folder / "images.npy", images)
    script = (
        "import sys, numpy as np, keras_focusseg, keras\n"
        "images = np.load(sys.argv[1])\n"
        "for path in sys.argv[2:]:\n"
        "    model = keras.saving.load_model(path)\n"
        "    outputs = keras.Model.predict(model, images, verbose=0)\n"
        "    outputs = outputs if isinstance(outputs, dict) else {'output': outputs}\n"
        "    np.savez(path + '.npz', **{k: np.asarray(v) for k, v in outputs.items()})\n"
    )
    paths = [str(path) for path in model_paths]
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "images.npy"), *paths],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
    )
    assert done.returncode == 0, done.stderr
    found = []
    for path in paths:
        with np.load(f"{path}.npz", allow_pickle=False) as stored:
            found.append({key: stored[key] for key in stored.files})
    return found


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

    settings: dict[str, Any] = {
        "filters": 8,
        "low_level_filters": 4,
        "kernel_sizes": (1, 3),
        "dilation_rates": (1, 2),
        "ratios": (0.2, 0.4),
        "backbone": None,
        **options,
    }
    settings["backbone"] = settings["backbone"] or tiny_backbone()
    return models.FoRNet(num_classes=num_classes, **settings)


def check_network(build: Callable[..., Any], folder: Path) -> None:
    """What every network must do, checked on small ones of four classes.

    Args:
        build: Makes the network; takes `dtype`.
        folder: Where `.keras` files are written.
    """
    random = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(7)
        model = build(dtype=policy)
        check_policy(model, policy)
        check_step(model)
        if policy == "float32":
            check_outputs(model)
        model.label_space = label_spaces.from_names(["road", "sky", "car", "tree"])
        path = folder / f"{model.name}_{policy}.keras"
        model.save(path)
        check_loaded(model, path)
        randomize_weights(model)
        random.append(tiny.outputs(model, PICTURE)["logits"])
    full, half = random
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.3 * np.abs(full).max(), "a mixed policy changes much"


def check_outputs(model: Any) -> None:
    """Odd sizes and uint8; what `predict` and `predict_labels` give; what is refused."""
    pixels = PICTURE.astype("uint8")
    outputs = tiny.outputs(model, PICTURE)
    assert outputs["logits"].shape == (1, 33, 47, 4)
    assert outputs["logits"].dtype == np.float32 and np.isfinite(outputs["logits"]).all()
    logits = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(logits, outputs["logits"], atol=1e-5)
    found = model.predict_labels(pixels, verbose=0)
    assert found["labels"].dtype == np.uint8
    np.testing.assert_array_equal(found["labels"], logits.argmax(-1))
    softmax = np.exp(logits - logits.max(-1, keepdims=True))
    softmax /= softmax.sum(-1, keepdims=True)
    np.testing.assert_allclose(found["confidence"], softmax.max(-1), atol=1e-5)
    for shape, message in (
        ((1, 15, 64, 3), "Images of 15x64 .* are too small: the height is 15, at least 16"),
        ((1, 64, 64, 4), r"Expected images of shape \(batch, height, width, 3\), got"),
        ((64, 64, 3), r"For one image add the batch axis: images\[None\]"),
    ):
        for use in (model, model.predict, model.predict_on_batch, model.inspect):
            with pytest.raises(ValueError, match=message):
                use(np.zeros(shape, "float32"))


def check_policy(model: Any, policy: str) -> None:
    """The policy is stored and reaches the layers; weights and logits stay in float32."""
    assert model.dtype_policy.name == model.get_config()["dtype"] == policy
    assert keras.config.dtype_policy().name == "float32"  # outside, where nothing was said
    kernels = [layer for layer in model.layers if any(w.name == "kernel" for w in layer.weights)]
    halves = sum(layer.dtype_policy.name == policy for layer in kernels)
    assert halves > 0.8 * len(kernels)  # a paper may want one in float32
    assert model.get_layer("logits").compute_dtype == "float32"
    dtypes = {keras.backend.standardize_dtype(weight.dtype) for weight in model.trainable_weights}
    assert dtypes == {"float32"}


def check_step(model: Any) -> None:
    """A step on nothing but ignored pixels moves nothing; a real one is finite and moves most."""
    images, masks = tiny.images(32, 64), tiny.masks(32, 64)
    model.compile(keras.optimizers.SGD(0.1))
    before = [to_numpy(weight) for weight in model.trainable_weights]
    logs = model.train_on_batch(images, np.full_like(masks, 255), return_dict=True)
    assert np.isnan(logs.pop("mean_iou"))  # no pixel, no score
    assert set(logs.values()) == {0.0}
    for old, weight in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), old)
    logs = model.train_on_batch(images, masks, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    total = sum(weight * logs[term] for term, weight in model.loss_term_weights().items())
    assert logs["loss"] == pytest.approx(total, rel=1e-4)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    pairs = zip(before, model.trainable_weights, strict=True)
    moved = [(to_numpy(weight) != old).any() for old, weight in pairs]
    assert np.mean(moved) > 0.6  # gradients of what starts as the identity come later


def check_loaded(model: Any, path: Path) -> None:
    """A `.keras` file gives back class, configuration, label space, weights and compilation."""
    loaded = keras.saving.load_model(path)
    assert type(loaded) is type(model)
    # A backbone that is a model of Keras' own layers is told by its outputs.
    configs = ({**m.get_config(), "backbone": None} for m in (loaded, model))
    assert next(configs) == next(configs)
    assert loaded.label_space == model.label_space
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for found, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
