"""A number a class, added to the logits after training, so that mean IoU is at its best.

Weights of classes in the loss make a network name rare classes too often, and a mean of IoUs
rewards another threshold than cross-entropy learns. Both can be put right without training: by a
shift of each class's logit (Menon et al., "Long-tail learning via logit adjustment",
arXiv 2007.07314, there computed from the shares of the classes; here searched for on labelled
frames).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_focusseg import metrics
from keras_focusseg.data import Source
from keras_focusseg.inference.evaluate import check_same_classes
from keras_focusseg.inference.segment import predict_logits
from keras_focusseg.models.segmenter import Segmenter

_STEPS = (0.8, 0.4, 0.2, 0.1)


def class_shifts(
    model: Segmenter,
    source: Source,
    *,
    every: int = 1,
    stride: int = 4,
    on_image: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Finds the shifts of the logits with the best mean IoU on labelled frames.

    Class by class, the shift goes up or down in steps of 0.8, then 0.4, 0.2 and 0.1, as long as
    the mean IoU rises. Take frames that the network was trained on and keep the others for
    measuring: there are few numbers to find, so it hardly over-fits.

    Args:
        model: A trained network with the classes of the source.
        source: Images with their masks.
        every: Takes one of so many images.
        stride: Takes one of so many pixels, along height and width alike.
        on_image: Called with the number of images done, for a progress bar.

    Returns:
        (classes,) float32.

    Raises:
        ValueError: `every` or `stride` is below 1, the classes of network and source differ, or no
            pixel that was taken has a class.

    Example:
        ```python
        from keras_focusseg import data, inference, presets

        model = presets.load("runs/mine/best")
        shifts = inference.class_shifts(model, data.CamVid("CamVid", "train"), every=3)
        inference.shift_classes(model, shifts)
        ```
    """
    if every < 1 or stride < 1:
        raise ValueError(f"every and stride must be 1 or more, got {every} and {stride}.")
    check_same_classes(model, source)
    logits, labels = [], []
    for done, index in enumerate(range(0, len(source), every), start=1):
        sample = source.load(index)
        mask = sample.mask[::stride, ::stride]
        counted = mask < model.num_classes
        all_logits = predict_logits(model, sample.image, sample.name)
        logits.append(all_logits[::stride, ::stride][counted])
        labels.append(mask[counted])
        if on_image is not None:
            on_image(done)
    if not sum(map(len, labels)):
        raise ValueError(f"No pixel of {source!r} that was taken has a class.")
    return _best_shifts(np.concatenate(logits), np.concatenate(labels))


def _best_shifts(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The search; logits are (N, classes), labels (N,)."""
    classes = logits.shape[1]

    def score(shifts: np.ndarray) -> float:
        confusion = metrics.ConfusionMatrix(classes)
        confusion.update(labels, (logits + shifts).argmax(-1))
        return metrics.mean_iou(confusion.matrix)

    shifts = np.zeros(classes, "float32")
    best = score(shifts)
    for size in _STEPS:
        for step in size * np.concatenate([np.eye(classes), -np.eye(classes)]).astype("float32"):
            while (found := score(shifts + step)) > best:
                shifts, best = shifts + step, found
    return shifts


def shift_classes(model: Segmenter, shifts: np.ndarray) -> None:
    """Adds shifts to the logits of a network for good, in the bias of its classifier.

    Args:
        model: Changed in place.
        shifts: (classes,), as `class_shifts` finds them.
    """
    for name in model.classifier_layers():
        bias = model.get_layer(name).bias
        bias.assign(bias + np.asarray(shifts, "float32"))
