"""How rare each class is, as weights of a loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_focusseg.data.feeds.statistics import class_counts
from keras_focusseg.data.sources.base import Source
from keras_focusseg.errors import DataError

INVERSE_LOG_C = 1.02
"""c of `inverse_log`, as Paszke et al. chose it."""


def class_weights(
    source: Source,
    method: str = "median_frequency",
    clip: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    beta: float = 0.9999,
    cache: bool | str | Path = True,
) -> tuple[float, ...]:
    """Weights that raise rare classes, from one pass over the masks of a source.

    The counts are kept on disk as long as the label files stay the same, see `class_counts`.

    - "median_frequency" (Eigen and Fergus 2015, arXiv 1411.4734, section 6.3.2):
      w = median(f) / f. The frequency f of a class is the number of its pixels over the number of
      all pixels, ignored ones included, of the images that hold it.
    - "inverse_log" (Paszke et al. 2016, ENet, arXiv 1606.02147, section 5.2):
      w = 1 / ln(1.02 + p), where p is the share of the class in all pixels that are not ignored;
      between 1.42 (p = 1) and 50.5 (p near 0).
    - "effective_number" (Cui et al. 2019, arXiv 1901.05555, equation 4):
      w = (1 - beta) / (1 - beta^n), scaled to mean 1 over the classes shown. n is the number of
      images that hold the class, since the paper counts samples that add information, and
      neighbouring pixels add next to none: counted in pixels, 1 - beta^n is 1 for every class.

    Args:
        source: A training split.
        method: "median_frequency", "inverse_log" or "effective_number".
        clip: Largest weight, above 0, cut off last of all. None: 10 for "median_frequency", whose
            weights have no bound of their own, and no limit for the other methods.
        progress: Called with (samples done, samples in all) after each sample.
        workers: Threads that read; None takes the number of cores.
        beta: Of "effective_number", 0 <= beta < 1. 0 weighs all alike; near 1, as 1 / n.
        cache: Whether, or in which folder, the counts are kept, see `class_counts`.

    Returns:
        A weight for each class. A class that the source never shows gets 1, and enters neither
        median nor mean.

    Raises:
        DataError: If the source is empty, shows no class at all, or holds a wrong mask.
        ValueError: If the method is unknown, `clip` is not above 0 or `beta` not in 0..1.

    Example:
        ```python
        weights = data.class_weights(source)
        model = models.FoRNet(source.label_space.num_classes, class_weights=weights)
        ```
    """
    if method not in _METHODS:
        known = ", ".join(repr(name) for name in _METHODS)
        raise ValueError(f"method must be one of {known}; got {method!r}.")
    if clip is None:
        clip = 10.0 if method == "median_frequency" else np.inf
    if not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip!r}.")
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be at least 0 and below 1, got {beta!r}.")
    counts = class_counts(source, progress, workers, cache)
    shown = counts[:, :-1].sum(0) > 0
    if not shown.any():
        raise DataError(f"{source!r} shows no class, so none can be weighted.")
    weights = np.ones(len(shown))
    weights[shown] = np.minimum(_METHODS[method](counts, shown, beta), clip)
    return tuple(float(weight) for weight in weights)


def _median_frequency(counts: np.ndarray, shown: np.ndarray, beta: float) -> np.ndarray:
    pixels = counts[:, :-1][:, shown]
    pixels_around = ((pixels > 0) * counts.sum(1)[:, None]).sum(0)
    frequency = pixels.sum(0) / pixels_around
    return np.median(frequency) / frequency


def _inverse_log(counts: np.ndarray, shown: np.ndarray, beta: float) -> np.ndarray:
    pixels = counts[:, :-1].sum(0)
    return 1 / np.log(INVERSE_LOG_C + pixels[shown] / pixels.sum())


def _effective_number(counts: np.ndarray, shown: np.ndarray, beta: float) -> np.ndarray:
    images = (counts[:, :-1][:, shown] > 0).sum(0)
    # 1 - beta^n, exact also where beta is so near 1 that beta^n rounds to 1.
    with np.errstate(divide="ignore"):
        seen = -np.expm1(images * np.log(beta))
    weights = (1 - beta) / seen
    return weights / weights.mean()


_METHODS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "median_frequency": _median_frequency,
    "inverse_log": _inverse_log,
    "effective_number": _effective_number,
}
