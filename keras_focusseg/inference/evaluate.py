"""Measures a network on a labelled source: one pass, every figure from the same predictions."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_focusseg import metrics
from keras_focusseg.data import Source
from keras_focusseg.data.sources.base import check_source
from keras_focusseg.inference.procedure import Procedure
from keras_focusseg.inference.segment import OnError, check_network, error_handler
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.metrics import per_image
from keras_focusseg.metrics.per_image import ImageCounts, count_image
from keras_focusseg.models.segmenter import Segmenter

TOLERANCES = (1, 3, 5, 10)
"""Pixels of slack at which the boundary F1 is given beside that of `tolerance`."""
TRIMAP_WIDTHS = (1, 3, 5, 10)
"""Pixels around true boundaries inside which the mean IoU is given as well."""
ROUNDS = 1000
"""Rounds of the bootstrap."""
CONVENTIONS = {
    "average": ("split", "image"),
    "absent": ("left out", "zero", "one"),
    "void": ("ignored", "false positive"),
}
"""In what mean IoUs of libraries differ; the first of each is this library's."""


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
        counts: Counts of the single images, along the first axis.
        names: Names of the images.
        indices: Their places in the source.
        tolerances: Pixels of slack of the boundary F1; the first is that of `boundary`.
        seconds_per_image: Median time in which an image was segmented.
        counting_seconds_per_image: Median time in which it was counted, beside the network.
        procedure: How the images were segmented.
        note: What has to be said beside the figures, see `Source.note`.
        left_out: Names of the images that could not be read or segmented.
        ignore_class: The network's; if it is one of the classes, that has no IoU.
    """

    dataset: str
    split: str
    frames: int
    resolution: str
    label_space: LabelSpace
    matrix: np.ndarray
    counts: ImageCounts
    names: tuple[str, ...]
    indices: tuple[int, ...]
    tolerances: tuple[float, ...]
    seconds_per_image: float
    counting_seconds_per_image: float
    procedure: Procedure = dataclasses.field(default_factory=Procedure)
    note: str = ""
    left_out: tuple[str, ...] = ()
    ignore_class: int | None = None

    @functools.cached_property
    def total(self) -> ImageCounts:
        """The counts of all images together."""
        return self.counts.weighed(np.ones(self.frames, np.int64))

    @property
    def boundary(self) -> dict[str, Any]:
        """What `metrics.BoundaryScores.result` gives."""
        return metrics.boundary_scores(self.total.boundary, self.ignore_class)

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur in truth or prediction."""
        return float(metrics.mean_iou(self.matrix, self.ignore_class))

    def mean_iou_under(self, **convention: Any) -> float:
        """Mean IoU under another convention, see `metrics.per_image.mean_iou_under`."""
        return per_image.mean_iou_under(
            self.counts.pixels, ignore_class=self.ignore_class, **convention
        )

    def image_mean_iou(self) -> np.ndarray:
        """Mean IoU of each image alone over the classes that occur in it, (N,)."""
        return per_image.nan_means(
            per_image.class_iou(self.counts.pixels, ignore_class=self.ignore_class)
        )

    def worst(self, count: int = 10) -> list[int]:
        """Which images have the lowest mean IoU, worst first; indices into `names`."""
        scores = self.image_mean_iou()
        return [int(i) for i in np.argsort(scores, kind="stable")[:count] if scores[i] == scores[i]]

    def confusions(self, count: int = 10) -> list[tuple[str, str, int, float]]:
        """What is taken for what most often.

        Returns:
            True class, predicted class, pixels, and their share of the true class' pixels.
        """
        wrong = self.matrix.copy()
        np.fill_diagonal(wrong, 0)
        true = self.matrix.sum(1)
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        names = self.label_space.classes
        return [
            (names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / true[i]))
            for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
            if wrong[i, j]
        ]

    def figures(self, counts: ImageCounts) -> dict[str, np.ndarray]:
        """The figures that follow from summed counts, one value for each set of them.

        Args:
            counts: Sums over images, `(...)` of them.

        Returns:
            By name, each (...); `"iou_per_class"` (..., C).
        """
        ignored = self.ignore_class
        iou = per_image.class_iou(counts.pixels, ignore_class=ignored)
        true = counts.pixels[..., 1, :]
        accuracy = np.where(true > 0, counts.pixels[..., 0, :] / np.maximum(true, 1), np.nan)
        bands = metrics.boundary.band_iou(counts.boundary.bands)
        edges = metrics.boundary.edge_f1(counts.boundary.edges)
        near = per_image.class_iou(counts.trimap, ignore_class=ignored)
        if ignored is not None and 0 <= ignored < bands.shape[-1]:
            bands[..., ignored] = edges[..., ignored] = np.nan
        return {
            "mean_iou": per_image.nan_means(iou),
            "pixel_accuracy": counts.pixels[..., 0, :].sum(-1) / np.maximum(true.sum(-1), 1),
            "mean_accuracy": per_image.nan_means(accuracy),
            "boundary_iou": per_image.nan_means(bands),
            **{
                f"boundary_f1_{tolerance:g}px": per_image.nan_means(edges[..., k, :])
                for k, tolerance in enumerate(self.tolerances)
            },
            **{
                f"trimap_mean_iou_{width}px": per_image.nan_means(near[..., k, :])
                for k, width in enumerate(TRIMAP_WIDTHS)
            },
            "calibration_error": per_image.calibration_error(counts.calibration),
            "iou_per_class": iou,
        }

    @functools.cached_property
    def intervals(self) -> dict[str, Any]:
        """95 % intervals of `figures` by the bootstrap over images: (low, high), or one a class."""
        drawn = self.counts.weighed(per_image.resamples(self.frames, ROUNDS))
        figures = self.figures(drawn)
        iou = figures.pop("iou_per_class")
        found: dict[str, Any] = {name: per_image.interval(x) for name, x in figures.items()}
        return {**found, "iou_per_class": [per_image.interval(one) for one in iou.T]}

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
            "test_time": self.procedure.told(),
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

    def to_dict(self) -> dict[str, Any]:
        """`to_score`, the other figures, intervals, conventions, confusions, every image."""
        figures = self.figures(self.total)
        figures.pop("iou_per_class")
        names = self.label_space.classes
        return {
            **self.to_score(),
            **{name: round(float(value), 6) for name, value in figures.items()},
            "ms_per_image": round(1000 * self.seconds_per_image, 3),
            "intervals_95": {
                name: dict(zip(names, _rounded(pair), strict=True))
                if name == "iou_per_class"
                else _rounded(pair)
                for name, pair in self.intervals.items()
            },
            "bootstrap": f"{ROUNDS} draws of {self.frames} images with replacement, percentiles",
            "mean_iou_by_convention": [
                {**convention, "mean_iou": round(value, 6)} for convention, value in self.by_rule()
            ],
            "confusions": [
                {"truth": a, "prediction": b, "pixels": pixels, "share_of_truth": round(share, 6)}
                for a, b, pixels, share in self.confusions(20)
            ],
            "mean_iou_per_image": dict(
                zip(self.names, _rounded(self.image_mean_iou().tolist()), strict=True)
            ),
        }

    def by_rule(self) -> Iterator[tuple[dict[str, str], float]]:
        """The mean IoU under each change of one convention, this library's first."""
        own = {name: values[0] for name, values in CONVENTIONS.items()}
        yield own, self.mean_iou
        for name, values in CONVENTIONS.items():
            for value in values[1:]:
                changed: dict[str, Any] = {**own, name: value}
                yield changed, self.mean_iou_under(**changed)

    def rows(self) -> list[dict[str, Any]]:
        """A row a class: IoU and its interval, accuracy, boundaries, share of the pixels."""
        boundary, true = self.boundary, self.matrix.sum(1)
        f1 = metrics.boundary.edge_f1(self.total.boundary.edges)
        columns = {
            "iou": metrics.iou_per_class(self.matrix, self.ignore_class),
            "iou_low": np.array([low for low, _ in self.intervals["iou_per_class"]]),
            "iou_high": np.array([high for _, high in self.intervals["iou_per_class"]]),
            "accuracy": metrics.accuracy_per_class(self.matrix),
            "boundary_iou": boundary["boundary_iou_per_class"],
            **{f"boundary_f1_{t:g}px": f1[k] for k, t in enumerate(self.tolerances)},
            "share": true / max(1, true.sum()),
        }
        return [
            {"class": name, **{key: float(column[k]) for key, column in columns.items()}}
            for k, name in enumerate(self.label_space.classes)
        ]


def evaluate(
    model: Segmenter,
    source: Source,
    tolerance: float = 2,
    on_image: Callable[[int], None] | None = None,
    on_error: OnError = "raise",
    *,
    procedure: Procedure | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Segments every image of a source at its own size and scores the whole.

    What is counted of an image is counted in threads beside the network, a few images behind.
    Only counts are kept, some forty numbers an image and class.

    Args:
        model: A network with the classes of the source.
        source: Images with their masks.
        tolerance: Pixels by which a boundary may be off in the boundary F1.
        on_image: Called with the number of images done, for a progress bar.
        on_error: What an image does that cannot be read or segmented, see `segment`; what is left
            out is named in the result.
        procedure: How the images are segmented: whole, single scale, no flip by default.
        workers: Threads that count; by default one fewer than there are processors, at most 4.

    Returns:
        All figures: one confusion matrix over all pixels, ignored ones left out.

    Raises:
        ValueError: The classes of network and source differ in number, or, where the network
            knows its own (`model.label_space`), in their names or order; or no image is left.

    Example:
        ```python
        from keras_focusseg import data, inference, presets

        model = presets.load("fornet_mobilenet_v2_synthetic_streets")
        scores = inference.evaluate(model, data.SyntheticStreets(8, split="test"))
        print(scores.mean_iou, scores.intervals["mean_iou"])
        ```
    """
    check_same_classes(model, source)
    space = source.label_space
    procedure = procedure or Procedure(window=None)
    tolerances = (tolerance, *(other for other in TOLERANCES if other != tolerance))
    boundary = metrics.BoundaryScores(space.num_classes, model.ignore_class, tolerances)
    tally = _Tally(boundary, workers or max(1, min(4, (os.cpu_count() or 1) - 1)))
    tell = error_handler(on_error)
    seconds, sizes, left_out, names, indices = [], set(), [], [], []
    with tally:
        for i in range(len(source)):
            try:
                sample = source.load(i)
                start = time.perf_counter()
                found = procedure.class_maps(model, sample.image[None])[0]
                seconds.append(time.perf_counter() - start)
            except (ValueError, OSError) as error:
                left_out.append(_name(source, i))
                tell(left_out[-1], error)
            else:
                sizes.add(sample.mask.shape)
                names.append(sample.name)
                indices.append(i)
                tally.add(sample.mask, found.labels, found.confidence)
            if on_image is not None:
                on_image(i + 1)
    if not seconds:
        raise ValueError(f"No image of {source!r} could be read and segmented.")
    return Evaluation(
        dataset=source.name,
        split=source.split,
        frames=len(seconds),
        resolution="various" if len(sizes) != 1 else "{}x{}".format(*sizes.pop()),
        label_space=space,
        matrix=tally.confusion.matrix,
        counts=ImageCounts.stacked(tally.counts),
        names=tuple(names),
        indices=tuple(indices),
        tolerances=tolerances,
        seconds_per_image=float(np.median(seconds)),
        counting_seconds_per_image=float(np.median(tally.seconds)),
        procedure=procedure,
        note=source.note,
        left_out=tuple(left_out),
        ignore_class=model.ignore_class,
    )


class _Tally:
    """Counts images in threads, at most twice as many at once as there are threads."""

    def __init__(self, boundary: metrics.BoundaryScores, workers: int) -> None:
        self.confusion = metrics.ConfusionMatrix(boundary.num_classes, boundary.ignore_class)
        self.counts: list[ImageCounts] = []
        self.seconds: list[float] = []
        self._boundary, self._workers = boundary, workers
        self._pool = concurrent.futures.ThreadPoolExecutor(workers)
        self._waiting: collections.deque[Any] = collections.deque()

    def __enter__(self) -> _Tally:
        return self

    def add(self, truth: np.ndarray, prediction: np.ndarray, confidence: np.ndarray) -> None:
        """Has an image counted; waits where too many are behind."""
        self.confusion.update(truth, prediction)
        self._waiting.append(self._pool.submit(self._count, truth, prediction, confidence))
        if len(self._waiting) > 2 * self._workers:
            self._take()

    def _count(
        self, truth: np.ndarray, prediction: np.ndarray, confidence: np.ndarray
    ) -> tuple[ImageCounts, float]:
        start = time.thread_time()
        counts = count_image(truth, prediction, confidence, self._boundary, TRIMAP_WIDTHS)
        return counts, time.thread_time() - start

    def _take(self) -> None:
        counts, seconds = self._waiting.popleft().result()
        self.counts.append(counts)
        self.seconds.append(seconds)

    def __exit__(self, *error: Any) -> None:
        try:
            while self._waiting and error[0] is None:
                self._take()
        finally:
            self._pool.shutdown(cancel_futures=True)


def _rounded(values: Any) -> Any:
    """The numbers with six decimals; `None` in place of NaN."""
    if isinstance(values, (tuple, list)):
        return [_rounded(value) for value in values]
    return None if np.isnan(values) else round(float(values), 6)


def _name(source: Source, index: int) -> str:
    """The name of a sample that may be broken: some sources have to load it to know."""
    try:
        return source.sample_name(index)
    except (ValueError, OSError):
        return f"sample {index}"


def check_same_classes(model: Segmenter, source: Source) -> None:
    """Refuses a source whose class k is another one than the network's; spelling may differ.

    Raises:
        ValueError: They differ in number or, where the network knows its own, in names or order; or
            there is no source or no network.
    """
    check_source(source)
    check_network(model)
    space, own = source.label_space, model.label_space
    if space.num_classes != model.num_classes:
        raise ValueError(
            f"The network has {model.num_classes} classes, {source.name} has {space.num_classes}: "
            f"{', '.join(space.classes[:6])}..."
        )
    number = None if own is None else own.first_difference(space)
    if own is not None and number is not None:
        raise ValueError(
            f"Class {number} is {own.classes[number]!r} for the network and "
            f"{space.classes[number]!r} in {source!r}, so the "
            "figures would mean nothing. Open the source with the classes that the network "
            "learned (label_space=..., or the same class table); if it learned those of the "
            "source, say so: model.label_space = source.label_space."
        )
