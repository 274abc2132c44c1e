"""Holds an exported file beside the Keras network that it came from."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from keras_focusseg import metrics
from keras_focusseg.data import Source, SyntheticStreets
from keras_focusseg.export.formats import FORMATS
from keras_focusseg.export.runtimes import ExportedModel


@dataclasses.dataclass(frozen=True)
class Bound:
    """How far a file may be from Keras.

    FoR-Net ranks cells: where two are equal but for rounding, another order moves single logits
    far. So the largest difference is told, and its mean is held.

    Args:
        mean_difference: Of the logits, mean over all pixels and classes, as a share of their
            standard deviation; of each signal likewise.
        equal_labels: Least share of pixels with the same class.
        mean_iou: Largest loss of mIoU on labelled images.
    """

    mean_difference: float
    equal_labels: float
    mean_iou: float


BOUNDS = {
    "float32": Bound(mean_difference=0.001, equal_labels=0.999, mean_iou=0.001),
    "float16": Bound(mean_difference=0.02, equal_labels=0.99, mean_iou=0.005),
    "int8": Bound(mean_difference=0.3, equal_labels=0.9, mean_iou=0.03),
}
"""By precision."""

DRAWN = 3
"""Drawn streets that a file is tried on where no data is given."""
ANY_SIZES = ((128, 160), (97, 131), (160, 203))
"""Their sizes where the file takes any."""


class ExportDiffers(RuntimeError):
    """An exported file does not say what the network says; it was not kept."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Figures of one of the two on the same images.

    Args:
        seconds: Median time of one image, from NumPy to NumPy.
        mean_iou: On labelled images, else `None`.
        boundary_f1: On labelled images, else `None`.
    """

    seconds: float
    mean_iou: float | None = None
    boundary_f1: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What Keras and an exported file said to the same images; `str()` tells it.

    Args:
        images: Number of images.
        of: What images they were.
        largest_difference: Of the logits; `None` where the file gives labels.
        mean_difference: Of the logits, as a share of their standard deviation; `None` where the
            file gives labels.
        equal_labels: Share of the pixels with the same class.
        keras: Figures of the network.
        file: Figures of the file.
        signals: By name, the mean difference of the signals that the file gives, as a share of
            their standard deviation.
    """

    images: int
    of: str
    largest_difference: float | None
    mean_difference: float | None
    equal_labels: float
    keras: Scores
    file: Scores
    signals: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def faults(self, bound: Bound) -> list[str]:
        """What lies beyond a bound, in words; nothing if the file is as good as the network."""
        found = []
        signals = {f"{name} differs": mean for name, mean in self.signals.items()}
        for differs, mean in {"logits differ": self.mean_difference, **signals}.items():
            if mean is not None and not mean <= bound.mean_difference:  # NaN is a fault as well
                found.append(
                    f"{differs} by {100 * mean:.2g} % of the spread on average, not "
                    f"{100 * bound.mean_difference:g} %"
                )
        if not self.equal_labels >= bound.equal_labels:
            found.append(
                f"{100 * self.equal_labels:.2f} % of the labels are equal, not "
                f"{100 * bound.equal_labels:g} %"
            )
        if self.keras.mean_iou is not None and self.file.mean_iou is not None:
            if not self.keras.mean_iou - self.file.mean_iou <= bound.mean_iou:
                found.append(
                    f"mIoU falls from {self.keras.mean_iou:.4f} to {self.file.mean_iou:.4f}"
                )
        return found

    def __str__(self) -> str:
        lines = [f"{self.images} {self.of}: {100 * self.equal_labels:.3f} % of the labels equal"]
        if self.largest_difference is not None:
            lines[0] += (
                f", logits differ by {self.largest_difference:.2g} at most, on average by "
                f"{100 * (self.mean_difference or 0.0):.2g} % of their spread"
            )
        lines += [
            f"{name} differs by {100 * mean:.2g} % of its spread on average"
            for name, mean in self.signals.items()
        ]
        for name, scores in [("Keras", self.keras), ("file", self.file)]:
            line = f"{name:5}  {1000 * scores.seconds:8.1f} ms an image"
            if scores.mean_iou is not None:
                line += f"  mIoU {scores.mean_iou:.4f}  boundary F1 {scores.boundary_f1:.4f}"
            lines.append(line)
        return "\n".join(lines)


def compare(model: Any, file: ExportedModel, source: Source | None = None) -> Comparison:
    """Runs a network and a file on the same images.

    Args:
        model: The network, a `Segmenter`.
        file: The file.
        source: Labelled images of the network's classes, each of the size that the file takes; by
            default drawn streets, which are not scored.

    Raises:
        ValueError: The source has other sizes.
        ExportDiffers: The file's logits have another shape, or its runtime does not run it.
    """

    def keras_logits(image: np.ndarray) -> np.ndarray:
        return np.asarray(model.logits_model.predict_on_batch(image))

    def file_result(image: np.ndarray) -> np.ndarray:
        try:
            return file(image)
        except Exception as error:  # each runtime has its own
            form = file.facts["format"]
            raise ExportDiffers(
                f"{FORMATS[form].runtime} does not run the {form} file: {error}"
            ) from error

    runs = (keras_logits, file_result)
    tallies = [_Tally(model) for _ in runs]
    largest, means, spreads, equal = [], [], [], []
    apart: dict[str, list[float]] = {name: [] for name in file.facts.get("signals", ())}
    for image, mask in _samples(file, source):
        logits, given = (tally.take(run, image) for tally, run in zip(tallies, runs, strict=True))
        wanted = logits.shape if given.ndim == 4 else logits.shape[:3]
        if given.shape != wanted:
            raise ExportDiffers(f"The file gives {given.shape} where Keras gives {wanted}.")
        if given.ndim == 4:
            difference = np.abs(given.astype("float64") - logits)
            largest.append(difference.max())
            means.append(difference.mean())
            spreads.append(logits.std())
        labels = [logits.argmax(-1)[0], (given.argmax(-1) if given.ndim == 4 else given)[0]]
        equal.append((labels[0] == labels[1]).mean())
        if apart:
            seen, told = model.inspect(image), file.signals(image)
            for name, shares in apart.items():
                shares.append(_difference(seen[name], told[name]))
        if source is not None:
            for tally, found in zip(tallies, labels, strict=True):
                tally.score(mask, found)
    keras_scores, file_scores = (tally.scores(source is not None) for tally in tallies)
    return Comparison(
        len(equal),
        "drawn streets" if source is None else f"images of {source.name} {source.split}",
        float(np.max(largest)) if largest else None,
        float(np.sum(means) / max(np.sum(spreads), 1e-12)) if means else None,
        float(np.mean(equal)),
        keras_scores,
        file_scores,
        {name: float(np.mean(shares)) for name, shares in apart.items()},
    )


def _difference(wanted: np.ndarray, given: np.ndarray) -> float:
    """Mean difference of a signal, as a share of its standard deviation."""
    if given.shape != wanted.shape:
        raise ExportDiffers(f"A signal of the file is {given.shape}, and {wanted.shape} in Keras.")
    return float(np.abs(wanted.astype("float64") - given).mean() / max(wanted.std(), 1e-12))


class _Tally:
    """Times and counts of one of the two."""

    def __init__(self, model: Any) -> None:
        classes, self.ignore_class = model.num_classes, model.ignore_class
        self.matrix = metrics.ConfusionMatrix(classes, self.ignore_class)
        self.boundary = metrics.BoundaryScores(classes, self.ignore_class)
        self.shapes: set[tuple[int, ...]] = set()
        self.seconds: list[float] = []

    def take(self, run: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
        """What it says to an image, timed; the first image of a size may compile."""
        if image.shape not in self.shapes:
            self.shapes.add(image.shape)
            run(image)
        start = time.perf_counter()
        result = run(image)
        self.seconds.append(time.perf_counter() - start)
        return result

    def score(self, mask: np.ndarray, labels: np.ndarray) -> None:
        """Counts one labelled image."""
        self.matrix.update(mask, labels)
        self.boundary.update(mask, labels)

    def scores(self, labeled: bool) -> Scores:
        """The figures of all images."""
        seconds = statistics.median(self.seconds)
        if not labeled:
            return Scores(seconds)
        mean_iou = metrics.mean_iou(self.matrix.matrix, self.ignore_class)
        return Scores(seconds, float(mean_iou), float(self.boundary.result()["boundary_f1"]))


def drawn_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a drawn street for images of a size: 64 pixels a side at least."""
    return max(64, size[0]), max(64, size[1])


def _samples(file: ExportedModel, source: Source | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images (1, H, W, 3) and masks (H, W)."""
    if source is None:
        sizes = [file.size] * DRAWN if file.size else ANY_SIZES
        for index, (height, width) in enumerate(sizes):
            size = drawn_size((height, width))
            street = SyntheticStreets(count=index + 1, size=size, split="test").load(index)
            yield street.image[None, :height, :width], street.mask[:height, :width]
        return
    for index in range(len(source)):
        image, mask, name = source.load(index)
        if file.size is not None and file.size != image.shape[:2]:
            (height, width), (wanted_height, wanted_width) = image.shape[:2], file.size
            raise ValueError(
                f"{name} of {source.name} is {height}x{width}, and the file takes "
                f"{wanted_height}x{wanted_width}: export it for that size, or for any."
            )
        yield image[None], mask
