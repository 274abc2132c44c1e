"""Measures a network on a labelled source: one pass, every figure from the same predictions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_focusseg import metrics
from keras_focusseg.data import Source
from keras_focusseg.inference.procedure import Procedure
from keras_focusseg.inference.segment import OnError, error_handler
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.models.segmenter import Segmenter


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of one network on one source; NaN stands for "not applicable".

    Args:
        dataset: Name of the source.
        split: Its split.
        frames: Number of images that were scored.
        resolution: Their size "HxW", or "various".
        label_space: The classes.
        matrix: Confusion matrix in pixels, int64; rows are truth, columns predictions.
        boundary: Result of `metrics.BoundaryScores`.
        seconds_per_image: Median time of a forward pass.
        note: What has to be said beside the figures, see `Source.note`.
        ignore_class: The network's; if it is one of the classes, that has no IoU.
        left_out: Names of the images that could not be read or segmented.
    """

    dataset: str
    split: str
    frames: int
    resolution: str
    label_space: LabelSpace
    matrix: np.ndarray
    boundary: dict[str, Any]
    seconds_per_image: float
    note: str = ""
    left_out: tuple[str, ...] = ()
    ignore_class: int | None = None

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur in truth or prediction."""
        return float(metrics.mean_iou(self.matrix, self.ignore_class))

    def to_score(self) -> dict[str, Any]:
        """The figures as plain values, for a record or a JSON file."""
        iou = metrics.iou_per_class(self.matrix, self.ignore_class)
        return {
            "dataset": self.dataset,
            "split": self.split,
            "frames": self.frames,
            "resolution": self.resolution,
            "classes": self.label_space.num_classes,
            "void": "ignored",
            "test_time": "single scale, no flip",
            **({"note": self.note} if self.note else {}),
            **({"left_out": list(self.left_out)} if self.left_out else {}),
            "mean_iou": round(self.mean_iou, 6),
            "pixel_accuracy": round(float(metrics.pixel_accuracy(self.matrix)), 6),
            "mean_accuracy": round(float(metrics.mean_accuracy(self.matrix)), 6),
            "frequency_weighted_iou": round(float(metrics.frequency_weighted_iou(self.matrix)), 6),
            "boundary_iou": round(float(self.boundary["boundary_iou"]), 6),
            "boundary_f1": round(float(self.boundary["boundary_f1"]), 6),
            "iou_per_class": {
                name: None if np.isnan(value) else round(float(value), 6)
                for name, value in zip(self.label_space.classes, iou, strict=True)
            },
        }


def evaluate(
    model: Segmenter,
    source: Source,
    tolerance: int = 2,
    on_image: Callable[[int], None] | None = None,
    on_error: OnError = "raise",
) -> Evaluation:
    """Segments every image of a source at its own size and scores the whole.

    Args:
        model: A network with the classes of the source.
        source: Images with their masks.
        tolerance: Pixels by which a boundary may be off in the boundary F1.
        on_image: Called with the number of images done, for a progress bar.
        on_error: What an image does that cannot be read or segmented, see `segment`; what is left
            out is named in the result.

    Returns:
        All figures: one confusion matrix over all pixels, ignored ones left out.

    Raises:
        ValueError: The classes of network and source differ in number, or, where the network
            knows its own (`model.label_space`), in their names or order; or no image is left.

    Example:
        ```python
        from keras_focusseg import data, inference, presets

        model = presets.load("fornet_mobilenet_v2_synthetic_streets")
        scores = inference.evaluate(model, data.SyntheticStreets(20, split="test"))
        print(scores.mean_iou)
        ```
    """
    space = source.label_space
    if space.num_classes != model.num_classes:
        raise ValueError(
            f"The network has {model.num_classes} classes, {source.name} has {space.num_classes}: "
            f"{', '.join(space.classes[:6])}..."
        )
    _check_same_classes(model.label_space, source)
    confusion = metrics.ConfusionMatrix(space.num_classes, model.ignore_class)
    boundary = metrics.BoundaryScores(
        space.num_classes, tolerance=tolerance, ignore_class=model.ignore_class
    )
    tell = error_handler(on_error)
    seconds, sizes, left_out = [], set(), []
    for i in range(len(source)):
        try:
            sample = source.load(i)
            start = time.perf_counter()
            prediction = Procedure(window=None).class_maps(model, sample.image[None])[0].labels
            seconds.append(time.perf_counter() - start)
        except (ValueError, OSError) as error:
            left_out.append(_name(source, i))
            tell(left_out[-1], error)
        else:
            sizes.add(sample.mask.shape)
            confusion.update(sample.mask, prediction)
            boundary.update(sample.mask, prediction)
        if on_image is not None:
            on_image(i + 1)
    if not seconds:
        raise ValueError(f"No image of {source!r} could be read and segmented.")
    size = "various" if len(sizes) != 1 else "{}x{}".format(*sizes.pop())
    return Evaluation(
        source.name,
        source.split,
        len(seconds),
        size,
        space,
        confusion.matrix,
        boundary.result(),
        float(np.median(seconds)),
        source.note,
        tuple(left_out),
        model.ignore_class,
    )


def _name(source: Source, index: int) -> str:
    """The name of a sample that may be broken: some sources have to load it to know."""
    try:
        return source.sample_name(index)
    except (ValueError, OSError):
        return f"sample {index}"


def _check_same_classes(space: LabelSpace | None, source: Source) -> None:
    """Refuse a source whose class k is another one than the network's; spelling may differ."""
    if space is None:
        return
    for number, (own, other) in enumerate(
        zip(space.classes, source.label_space.classes, strict=True)
    ):
        if _plain(own) != _plain(other):
            raise ValueError(
                f"Class {number} is {own!r} for the network and {other!r} in {source!r}, so the "
                "figures would mean nothing. Open the source with the classes that the network "
                "learned (label_space=..., or the same class table); if it learned those of the "
                "source, say so: model.label_space = source.label_space."
            )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
