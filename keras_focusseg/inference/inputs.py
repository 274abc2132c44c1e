"""What can be segmented: files, folders, patterns, arrays; and what stands for each as RGB."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from PIL import Image

from keras_focusseg.label_spaces.text import as_on_disk
from keras_focusseg.pictures.readers import SUFFIXES, read_image

Named = tuple[str, Callable[[], np.ndarray]]
"""Name of a picture, and what reads it as RGB (H, W, 3) uint8."""


def find_pictures(place: str | Path) -> list[Path]:
    """The files that a path stands for.

    Args:
        place: A file, a folder (the pictures in it, sorted, not those in its folders), or a pattern
            such as `trip/*.jpg`; `**` stands for any folders.

    Returns:
        Paths; a single file need not be there, reading it says so.

    Raises:
        ValueError: A folder or a pattern without a picture.

    Example:
        ```python
        find_pictures("holiday/**/*.jpg")
        ```
    """
    path = as_on_disk(place)
    if path.is_dir():
        inside = sorted(path.iterdir())
        found = [p for p in inside if p.suffix.lower() in SUFFIXES]
        if not found:
            deeper = (
                f"; those in its folders are '{path}/**'" if any(map(Path.is_dir, inside)) else ""
            )
            raise ValueError(f"{path} holds no picture ({', '.join(SUFFIXES)}){deeper}.")
        return found
    if glob.has_magic(str(path)) and not path.exists():
        matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True))
        found = [p for p in matches if p.suffix.lower() in SUFFIXES and p.is_file()]
        if not found:
            raise ValueError(f"No picture is called {place} ({', '.join(SUFFIXES)}).")
        return found
    return [path]


def named_pictures(images: Any) -> Iterator[Named]:
    """Names of whatever was given, and what reads each as an RGB array.

    Raises:
        ValueError: It is none of what `segment` takes, or holds no picture.
    """
    if isinstance(images, (str, Path)):
        images = find_pictures(images)
    elif isinstance(images, Image.Image):
        images = [images]
    elif hasattr(images, "shape"):  # an array, or a tensor of a backend
        images = ops.convert_to_numpy(images)
        images = images if images.ndim == 4 else [images]
    if not isinstance(images, Iterable):
        raise ValueError(f"Expected paths, arrays or a folder, got {type(images).__name__}.")
    for i, image in enumerate(images):
        if isinstance(image, (str, Path)):
            yield Path(image).name, partial(read_image, as_on_disk(image))
        else:
            yield f"image_{i:03d}", partial(_rgb, image, f"image {i}")


def _rgb(image: Any, name: str) -> np.ndarray:
    """An RGB array, or a Pillow image, as uint8."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{name} has shape {image.shape}; expected (height, width, 3), RGB.")
    if image.dtype == np.uint8:
        return image
    values = image.astype("float32")
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if not np.isfinite([low, high]).all() or low < 0 or high > 255:
        raise ValueError(f"{name} holds values {low:g}..{high:g}; expected RGB in 0..255.")
    if np.issubdtype(image.dtype, np.floating) and 0 < high <= 1.0:
        raise ValueError(
            f"{name} holds values {low:g}..{high:g}; expected RGB in 0..255. Multiply by 255."
        )
    return values.round().astype("uint8")
