"""Charts of scores as PNG, drawn with matplotlib (extra `viz`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

_BLUE, _GREY, _RED = "#2a6f97", "#8d99a6", "#c44536"
_NUMBERS_UP_TO = 20  # classes whose shares are written into the cells


def confusion_chart(matrix: np.ndarray, names: Sequence[str]) -> bytes:
    """A confusion matrix as shares of the true class, in percent; rows are truth.

    Args:
        matrix: (C, C) counts.
        names: The classes.

    Returns:
        PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    true = matrix.sum(1, keepdims=True)
    shares = np.divide(100 * matrix, true, out=np.zeros(matrix.shape), where=true > 0)
    side = min(14.0, 3 + 0.45 * len(names))
    figure, axes = _figure(side + 1, side)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    if len(names) <= _NUMBERS_UP_TO:
        for y, x in np.argwhere(shares >= 1):
            color = "white" if shares[y, x] > 60 else "black"
            axes.text(x, y, f"{shares[y, x]:.0f}", ha="center", va="center", color=color, size=7)
    figure.colorbar(shown, ax=axes, label="% of the true class", fraction=0.04)
    return _png(figure)


def class_chart(
    values: np.ndarray, names: Sequence[str], intervals: np.ndarray | None = None
) -> bytes:
    """A bar a class, with its interval as a line; classes without a value have no bar.

    Args:
        values: (C,) shares of 1, NaN for none.
        names: The classes.
        intervals: (C, 2), lower and upper ends.

    Returns:
        PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure, axes = _figure(8, 1 + 0.28 * len(names))
    places = np.arange(len(names))
    axes.barh(places, np.nan_to_num(100 * values), color=_BLUE)
    if intervals is not None:
        for place, (low, high) in zip(places, 100 * intervals, strict=True):
            axes.plot([low, high], [place, place], color="black", linewidth=1.2)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("IoU, %")
    return _png(figure)


def reliability_chart(calibration: np.ndarray) -> bytes:
    """Accuracy of the pixels of each bin of confidence; on the diagonal both are equal.

    Args:
        calibration: Pixels, sum of confidences and hits of each bin, (3, bins).

    Returns:
        PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    pixels, sure, hits = calibration
    there = pixels > 0
    figure, axes = _figure(5, 4)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    axes.bar(
        (np.arange(len(pixels)) + 0.5) / len(pixels), pixels / max(1, pixels.sum()),
        1 / len(pixels), color=_GREY, alpha=0.3, label="share of the pixels",
    )  # fmt: skip
    confidence, accuracy = sure[there] / pixels[there], hits[there] / pixels[there]
    axes.plot(confidence, accuracy, "o-", color=_RED, label="accuracy")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.legend(loc="upper left", frameon=False)
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Charts need matplotlib: pip install 'keras-focusseg[viz]'.") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()
