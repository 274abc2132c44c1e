"""Weights of a network as a safetensors file: names and numbers, never code."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from keras_focusseg import files

_DTYPES = {"float32": "F32", "float16": "F16"}
# What weights were called before a convolution, its norm and its activation became one layer.
_BRICKS = (
    r"transition|selector|branch\d+|low_level|decoder\d?|neck_p\d|lateral_p\d|smooth|"
    r"bridge|bridge_\d+|bridge_merge|skip|afn\d_\d"
)
_INNER_BRICKS = r"srm_p\d/squeeze|context/reduce|context/spatial/out|context/level\d|context/fuse"
_RENAMED = (
    (rf"({_BRICKS})_conv/kernel", r"\1/conv/kernel"),
    (rf"({_BRICKS})_bn/(\w+)", r"\1/norm/\2"),
    (rf"({_INNER_BRICKS})/kernel", r"\1/conv/kernel"),
    (rf"({_INNER_BRICKS})_norm/(\w+)", r"\1/norm/\2"),
)


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """Floating-point weights of a model by path; the seeds of random layers are left out.

    Raises:
        ValueError: Two weights have the same path, so that a file could not tell them apart.
    """
    named: dict[str, keras.Variable] = {}
    for weight in model.weights:
        if "float" not in keras.backend.standardize_dtype(weight.dtype):
            continue
        if weight.path in named:
            raise ValueError(f"Two weights are called {weight.path!r}; give the layers own names.")
        named[weight.path] = weight
    return named


def save_weights(model: keras.Model, path: str | Path, dtype: str = "float32") -> str:
    """Writes all weights of a model, whole or not at all.

    Args:
        model: A built model.
        path: File to write, `*.safetensors`.
        dtype: `"float32"`, or `"float16"` for half the size.

    Returns:
        SHA-256 of the file, in hexadecimal.

    Raises:
        ValueError: The dtype is neither, or a weight is not finite in it.
        OSError: The file cannot be written.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"Weights are stored as {' or '.join(_DTYPES)}, not as {dtype!r}.")
    arrays = {}
    for name, weight in named_weights(model).items():
        # In memory as safetensors writes it; `np.ascontiguousarray` would give scalars an axis.
        array = keras.ops.convert_to_numpy(weight)
        arrays[name] = np.asarray(array.astype(dtype), order="C")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"Weight {name!r} is not finite in {dtype}; {path} is not written.")
    with files.written(path) as temporary:
        try:
            save_file(arrays, temporary)
        except SafetensorError as error:  # how safetensors tells of a full disk
            raise OSError(f"{path} could not be written: {error}") from error
    return files.sha256(path)


def load_weights(model: keras.Model, path: str | Path, skip_layers: Collection[str] = ()) -> None:
    """Reads all weights of a model; every weight must be in the file and the file hold no other.

    Args:
        model: A built model.
        path: File that `save_weights` wrote.
        skip_layers: Layers that keep the weights they have, such as a new classifier.

    Raises:
        ValueError: Not a safetensors file; names, shapes or types that differ; or values that are
            not finite. The model is unchanged.
    """
    named = named_weights(model)
    skipped = {name for name in named if name.split("/")[0] in set(skip_layers)}
    wanted = {name: w for name, w in named.items() if name not in skipped}
    shapes = weight_shapes(path)
    stored = {name if name in named else _present_name(name): name for name in shapes}
    given = {name: shapes[old] for name, old in stored.items() if name not in skipped}
    missing, surplus = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or surplus:
        raise ValueError(
            f"{path} does not fit {model.name}: {len(missing)} weights missing {missing[:5]}, "
            f"{len(surplus)} weights unknown {surplus[:5]}. Build the network as the record says."
        )
    for name, shape in given.items():
        if shape != tuple(wanted[name].shape):
            raise ValueError(
                f"{path}: weight {name!r} has shape {shape}, {model.name} expects "
                f"{tuple(wanted[name].shape)}."
            )
    arrays = {}
    with safe_open(path, framework="numpy") as file:
        for name in given:
            arrays[name] = file.get_tensor(stored[name]).astype("float32")
            if not np.isfinite(arrays[name]).all():
                raise ValueError(
                    f"{path}: weight {name!r} holds values that are not finite numbers; the "
                    "network would segment into nonsense. Train or download it again."
                )
    for name, array in arrays.items():
        wanted[name].assign(array)


def _present_name(name: str) -> str:
    """What a weight of this name is called today."""
    for pattern, replacement in _RENAMED:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def weight_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights in a file by name, without reading the weights.

    Raises:
        ValueError: Not a safetensors file, or a weight is not of floating-point numbers.
    """
    shapes = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # not a dict
                weight = file.get_slice(name)
                if weight.get_dtype() not in _DTYPES.values():
                    raise ValueError(
                        f"{path}: weight {name!r} is of type {weight.get_dtype()}; weights are "
                        f"{' or '.join(_DTYPES.values())}."
                    )
                shapes[name] = tuple(weight.get_shape())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    return shapes
