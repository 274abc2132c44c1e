"""Convolutions with folded batch norm: read from a file, and unfolded so that they can be trained.

Converters for devices multiply the scale of a batch norm into the kernel before it and add its
shift as a bias. What is left computes the same function, and has lost the statistics that training
needs.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Collection, Sequence

import keras
import numpy as np
from keras import ops

ConvNorm = tuple[str, str]
_KEY = re.compile(r"(\d+)_[^/]+/(kernel|bias)")


def load_folded(
    model: keras.Model,
    path: str | os.PathLike[str],
    pairs: Sequence[ConvNorm],
    calibration_images: np.ndarray,
    *,
    left_aside: Collection[int] = (),
    batch_size: int = 8,
) -> None:
    """Loads convolutions with folded batch norm, and puts the norms back.

    A folded kernel's output has neither mean 0 nor variance 1, so a norm layer with neutral
    values would be right while frozen and destroy the network in training mode. Therefore the
    mean and variance of every convolution's output are measured on `calibration_images` and
    become the moving statistics, with gamma and beta set so that they cancel: the inference
    function is the file's, and training starts from it. In a network with attention-boosting gates
    they are measured with the gates off: the file knows none, and measured through them every
    stage would keep what the gates before it had added.

    Args:
        model: A functional model; changed in place.
        path: An `.npz` with `NN_name/kernel` (HWIO, or (H, W, C, 1) of a depthwise
            convolution) and `NN_name/bias`, where NN counts the convolutions from 00.
        pairs: Names of the (convolution, batch norm) layers of the model, in the file's order.
        calibration_images: (N, H, W, 3), uint8 or float in the range of the model's input, like
            the training images: some dozens are enough.
        left_aside: Positions in the file that may be left over.
        batch_size: Images a forward pass.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file or damaged, a key is missing or left over, a shape
            differs, a value is not finite, or the images are not a non-empty (N, H, W, 3) array of
            finite numbers.
    """
    images = _checked_images(calibration_images)
    folded = _read(path, model, pairs, left_aside)
    plain = _without_gates(model)
    for names, (kernel, bias) in folded.items():
        conv, norm = (plain.get_layer(name) for name in names)
        conv.set_weights([kernel])
        ones = np.ones_like(bias)
        norm.set_weights([ones, bias, 0 * ones, (1 - norm.epsilon) * ones])

    statistics = _output_moments(plain, [conv for conv, _ in folded], images, batch_size)
    for (conv_name, norm_name), (kernel, bias) in folded.items():
        mean, variance = statistics[conv_name]
        conv, norm = model.get_layer(conv_name), model.get_layer(norm_name)
        conv.set_weights([kernel])
        norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])


def _without_gates(model: keras.Model) -> keras.Model:
    """The backbone with layers of the same names and no gates; itself where it has none."""
    config = model.get_config()
    if not config.get("attention_boosting"):
        return model
    return type(model).from_config(config | {"attention_boosting": False})


def _checked_images(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ValueError(
            "calibration_images must be a non-empty array (N, H, W, 3), received shape "
            f"{images.shape}."
        )
    images = images.astype("float32")
    if not np.isfinite(images).all():  # the statistics of all norms would be NaN
        raise ValueError("calibration_images hold values that are not finite numbers.")
    return images


def _read(
    path: str | os.PathLike[str],
    model: keras.Model,
    pairs: Sequence[ConvNorm],
    left_aside: Collection[int],
) -> dict[ConvNorm, tuple[np.ndarray, np.ndarray]]:
    """Reads the file as {(conv name, norm name): (kernel, bias)}, every key accounted for."""
    arrays = _arrays(path)
    by_position: dict[tuple[int, str], str] = {}
    unknown = []
    for key in arrays:
        match = _KEY.fullmatch(key)
        if match is None or (int(match[1]), match[2]) in by_position:  # a position has one name
            unknown.append(key)
        elif int(match[1]) not in left_aside:
            by_position[int(match[1]), match[2]] = key

    result, missing, wrong = {}, [], []
    for position, names in enumerate(pairs):
        kernel_key = by_position.pop((position, "kernel"), None)
        bias_key = by_position.pop((position, "bias"), None)
        if kernel_key is None or bias_key is None:
            missing.append(f"{position:02d} ({names[0]})")
            continue
        kernel, bias = arrays[kernel_key], arrays[bias_key]
        expected = tuple(model.get_layer(names[0]).kernel.shape)
        channels = tuple(model.get_layer(names[1]).beta.shape)
        if kernel.shape != expected or bias.shape != channels:
            wrong.append(
                f"{kernel_key} {kernel.shape} with bias {bias.shape} for {names[0]} {expected}"
            )
        result[names] = (kernel, bias)
    problems = {
        "missing": missing,
        "left over": sorted(unknown) + sorted(by_position.values()),
        "of another shape": wrong,
        "not finite": [
            names[0]
            for names, pair in result.items()
            if not all(np.isfinite(array).all() for array in pair)
        ],
    }
    if any(problems.values()):
        told = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in problems.items() if keys)
        raise ValueError(
            f"{os.fspath(path)} does not fit the backbone {model.name!r}: is it of this network "
            f"and width? Convolutions {told}."
        )
    return result


def _arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` as float32."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key].astype("float32") for key in archive.files}
    except FileNotFoundError:
        raise FileNotFoundError(f"No weights file at {os.fspath(path)}.") from None
    # NumPy's and zipfile's for what is no archive or a cut one, no numbers, or one array alone.
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{os.fspath(path)} is not a whole .npz file of numbers: {error}"
        ) from error


def _output_moments(
    model: keras.Model, conv_names: list[str], images: np.ndarray, batch_size: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and variance per channel of every convolution's output, in inference mode."""
    outputs = {}
    for name in conv_names:
        x = ops.cast(model.get_layer(name).output, "float32")  # (B, h, w, C)
        mean = ops.mean(x, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=(1, 2))
        outputs[name] = ops.stack([ops.squeeze(mean, axis=(1, 2)), variance], axis=1)  # (B, 2, C)
    probe = keras.Model(model.input, outputs, name="calibration")
    per_image = probe.predict(images, batch_size=batch_size, verbose=0)
    moments = {}
    for name, values in per_image.items():
        # Every image has the same number of pixels: total variance = mean of the variances
        # within images + variance of the means between images.
        means, variances = np.asarray(values, "float64").transpose(1, 0, 2)  # (N, C) each
        variance = variances.mean(axis=0) + means.var(axis=0)
        moments[name] = (means.mean(axis=0).astype("float32"), variance.astype("float32"))
    return moments
