"""Networks side by side on the same images, with intervals of their differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_focusseg.inference.evaluate import ROUNDS, Evaluation
from keras_focusseg.metrics.per_image import interval, resamples


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much more a network has of a figure than the first one.

    Args:
        value: The difference on all images.
        low: Lower end of its 95 % interval, from drawing the same images for both.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Scores of networks on the images that all of them could segment.

    Args:
        scores: The evaluations by name; the first is what the others are compared with.
        figures: Each figure that is one number, by network and name.
        classes: IoU of each class, by network and class.
        differences: By network, all but the first, and figure.
        class_differences: By network, all but the first, and class.
        images: Names of the images.
        image_mean_iou: Mean IoU of each image, by network.
    """

    scores: Mapping[str, Evaluation]
    figures: Mapping[str, Mapping[str, float]]
    classes: Mapping[str, Mapping[str, float]]
    differences: Mapping[str, Mapping[str, Difference]]
    class_differences: Mapping[str, Mapping[str, Difference]]
    images: tuple[str, ...]
    image_mean_iou: Mapping[str, np.ndarray]

    def most_different(self, count: int = 10) -> list[tuple[str, dict[str, float]]]:
        """The images whose mean IoUs lie farthest apart, with these."""
        values = np.stack(list(self.image_mean_iou.values()))
        spread = np.nan_to_num(values.max(0) - values.min(0))
        order = np.argsort(-spread, kind="stable")[:count]
        return [
            (self.images[i], {name: float(x[i]) for name, x in self.image_mean_iou.items()})
            for i in order
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""

        def plain(differences: Mapping[str, Mapping[str, Difference]]) -> dict[str, Any]:
            return {
                name: {key: dataclasses.asdict(d) for key, d in of_network.items()}
                for name, of_network in differences.items()
            }

        first = next(iter(self.scores.values()))
        return {
            "dataset": first.dataset,
            "split": first.split,
            "images": len(self.images),
            "test_time": first.procedure.told(),
            "bootstrap": f"{ROUNDS} draws of the same images for all networks, 95 % percentiles",
            "figures": {name: dict(figures) for name, figures in self.figures.items()},
            "iou_per_class": {name: dict(classes) for name, classes in self.classes.items()},
            "differences": plain(self.differences),
            "iou_differences": plain(self.class_differences),
            "most_different_images": dict(self.most_different(20)),
        }


def compare(scores: Mapping[str, Evaluation]) -> Comparison:
    """Compares evaluations of one source, image by image.

    Every draw of the bootstrap takes the same images for all networks: what is hard for all of
    them does not widen the intervals of the differences.

    Args:
        scores: Two or more evaluations by name, of the same source and split.

    Raises:
        ValueError: There is one alone, the sources differ, or no image was scored by all.

    Example:
        ```python
        scores = {name: inference.evaluate(presets.load(name), source) for name in names}
        inference.compare(scores).differences["scrnet_mobilenet_v2_camvid"]["mean_iou"]
        ```
    """
    if len(scores) < 2:
        raise ValueError(
            f"Two networks or more can be compared, got {', '.join(scores) or 'none'}."
        )
    first = next(iter(scores.values()))
    for name, other in scores.items():
        if (other.dataset, other.split, other.label_space) != (
            first.dataset,
            first.split,
            first.label_space,
        ):
            raise ValueError(
                f"{name} was scored on {other.dataset} {other.split}, others on {first.dataset} "
                f"{first.split}: compare on one source with the same classes."
            )
    common = sorted(set.intersection(*(set(one.indices) for one in scores.values())))
    if not common:
        raise ValueError("There is no image that all networks could segment.")
    drawn = resamples(len(common), ROUNDS)
    whole = np.ones((1, len(common)), np.int64)
    weights = np.concatenate([whole, drawn])  # the first row is what was measured
    found, images = {}, {}
    for name, one in scores.items():
        places = [one.indices.index(i) for i in common]
        spread = np.zeros((len(weights), one.frames), np.int64)
        spread[:, places] = weights
        found[name] = one.figures(one.counts.weighed(spread))
        images[name] = one.image_mean_iou()[places]
    base, *others = found
    classes = first.label_space.classes
    single = [figure for figure in found[base] if figure != "iou_per_class"]
    return Comparison(
        scores=dict(scores),
        figures={n: {f: float(x[f][0]) for f in single} for n, x in found.items()},
        classes={
            n: dict(zip(classes, x["iou_per_class"][0].tolist(), strict=True))
            for n, x in found.items()
        },
        differences={
            n: {f: _difference(found[n][f] - found[base][f]) for f in single} for n in others
        },
        class_differences={
            n: {
                c: _difference(found[n]["iou_per_class"][:, k] - found[base]["iou_per_class"][:, k])
                for k, c in enumerate(classes)
            }
            for n in others
        },
        images=tuple(first.names[first.indices.index(i)] for i in common),
        image_mean_iou=images,
    )


def _difference(values: np.ndarray) -> Difference:
    return Difference(float(values[0]), *interval(values[1:]))
