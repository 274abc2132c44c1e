"""What ends a run, in words that say what to do: no memory, a broken file."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_focusseg import data, inference
from keras_focusseg.errors import DataError
from keras_focusseg.training.checkpoints import newest_checkpoint
from keras_focusseg.training.distribution import device_memory
from keras_focusseg.training.recipe import Recipe
from keras_focusseg.training.run_folder import RunFolder

USABLE = 0.9
"""Share of a device's memory that is planned with; the rest is for the backend's own needs."""
GRID = 32
"""Sides of the crops that are proposed are multiples of it."""
# By name and by text, since only one of the backends is installed: TensorFlow's, PyTorch's and
# Python's classes; what JAX, and PyTorch on a CPU, write into a plain RuntimeError.
_NO_MEMORY = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError", "_ArrayMemoryError")
_NO_MEMORY_TEXT = re.compile(r"RESOURCE_EXHAUSTED|[Oo]ut of memory|can't allocate memory")
# TensorFlow puts what a function of Python raised into its own error, with the traceback.
_DATA_ERROR = re.compile(r"\bDataError: (.+?)(?:\s*Traceback \(most recent|\s*\Z)", re.DOTALL)


class OutOfMemory(RuntimeError):
    """A step did not fit into memory; the message says what would."""


@contextlib.contextmanager
def explained(recipe: Recipe, model: keras.Model, folder: RunFolder) -> Iterator[None]:
    """Says of an error that ends the training inside what it means and what to do.

    Args:
        recipe: What is trained.
        model: The compiled network.
        folder: The folder of the run, which knows whether a validation is under way.

    Raises:
        OutOfMemory: In place of what the backend raised.
        DataError: In place of what the feed raised, with the checkpoint that is kept.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(_advice(recipe, model, folder.validates)) from error
        told = data_error(error)
        if told is None:
            raise
        raise DataError(told, fix=_how_to_go_on(folder.folder)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a backend, or Python, says that memory is exhausted."""
    return type(error).__name__ in _NO_MEMORY or (
        isinstance(error, RuntimeError) and bool(_NO_MEMORY_TEXT.search(str(error)))
    )


def data_error(error: BaseException) -> str | None:
    """What a `DataError` says, be it inside an error of TensorFlow; `None` if there is none."""
    if isinstance(error, DataError):
        return str(error)
    found = _DATA_ERROR.search(str(error))
    return found[1] if found else None


def fitting(step_bytes: int, fixed_bytes: int, batch_size: int, memory: int | None) -> float:
    """Share of a batch that would fit, below 1, because all of it did not.

    Args:
        step_bytes: What the tensors of the batch take.
        fixed_bytes: What weights, gradients and optimizer take, whatever the batch is.
        batch_size: Images of the batch.
        memory: What the device has; half of the batch is proposed where that is not known.
    """
    share = 0.5 if memory is None else (USABLE * memory - fixed_bytes) / step_bytes
    return min(share, 1 - 1 / (2 * batch_size)) if share > 0 else 0.0


def _advice(recipe: Recipe, model: Any, validates: bool) -> str:
    if validates:
        lower = "a lower val_batch_size" if recipe.val_batch_size > 1 else "a val split of smaller"
        return (
            f"The memory is exhausted in a validation of {recipe.val_batch_size} whole images a "
            f"step. Take {lower}{'' if recipe.val_batch_size > 1 else ' images'}, or one whose "
            "images are scaled down, in another folder."
        )
    size = data.augmentation(recipe.augment).crop_size
    images = f"{recipe.batch_size} images" + (f" of {size[0]}x{size[1]}" if size else "")
    text = f"The memory is exhausted in a training step of {images}. "
    if size is None:
        return text + "Take a lower batch_size, or an augmentation that crops, in another folder."
    tensors = inference.profile(model, size, outputs=None, runs=0).activation_bytes
    fixed = sum(math.prod(v.shape) * 4 for v in (*model.variables, *model.optimizer.variables))
    fixed += sum(math.prod(v.shape) * 4 for v in model.trainable_variables)  # gradients
    memory = device_memory()
    share = fitting(tensors * recipe.batch_size, fixed, recipe.batch_size, memory)
    batch = int(share * recipe.batch_size)
    sides = [int(side * math.sqrt(share)) // GRID * GRID for side in size]
    has = "" if memory is None else f"; the device has {memory / 1e9:.1f} GB"
    text += (
        f"By its profile the network keeps at least {tensors / 1e9:.2f} GB for each image, and "
        f"{fixed / 1e9:.2f} GB of weights, gradients and optimizer{has}. "
    )
    ways = [f"batch_size={batch}"] * (batch > 0)
    ways += [f"crops of {sides[0]}x{sides[1]}"] * (min(sides) >= GRID)
    if recipe.precision == "float32":
        ways.append("precision='mixed_bfloat16', which halves most tensors")
    return text + f"Try {', or '.join(ways) or 'a smaller network'}, in another folder."


def _how_to_go_on(folder: Path) -> str:
    kept = newest_checkpoint(folder)
    checkpoint = "no checkpoint was written yet" if kept is None else f"{kept} is kept"
    return f"The run has ended; {checkpoint}. Mend that, then go on with --resume."
