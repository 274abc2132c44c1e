"""Trainings that the tests of distribution run in processes of their own, and what they share.

A child is started as `python -m tests.training.replicas FUNCTION ARGUMENTS`; it writes arrays.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

BATCH, SIZE, CLASSES = 4, 32, 4
VOID = (0.0, 0.2, 0.4, 0.6)  # share of ignored pixels of the images of a batch
ROOT = Path(__file__).resolve().parents[2]


def scenes(count: int = BATCH, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Coloured rectangles and their classes, with an uneven share of ignored pixels."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, CLASSES, (count, SIZE // 8, SIZE // 8)).repeat(8, 1).repeat(8, 2)
    images = 50.0 * masks[..., None] + rng.normal(0, 20, (*masks.shape, 3))
    for i, mask in enumerate(masks):
        mask[: round(VOID[i % len(VOID)] * SIZE)] = 255
    return images.clip(0, 255).astype("float32"), masks.astype("int32")


def small(strong: bool = True, seed: int = 3) -> Any:
    """A network of three layers whose loss holds all that sums over the batch."""
    import keras

    from keras_focusseg import losses, models

    terms = {
        "ce": losses.CrossEntropy(class_weights=[1.0, 2.0, 3.0, 0.5], label_smoothing=0.1),
        "focal": losses.Focal(),
        "dice": losses.Dice(),
        "tversky": losses.Tversky(gamma=0.75),
        "lovasz": losses.Lovasz(per_image=True),
        "boundary": losses.BoundaryTargetBCE(CLASSES, stride=2),
    }

    class Small(models.Segmenter):
        def loss_terms(self, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
            logits = y_pred["logits"]
            values = {n: loss(y, logits) for n, loss in terms.items() if n != "boundary"}
            return {**values, "boundary": terms["boundary"](y, y_pred["cells"])}

        def loss_term_weights(self) -> dict[str, float]:
            return dict.fromkeys(terms, 1.0)

    keras.utils.set_random_seed(seed)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(images / 255)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="tanh")(x)
    cells = keras.layers.Conv2D(1, 2, strides=2)(x)
    penalty = keras.regularizers.L2(0.01 if strong else 0.0)
    logits = keras.layers.Conv2D(CLASSES, 1, kernel_regularizer=penalty)(x)
    outputs = {"logits": logits, "cells": cells}
    return Small(images, outputs, signals={}, num_classes=CLASSES, name="small")


def fitted(
    model: Any,
    steps: int = 3,
    part: Any = None,
    start: list[np.ndarray] | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """A few steps of `fit` on the scenes: changes of weights and of their averages, and logs.

    With `part`, a `Distribution`, this process takes its part of each batch.
    """
    images, masks = scenes(BATCH * steps)
    batch = BATCH
    if part is not None:
        batch = BATCH // part.processes
        own = np.arange(BATCH * steps).reshape(steps, part.processes, batch)[:, part.process]
        images, masks = images[own.ravel()], masks[own.ravel()]
    start = start or [w.copy() for w in model.get_weights()]
    logs = model.fit(images, masks, batch_size=batch, shuffle=False, verbose=0, **options).history
    found = {f"log {name}": np.asarray(values) for name, values in logs.items()}
    found |= changes("weight", model, start)
    if getattr(model.optimizer, "ema", 0):
        model.optimizer.swap_averages()
        found |= changes("average", model, start)
    return found


def changes(kind: str, model: Any, start: list[np.ndarray]) -> dict[str, np.ndarray]:
    """How far the weights moved as one vector, and the statistics of the norms as another."""
    after = model.get_weights()
    trained = {id(w) for w in model.trainable_weights}
    parts: dict[str, list[np.ndarray]] = {kind: [], f"{kind} statistics": []}
    for weight, a, b in zip(model.weights, start, after, strict=True):
        name = kind if id(weight) in trained else f"{kind} statistics"
        if "float" in str(weight.dtype):
            parts[name].append((b - a).ravel())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def assert_equal_training(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float = 1e-4
) -> None:
    """Holds every array of one training to that of the other, relative to its whole length.

    A difference of 1e-6 in a logit moves a pixel to another class now and then.
    """
    assert set(found) == set(expected)
    wrong = {}
    for name, array in expected.items():
        error = np.linalg.norm(found[name] - array) / max(np.linalg.norm(array), 1e-12)
        if not error < (5e-3 if name.endswith("mean_iou") else tolerance):
            wrong[name] = f"{error:.2e}"
    assert not wrong, wrong


def child(backend: str, function: str, *arguments: object, **variables: str) -> subprocess.Popen:
    """Starts a function of this file in a process of its own."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [sys.executable, "-m", "tests.training.replicas", function, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(*processes: subprocess.Popen, seconds: float = 400.0) -> list[str]:
    """Waits for children, and returns what they said, or shows it if one failed."""
    try:
        said = [process.communicate(timeout=seconds)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "\n".join(said)[-6000:]
    return said


def read(path: Path) -> dict[str, np.ndarray]:
    """What a child wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


# What children run ---------------------------------------------------------------------------


def two_logical_devices() -> None:
    """One CPU as two."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def mirrored(folder: str) -> None:
    """The small network on one device and on two; then the recipe on two, until it is killed.

    By its own loss, validated in batches of which the last is of one image; and as somebody trains
    who read nothing about strategies: a function as loss, Keras' own SGD, which shows the size of
    a gradient, with clipping of a part of its values.
    """
    from contextlib import nullcontext

    import keras
    import tensorflow as tf
    from keras import ops

    from keras_focusseg import metrics, optimizers, training

    two_logical_devices()
    strategy = training.distribution("mirrored").engine

    def scalar(y: Any, logits: Any) -> Any:
        return ops.mean(ops.square(logits - ops.cast(ops.expand_dims(y, -1) == 1, "float32")))

    for name, scope in (("one", nullcontext), ("two", strategy.scope)):
        with scope():
            model, iou = small(), metrics.MeanIoU(CLASSES)
            model.compile(optimizers.AdamW(1e-3, global_clipnorm=0.1, ema=0.9), metrics=[iou])
        val = scenes(3, seed=5)
        found = fitted(model, validation_data=val, validation_batch_size=2)
        np.savez(Path(folder) / f"small_{name}.npz", **found)
        if name == "two":
            check_equal_copies(model)
            check_small_batches(model, iou)
        with scope():
            model = small(strong=False)
            model.compile(keras.optimizers.SGD(0.1, clipvalue=0.03), loss=scalar, metrics=[])
        start = [w.copy() for w in model.get_weights()]
        batches = tf.data.Dataset.from_tensor_slices(scenes(8)).batch(4)
        losses = model.fit(batches, verbose=0).history["loss"]
        found = {"log loss": np.asarray(losses), **changes("weight", model, start)}
        np.savez(Path(folder) / f"function_{name}.npz", **found)
    check_watch(model)
    check_refusal(strategy, model)
    check_scopes(strategy)
    check_losses_of_others(strategy)
    check_optimizer_of_parts(strategy)
    check_contrast(strategy)
    check_second_strategy(strategy)
    train(f"{folder}/two", "mirrored", dies=0)


def check_equal_copies(model: Any) -> None:
    """All replicas hold the same weights, statistics and averages."""
    for variable in [*model.variables, *model.optimizer.variables]:
        copies = [copy.numpy() for copy in getattr(variable.value, "values", [variable.value])]
        assert all((copy == copies[0]).all() for copy in copies), variable.path


def check_small_batches(model: Any, iou: Any) -> None:
    """Batches of fewer images than replicas: validated and predicted, and not trained on."""
    import tensorflow as tf

    images, masks = scenes(3, seed=2)
    model.evaluate(images, masks, batch_size=1, verbose=0)
    assert iou.confusion_matrix().sum() == (masks != 255).sum()
    found = model.predict(images, batch_size=2, verbose=0)
    expected = model.predict(images, batch_size=3, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    found = model.predict_on_batch(images)  # what `segment` and `inspect` use
    np.testing.assert_allclose(found, expected, atol=1e-4)
    try:
        model.fit(images, masks, batch_size=2, verbose=0)
    except ValueError as error:
        assert "last batch has 1 of 2 images, so that one of the 2 replicas gets none" in str(error)
    else:
        raise AssertionError("trained on a batch of one image")
    batches = tf.data.Dataset.from_tensor_slices((images, masks)).batch(2)
    try:
        model.fit(batches, verbose=0)
    except tf.errors.InvalidArgumentError as error:
        assert "One of the 2 replicas got no image of a batch" in str(error)
    else:
        raise AssertionError("trained on a batch of one image")


def check_watch(model: Any) -> None:
    """A NaN ends the training of several replicas, too."""
    from keras_focusseg import training

    model.set_weights([np.nan * w for w in model.get_weights()])
    try:
        model.fit(*scenes(4), batch_size=4, verbose=0, callbacks=[training.StopOnNaN()])
    except training.TrainingDiverged as error:
        assert "The loss was nan in step 1 of epoch 1" in str(error), error
    else:
        raise AssertionError("trained on")


def check_refusal(strategy: Any, model: Any) -> None:
    """Infinite weights are kept off where a step is made, whoever asks for it."""
    import keras

    with strategy.scope():
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)))
        try:
            model.make_train_function()
        except ValueError as error:
            assert "mixed_float16 cannot be trained on several replicas" in str(error), error
        else:
            raise AssertionError("would train")


def check_scopes(strategy: Any) -> None:
    """What was made outside of the scope is refused; what `compile` makes is made inside."""
    import keras

    from keras_focusseg import metrics

    outside, optimizer, iou = small(), keras.optimizers.SGD(0.1), metrics.MeanIoU(CLASSES)
    with strategy.scope():
        model = small()
    model.compile()
    model.fit(*scenes(4), batch_size=4, verbose=0)
    outside.compile("sgd")

    def fit_outside() -> None:
        with strategy.scope():
            outside.fit(*scenes(4), batch_size=4, verbose=0)

    for part, attempt in (
        ("optimizer", lambda: model.compile(optimizer)),
        ("metrics", lambda: model.compile("sgd", metrics=[iou])),
        ("network, optimizer", fit_outside),
    ):
        try:
            attempt()
        except ValueError as error:
            assert f"is trained or measured: {part}." in str(error), error
        else:
            raise AssertionError(f"took {part} of another scope")


def check_losses_of_others(strategy: Any) -> None:
    """Of Keras and of a user, where one replica of two gets no image, and masks hold no 255."""
    from contextlib import nullcontext

    import keras
    from keras import ops

    class Scalar(keras.losses.Loss):
        def call(self, y: Any, logits: Any) -> Any:
            return ops.mean(ops.square(logits - ops.expand_dims(y, -1)))

    images, masks = scenes(3)
    masks %= CLASSES
    for loss, truth in (
        (Scalar(), masks),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), masks),
        ("categorical_crossentropy", np.eye(CLASSES, dtype="float32")[masks]),
    ):
        found = []
        for scope in (nullcontext, strategy.scope):
            with scope():
                model = small(strong=False)
                model.compile("sgd", loss=loss, metrics=["accuracy"])
            found.append(model.evaluate(images, truth, batch_size=1, verbose=0))
        np.testing.assert_allclose(*found, rtol=1e-5, err_msg=str(loss))


def check_optimizer_of_parts(strategy: Any) -> None:
    """The parts of a `MultiOptimizer` clip the gradient of the whole batch, too."""
    import keras

    with strategy.scope():
        model, part = small(strong=False), keras.optimizers.SGD(1.0, clipvalue=1e-3)
        model.compile(keras.optimizers.MultiOptimizer(lambda variable: part))
    start = [w.numpy() for w in model.trainable_weights]
    model.train_on_batch(*scenes(4))
    moved = [abs(w.numpy() - a).max() for w, a in zip(model.trainable_weights, start, strict=True)]
    np.testing.assert_allclose(max(moved), 1e-3, rtol=1e-3)


def check_contrast(strategy: Any) -> None:
    """Replicas add up to the mean, as Keras scales every loss: SCRNet's terms keep their share."""
    import tensorflow as tf

    from keras_focusseg import losses

    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (1, 8, 8)).astype("int32")
    embedding = rng.normal(size=(1, 8, 8, 4)).astype("float32")
    embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
    logits = rng.normal(size=(1, 8, 8, 2)).astype("float32")
    loss = losses.PixelContrast(max_views=5)
    values = strategy.run(tf.function(lambda: loss(masks, embedding, logits, seed=0))).values
    alone = float(loss(masks, embedding, logits, seed=0))
    assert alone > 0.1
    np.testing.assert_allclose([float(value) for value in values], [alone / 2] * 2, rtol=1e-4)


def check_second_strategy(first: Any) -> None:
    """What it sums has other shapes than what the first did, as with the networks of a notebook."""
    import tensorflow as tf

    from keras_focusseg import _replicas

    second = tf.distribute.MirroredStrategy(first.extended.worker_devices)
    with second.scope():
        small().compile()
    for size in (2, 3, 5):
        ones = tf.function(lambda size=size: _replicas.over_replicas(tf.ones(size)))
        (found,) = second.run(ones)
        assert all((copy.numpy() == 2).all() for copy in found.values)


def recipe() -> Any:
    """Two epochs on rendered streets, without draws inside the network; 3 images to validate."""
    from tests.training.small import RECIPE

    return RECIPE.replace(
        network_config={"dropout": 0.0},
        val_options={"count": 3},
        batch_size=4,
        val_batch_size=2,
        learning_rate=1e-3,
    )


def train(folder: str, strategy: str, dies: int | None = None, hangs: int | None = None) -> None:
    """Trains the recipe; processes of these numbers are killed, or hang, after the first epoch."""
    from keras_focusseg import training
    from keras_focusseg.training import watchdog

    end = training.RunFolder.on_epoch_end

    def on_epoch_end(self: Any, epoch: int, logs: Any = None) -> None:
        end(self, epoch, logs)
        if epoch == 0 and self.spread.process == dies:
            os._exit(9)
        if epoch == 0 and self.spread.process == hangs:
            time.sleep(600)

    if dies is not None or hangs is not None:
        training.RunFolder.on_epoch_end = on_epoch_end
        watchdog.TIMEOUT_SECONDS, watchdog.GRACE_SECONDS = 5, 0
    training.train(
        recipe(),
        run_folder=folder,
        resume=(Path(folder) / "checkpoints").is_dir(),
        verbose=0,
        strategy=strategy,
    )


def stopped(folder: str, strategy: str, by: int) -> None:
    """Trains the recipe until one process gets SIGTERM, in the first validation: all stop."""
    from keras_focusseg import training

    begin = training.RunFolder.on_test_begin

    def send(self: Any, logs: Any = None) -> None:
        begin(self, logs)
        if self.spread.process == by:
            os.kill(os.getpid(), signal.SIGTERM)

    training.RunFolder.on_test_begin = send
    try:
        training.train(recipe(), run_folder=folder, verbose=0, strategy=strategy)
    except training.TrainingStopped as stop:
        assert "Stopped by SIGTERM at step 2 of epoch 1, which is saved in" in str(stop), stop
        assert stop.exit_code == 143
    else:
        raise AssertionError("was not stopped")
    training.RunFolder.on_test_begin = begin
    (checkpoint,) = (Path(folder) / "checkpoints").iterdir()
    assert checkpoint.name == "epoch_0000_step_000002"


def accumulating() -> Any:
    """AdamW that takes a step every second batch, with averages and clipping."""
    from keras_focusseg import optimizers

    return optimizers.AdamW(1e-3, global_clipnorm=0.1, ema=0.9, gradient_accumulation_steps=2)


def ranks(folder: str) -> None:
    """The small network on one of two ranks, each with its half of every batch; then the recipe,
    until the second gets SIGTERM, and again until it hangs.
    """
    from keras_focusseg import training

    spread = training.distribution("ranks")
    with spread.scope():
        start = small().get_weights()
        model = small(seed=3 + spread.process)  # starts from the weights of the first all the same
        model.compile(accumulating())
        found = fitted(model, steps=4, part=spread, start=start)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(*scenes(4), batch_size=4, verbose=0)  # nobody shared the images out
        assert "All 2 ranks got the same first batch" in str(caught[0].message), caught
        images, masks = scenes(5)
        own = slice(spread.process, None, 2)  # three images and two
        for data in (
            {"x": images[own], "y": masks[own]},
            {"validation_data": (images[own], masks[own])},
        ):
            try:
                model.fit(**{"x": images, "y": masks, "batch_size": 2, **data})
            except ValueError as error:
                assert "The 2 ranks have 2, 1 batches" in str(error), error
            else:
                raise AssertionError("trained with different numbers of batches")
    np.savez(Path(folder) / f"rank{spread.process}.npz", **found)
    stopped(f"{folder}/two", "ranks", by=1)
    train(f"{folder}/two", "ranks", hangs=1)


def one_process(folder: str) -> None:
    """The small network on one device."""
    model = small()
    model.compile(accumulating())
    np.savez(Path(folder) / "one.npz", **fitted(model, steps=4))


def networks(folder: str, strategy: str) -> None:
    """The three networks for 20 steps, each on every device of an engine; SGD with averages.

    Without what each replica draws for itself: dropout, and SCRNet's contrast.
    """
    import keras

    from keras_focusseg import models, optimizers, training
    from tests.models import tiny

    if strategy == "mirrored":
        two_logical_devices()
    spread = training.distribution(strategy)
    part = spread if spread.processes > 1 else None
    scrnet = {"context_filters": 8, "contrast_weight": 0.0, "dropout": 0.0}
    sernet = {
        "attention_boosting": False,
        "bridge_filters": 8,
        "bridge_dilation_rates": (1, 2),
        "skip_filters": 8,
        "decoder_filters": 8,
    }
    builders = {
        "fornet": lambda: tiny.network(CLASSES, 8),
        "scrnet": lambda: models.SCRNet(CLASSES, tiny.backbone(), filters=8, **scrnet),
        "sernet_former": lambda: models.SERNetFormer(CLASSES, tiny.backbone(), **sernet),
    }
    for name, build in builders.items():
        with spread.scope():
            keras.utils.set_random_seed(0)
            model = build()
            model.compile(optimizers.SGD(0.01, momentum=0.9, global_clipnorm=0.5, ema=0.9))
            found = fitted(model, steps=20, part=part)
        if spread.is_chief:
            np.savez(Path(folder) / f"{name}_{strategy}.npz", **found)


def check_that_maps_stay_where_they_are() -> None:
    """Reading maps at positions sends none of them to another device, nor its gradient."""
    import jax
    import keras
    from keras import ops

    from keras_focusseg import layers

    mesh = keras.distribution.distribution().device_mesh
    parts = jax.sharding.PartitionSpec(mesh.axis_names[0])
    parts = jax.sharding.NamedSharding(mesh.backend_mesh, parts)
    x, positions = (
        jax.device_put(np.ones((4, 6, 6, channels), "float32"), parts) for channels in (3, 2)
    )

    def total(x: Any, positions: Any) -> Any:
        return ops.sum(ops.square(layers.sample_bilinear(x, positions)))

    step = jax.jit(jax.grad(total, argnums=(0, 1)), out_shardings=(parts, parts))
    program = step.lower(x, positions).compile().as_text()
    assert "all-" not in program and "collective" not in program, program


def data_parallel(folder: str) -> None:
    """The small network on as many devices as JAX sees, as one trains who knows Keras alone."""
    import keras

    from keras_focusseg import training
    from keras_focusseg.training import cut_weights

    spread = training.distribution("auto")
    assert (spread.kind, spread.replicas) == ("data_parallel", 4), spread
    outside = small()
    outside.compile("sgd")
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    check_that_maps_stay_where_they_are()
    try:
        outside.fit(*scenes(4), batch_size=4, verbose=0)
    except ValueError as error:
        assert "is trained or measured: network, optimizer." in str(error), error
    else:
        raise AssertionError("trained a network of one device")
    model = small()
    model.compile(accumulating())
    np.savez(Path(folder) / "parallel.npz", **fitted(model, steps=4))
    images, masks = scenes(6)
    # JAX has no weights in the middle of an epoch, where the last calls of a kind end.
    for call in (
        lambda: model.evaluate(images, masks, batch_size=6, verbose=0),
        lambda: model.test_on_batch(images, masks),
        lambda: model.predict(images, batch_size=6, verbose=0),
        lambda: model.predict(images, batch_size=4, verbose=0),
        lambda: model.fit(images, masks, batch_size=6, verbose=0),
        lambda: model.fit(images, masks, batch_size=4, verbose=0),
    ):
        try:
            call()
        except ValueError as error:
            assert "has to be divided by the devices" in str(error), error
        else:
            raise AssertionError("took a batch that four devices do not divide")
    found = model.predict_on_batch(images[:3])  # what `segment` and `inspect` use
    expected = model.predict(images[:4], verbose=0)
    np.testing.assert_allclose(found, expected[:3], atol=1e-4)
    cut_weights.SMALLEST_CUT = 64
    keras.distribution.set_distribution(None)
    with training.distribution("model_parallel").scope():
        model = small()
        model.compile(accumulating())
        np.savez(Path(folder) / "model_parallel.npz", **fitted(model, steps=4))
        for of in (model, model.optimizer):  # kernels, and what the optimizer keeps of them
            cut = {v.shape: v.value.addressable_shards[0].data.shape for v in of.variables}
            assert (cut[3, 3, 3, 8], cut[8,]) == ((3, 3, 3, 2), (8,)), cut


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
