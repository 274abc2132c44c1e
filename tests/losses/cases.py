"""Every loss of the room with its options, beside its reference; used by all shared tests."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from keras_focusseg import losses
from tests.losses import references

NUM_CLASSES = 4
STRIDE = 3
SHAPE = (2, 5, 7)  # of the masks; 5 and 7 are no multiples of the stride
CLASS_WEIGHTS = [0.5, 2.0, 0.0, 1.5]


class Case(NamedTuple):
    """A loss: how to build it for an ignore class, and its reference."""

    build: object  # ignore_class -> loss
    reference: object  # (labels, logits, weights, ignore_class) -> float
    grid: bool = False  # on the selector's grid instead of pixels

    def logits_shape(self) -> tuple[int, ...]:
        if not self.grid:
            return (*SHAPE, NUM_CLASSES)
        return (SHAPE[0], -(-SHAPE[1] // STRIDE), -(-SHAPE[2] // STRIDE), 1)


def _pixel(loss, reference, ours=None, theirs=None):
    ours = ours or {}
    theirs = ours if theirs is None else theirs
    return Case(
        lambda ignore_class: loss(ignore_class=ignore_class, **ours),
        lambda labels, logits, weights, _: partial(reference, **theirs)(labels, logits, weights),
    )


def _grid(**options):
    return Case(
        lambda ignore_class: losses.BoundaryTargetBCE(
            NUM_CLASSES, stride=STRIDE, ignore_class=ignore_class, **options
        ),
        lambda labels, logits, weights, ignore_class: references.boundary_bce(
            labels, logits, weights, NUM_CLASSES, STRIDE, ignore_class, **options
        ),
        grid=True,
    )


CASES = {
    "cross_entropy": _pixel(losses.CrossEntropy, references.cross_entropy),
    "cross_entropy_class_weights": _pixel(
        losses.CrossEntropy, references.cross_entropy, {"class_weights": CLASS_WEIGHTS}
    ),
    "cross_entropy_smooth": _pixel(
        losses.CrossEntropy, references.cross_entropy, {"label_smoothing": 0.2}, {"smooth": 0.2}
    ),
    "cross_entropy_smooth_class_weights": _pixel(
        losses.CrossEntropy,
        references.cross_entropy,
        {"label_smoothing": 0.1, "class_weights": CLASS_WEIGHTS},
        {"smooth": 0.1, "class_weights": CLASS_WEIGHTS},
    ),
    "cross_entropy_ohem_threshold": _pixel(
        losses.CrossEntropy,
        references.cross_entropy,
        {"ohem_threshold": 0.3, "ohem_min_kept": 0.05},
        {"ohem": (0.3, 0.05)},
    ),
    "cross_entropy_ohem_share": _pixel(
        losses.CrossEntropy,
        references.cross_entropy,
        {"ohem_threshold": 0.001, "ohem_min_kept": 0.4, "class_weights": CLASS_WEIGHTS},
        {"ohem": (0.001, 0.4), "class_weights": CLASS_WEIGHTS},
    ),
    "dice": _pixel(losses.Dice, references.dice),
    "dice_smooth": _pixel(losses.Dice, references.dice, {"smooth": 0.1}),
    "tversky": _pixel(losses.Tversky, references.tversky),
    "tversky_focal": _pixel(
        losses.Tversky, references.tversky, {"alpha": 0.4, "beta": 0.9, "gamma": 0.75, "smooth": 2}
    ),
    "focal": _pixel(losses.Focal, references.focal),
    "focal_root": _pixel(losses.Focal, references.focal, {"gamma": 0.5}),
    "focal_zero": _pixel(losses.Focal, references.focal, {"gamma": 0.0}),
    "focal_class_weights": _pixel(
        losses.Focal, references.focal, {"gamma": 3.0, "class_weights": CLASS_WEIGHTS}
    ),
    "lovasz": _pixel(losses.Lovasz, references.lovasz),
    "lovasz_all": _pixel(losses.Lovasz, references.lovasz, {"classes": "all"}),
    "lovasz_per_image": _pixel(losses.Lovasz, references.lovasz, {"per_image": True}),
    "lovasz_all_per_image": _pixel(
        losses.Lovasz, references.lovasz, {"classes": "all", "per_image": True}
    ),
    "boundary": _grid(),
    "boundary_one_ring": _grid(band=1, decay=0.25),
}


def random_masks(rng: np.random.Generator, absent: int = 1) -> np.ndarray:
    """Masks (B, H, W) int32 without class `absent`, a quarter of the pixels 255."""
    classes = [c for c in range(NUM_CLASSES) if c != absent]
    masks = rng.choice(classes, SHAPE).astype("int32")
    masks[rng.random(SHAPE) < 0.25] = 255
    masks[0, :3, :3] = 255  # a whole cell of the selector's grid
    return masks
