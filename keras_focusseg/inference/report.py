"""An evaluation as one page: figures, charts, what is confused with what, the worst images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_focusseg import files
from keras_focusseg.data import Source
from keras_focusseg.inference.evaluate import Evaluation
from keras_focusseg.metrics import percent
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.visualization import colorize, overlay, pages, plots
from keras_focusseg.visualization.pictures import error_map

TITLES = {
    "mean_iou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "boundary_iou": "boundary IoU",
    "calibration_error": "expected calibration error",
}
"""What figures are called; others are called by their names."""


def title_of(figure: str) -> str:
    """What to call a figure: `"boundary_f1_3px"` is "boundary F1, 3 px"."""
    if figure in TITLES:
        return TITLES[figure]
    name, _, pixels = figure.rpartition("_")
    name = {"boundary_f1": "boundary F1,", "trimap_mean_iou": "mIoU within"}.get(name, name)
    return f"{name} {pixels.removesuffix('px')} px"


def rows_of_figures(scores: Evaluation) -> Iterator[tuple[str, float, float, float]]:
    """Title, value and ends of the interval of every figure that is one number."""
    figures = scores.figures(scores.total)
    for name, value in figures.items():
        if name != "iou_per_class":
            yield title_of(name), float(value), *scores.intervals[name]


def write_csv(path: str | Path, scores: Evaluation) -> None:
    """Writes a line a class, shares of 1; nothing where there is no value."""
    rows = scores.rows()
    with files.written(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["class", *list(rows[0])[1:], "origin"], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**{k: _cell(v) for k, v in row.items()}, "origin": files.MARK})


def write_report(
    path: str | Path,
    scores: Evaluation,
    model: Segmenter,
    source: Source,
    worst: int = 6,
    name: str | None = None,
) -> None:
    """Writes a page with every figure and its interval, charts, and the worst images.

    Args:
        path: HTML file to write; pictures lie inside.
        scores: What `evaluate` gave for the network and the source.
        model: The network, asked again about the worst images.
        source: Where these are read from.
        worst: Their number.
        name: What the page calls the network; None: the model's own name.

    Raises:
        ImportError: Matplotlib is not installed.

    Example:
        ```python
        scores = inference.evaluate(model, source)
        inference.write_report("report.html", scores, model, source)
        ```
    """
    names = scores.label_space.classes
    iou = scores.figures(scores.total)["iou_per_class"]
    intervals = np.array(scores.intervals["iou_per_class"])
    confusion = plots.png(plots.matrix(scores.matrix, names))
    bars = plots.png(plots.bars(names, iou, scores.label_space.colors, intervals))
    reliability = plots.png(plots.reliability(scores.total.calibration))
    pages.write_page(
        path,
        f"{name or model.name} on {scores.dataset} {scores.split}",
        [
            pages.paragraph(
                f"{scores.frames} images of {scores.resolution}; {scores.procedure.told()}. "
                "One confusion matrix over all pixels, void ignored, classes that occur nowhere "
                "left out; intervals hold 95 % of 1000 draws of the images with replacement. "
                f"{1000 * scores.seconds_per_image:.0f} ms an image. {scores.note}"
            ),
            pages.table(
                ["", "%", "95 % interval"],
                (
                    [title, percent(value), f"{percent(low)} to {percent(high)}"]
                    for title, value, low, high in rows_of_figures(scores)
                ),
            ),
            pages.heading("Mean IoU under other conventions"),
            pages.table(
                ["mean over", "absent classes", "predictions on void", "mIoU, %"],
                ([*convention.values(), percent(value)] for convention, value in scores.by_rule()),
            ),
            pages.heading("Classes"),
            pages.chart(bars, "IoU of each class"),
            _class_table(scores),
            pages.heading("What is taken for what"),
            pages.chart(confusion, "confusion matrix"),
            pages.table(
                ["truth", "prediction", "pixels", "% of the true class"],
                ([a, b, f"{n:,}", percent(share)] for a, b, n, share in scores.confusions()),
            ),
            pages.heading("Confidence and accuracy"),
            pages.chart(reliability, "accuracy by confidence"),
            pages.heading("The images with the lowest mIoU"),
            *_worst(scores, model, source, worst),
        ],
    )


def _class_table(scores: Evaluation) -> str:
    rows = scores.rows()
    head = ["class", *(title.replace("_", " ") for title in list(rows[0])[1:])]
    return pages.table(head, ([row.pop("class"), *map(percent, row.values())] for row in rows))


def _worst(scores: Evaluation, model: Segmenter, source: Source, count: int) -> Iterator[str]:
    space, each = scores.label_space, scores.image_mean_iou()
    for i in scores.worst(count):
        sample = source.load(scores.indices[i])
        labels = scores.procedure.class_maps(model, sample.image[None])[0].labels
        wrong = (labels != sample.mask) & (sample.mask < space.num_classes)
        yield pages.row_of_pictures(
            {
                f"{sample.name}: mIoU {percent(each[i])} %": Image.fromarray(sample.image),
                "truth": Image.fromarray(colorize(sample.mask, space)),
                "prediction": overlay(sample.image, labels, space, 0.75),
                f"errors ({100 * wrong.mean():.1f} % of the pixels)": error_map(
                    sample.image, wrong
                ),
            }
        )


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else round(value, 6)
