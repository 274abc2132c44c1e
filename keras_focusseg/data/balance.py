"""How rare each class is, as weights of a loss."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import Source, check_sample


def class_weights(
    source: Source,
    method: str = "median_frequency",
    clip: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> tuple[float, ...]:
    """Weights that raise rare classes, from one pass over the masks of a source.

    Median frequency balancing (Eigen and Fergus, arXiv 1411.4734, section 6.3.2): the frequency
    of a class is the number of its pixels over the number of all pixels, ignored ones included,
    of the images that hold it; its weight is the median of the frequencies over its own.

    Args:
        source: a training split.
        method: "median_frequency".
        clip: largest weight, above 0.
        progress: called with (samples done, samples in all) after each sample.
        workers: threads that read; None takes the number of cores.

    Returns:
        A weight for each class. A class that the source never shows gets 1, and the median
        leaves it out.

    Raises:
        DataError: if the source is empty, shows no class at all, or holds a wrong sample.
        ValueError: if the method is unknown or `clip` is not above 0.

    Example:
        ```python
        weights = class_weights(source)
        model = models.FoRNet(source.label_space.num_classes, class_weights=weights)
        ```
    """
    if method != "median_frequency":
        raise ValueError(f"method must be 'median_frequency', got {method!r}.")
    if not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip!r}.")
    num_classes = source.label_space.num_classes

    def count(index: int) -> tuple[np.ndarray, int]:
        mask = check_sample(source.load(index), source).mask
        return np.bincount(mask.ravel(), minlength=256)[:num_classes], mask.size

    pixels, pixels_around = np.zeros(num_classes, "int64"), np.zeros(num_classes, "int64")
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for done, (counts, size) in enumerate(pool.map(count, range(len(source))), start=1):
            pixels += counts
            pixels_around += np.where(counts > 0, size, 0)
            if progress is not None:
                progress(done, len(source))
    shown = pixels > 0
    if not shown.any():
        raise DataError(f"{source!r} shows no class, so none can be weighted.")
    frequency = pixels[shown] / pixels_around[shown]
    weights = np.ones(num_classes)
    weights[shown] = np.minimum(np.median(frequency) / frequency, clip)
    return tuple(float(weight) for weight in weights)
