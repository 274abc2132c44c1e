"""Plots of runs by matplotlib, which the extra `viz` brings; drawn without a display."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg import files

History = Sequence[Mapping[str, float]]
WITHOUT = "Plots need matplotlib, which is not installed: pip install 'keras-focusseg[viz]'."
_MANY = 30  # classes; of more, a matrix has no names


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def curves(runs: Mapping[str, History]) -> Any:
    """Loss and mean IoU over the epochs, those of validation with dots, runs side by side.

    Args:
        runs: Rows of each run's `log.csv`, by the name that its curve gets.

    Returns:
        A matplotlib figure.
    """
    figure = _figure(11, 4)
    axes = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(runs.items()):
        color = f"C{number % 10}"
        for axis, key in zip(axes, ("loss", "mean_iou"), strict=True):
            factor = 100 if key == "mean_iou" else 1
            for kind, style in ((key, {"alpha": 0.45}), (f"val_{key}", {"marker": "o", "ms": 3})):
                points = [(r["epoch"], factor * r[kind]) for r in rows if np.isfinite(_of(r, kind))]
                if points:
                    label = f"{name}{', validated' if kind != key else ''}"
                    axis.plot(*zip(*points, strict=True), color=color, label=label, **style)
    for axis, title in zip(axes, ("loss", "mean IoU, %"), strict=True):
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    if runs and axes[0].lines:
        axes[0].legend(fontsize=8)
    return figure


def bars(
    names: Sequence[str],
    shares: np.ndarray,
    colors: Sequence[Sequence[int]],
    intervals: np.ndarray | None = None,
) -> Any:
    """A bar for each class, best first; classes without a figure are left out.

    Args:
        names: Names of the classes.
        shares: Their IoU, 0..1; NaN for no figure.
        colors: Their RGB colours, 0..255.
        intervals: Lower and upper ends (C, 2), drawn as lines over the bars.
    """
    order = [i for i in np.argsort(-np.nan_to_num(shares)) if np.isfinite(shares[i])]
    figure = _figure(7, 1 + 0.24 * len(order))
    axis = figure.subplots()
    values = [100 * shares[i] for i in order]
    filled = [tuple(c / 255 for c in colors[i]) for i in order]
    found = axis.barh([names[i] for i in order], values, color=filled, edgecolor="0.4")
    axis.bar_label(found, fmt="%.1f", padding=3 if intervals is None else 16, fontsize=8)
    if intervals is not None:
        for place, i in enumerate(order):
            axis.plot(100 * intervals[i], [place, place], color="black", linewidth=1.2)
    axis.set(xlim=(0, 108), xlabel="IoU, %")
    axis.invert_yaxis()
    return figure


def matrix(counts: np.ndarray, names: Sequence[str]) -> Any:
    """A confusion matrix, each row divided by its sum: what became of the pixels of a class.

    Args:
        counts: (C, C) pixels; rows are truth.
        names: Names of the classes.
    """
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = float(np.clip(2 + 0.32 * len(names), 4, 10))
    figure = _figure(side + 1, side)
    axis = figure.subplots()
    figure.colorbar(axis.imshow(shares, vmin=0, vmax=1, cmap="viridis"), shrink=0.8)
    axis.set(xlabel="predicted", ylabel="true")
    if len(names) <= _MANY:
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        for y, x in np.argwhere(shares >= 0.01):
            color = "black" if shares[y, x] > 0.6 else "white"
            text = f"{100 * shares[y, x]:.0f}"
            axis.text(x, y, text, ha="center", va="center", color=color, size=6)
    return figure


def reliability(calibration: np.ndarray) -> Any:
    """Accuracy of the pixels of each bin of confidence; on the diagonal both are equal.

    Args:
        calibration: Pixels, sum of confidences and hits of each bin, (3, bins).
    """
    pixels, sure, hits = calibration
    there = pixels > 0
    figure = _figure(5, 4)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
    places = (np.arange(len(pixels)) + 0.5) / len(pixels)
    shares = pixels / max(1, pixels.sum())
    axis.bar(places, shares, 1 / len(pixels), color="0.85", label="share of the pixels")
    axis.plot(sure[there] / pixels[there], hits[there] / pixels[there], "o-", label="accuracy")
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence")
    axis.legend(loc="upper left", frameon=False)
    return figure


def png(figure: Any) -> bytes:
    """A figure as the content of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def save(figure: Any, path: str | Path) -> None:
    """Writes a figure as a PNG file.

    Args:
        figure: A figure of matplotlib.
        path: File to write.
    """
    with files.written(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": "written by focusseg"})


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(WITHOUT) from error
    return Figure((width, height), layout="constrained")


def _of(row: Mapping[str, float], name: str) -> float:
    value = row.get(name)
    return float("nan") if value is None else float(value)
