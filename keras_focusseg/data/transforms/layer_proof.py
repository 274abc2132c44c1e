"""What a layer has to show before it may change samples: that masks stay masks.

The layer runs on a painted picture whose mask is known. Its name does not matter, so a layer that
nobody has listed is judged as any other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_focusseg.data.transforms.canvas import Pair
from keras_focusseg.label_spaces import IGNORE

Run = Callable[[np.ndarray, np.ndarray, int], Pair]
"""From image (H, W, 3) uint8, mask (H, W) uint8 and a seed to both, changed."""

# No side is a size that somebody would crop or resize to.
_SIZE = (97, 131)
_SEEDS = 6
_MOST_SEEDS = 40  # for layers that do something only now and then
_CLASSES = 16
# Largest share of pixels that may show the colour of another class, and smallest of its own: some
# layers hide parts of the picture, none may show a thing in another place than its label.
_MAX_WRONG, _MIN_OWN = 0.05, 0.5
_FEWEST = 20  # pixels, from which on a class is looked at


def prove(run: Run, name: str) -> tuple[int, int] | None:
    """Hold a layer to what an augmentation has to keep.

    Args:
        run: The layer; raises ValueError if an id comes out that was not in the mask.
        name: What to call it in errors.

    Returns:
        (height, width) of every result, or None where it follows the image.

    Raises:
        ValueError: If the mask gets ids that were not there, is lost, or no longer fits the image;
            if the image is lost; if nothing changes; if the same seed gives two results.
    """
    size = _SIZE
    made = _result_size(run, size)
    if made != size:  # a crop or a resize; a crop needs a picture that is larger
        size = max(size[0], made[0]) + 30, max(size[1], made[1]) + 42
    image, mask = painted(size)
    results = [run(image, mask, seed) for seed in range(_SEEDS)]
    for seed, result in enumerate(results):
        if not all(map(np.array_equal, result, run(image, mask, seed))):
            raise ValueError(
                f"{name} cannot be repeated: the same seed gave two results. A layer has to draw "
                "with a keras.random.SeedGenerator."
            )
    changes = (run(image, mask, seed) for seed in range(_MOST_SEEDS))
    if all(
        np.array_equal(image, changed) and np.array_equal(mask, ids) for changed, ids in changes
    ):
        raise ValueError(
            f"{name} changed nothing in {_MOST_SEEDS} runs. What mixes several images does nothing "
            "to one: data.CutMix and data.ClassMix get a second sample."
        )
    if min((ids == IGNORE).mean() for _, ids in results) > 0.9:
        raise ValueError(f"{name} loses the mask: of all labels, next to none are left.")
    counts = [_colors_of_classes(*result) for result in results]
    seen = [_visible(table) for table in counts if len(table) > 1]
    if seen and not any(len(set(table.argmax(axis=1))) > 1 for table in seen):
        raise ValueError(
            f"{name} loses the picture: all classes have one colour in it. Images are 0..255 here, "
            "so a layer that has a value_range needs value_range=(0, 255)."
        )
    for table in seen:
        own, wrong = _agreement(table)
        if own < _MIN_OWN or wrong > _MAX_WRONG:
            raise ValueError(
                f"{name} moves image and mask apart: of the pixels inside a class, {own:.0%} show "
                f"its colour and {wrong:.0%} that of another class."
            )
    fixed = made != _SIZE and {ids.shape for _, ids in results} == {made}
    return made if fixed else None


def painted(size: tuple[int, int]) -> Pair:
    """A picture of curved blocks, each in the colour of its class, and its mask.

    No mirroring or shift lays the blocks onto themselves. No colour is grey, as fills are.
    """
    y, x = np.indices(size).astype("float32")
    rows = ((y + 5 * np.sin(x / 9) + 5) // 14).astype(int)
    columns = ((x + 5 * np.sin(y / 11) + 5) // 15).astype(int)
    rng = np.random.default_rng(0)
    blocks = rng.integers(_CLASSES, size=(rows.max() + 1, columns.max() + 1))
    levels = np.stack(np.meshgrid(*[[50, 125, 200]] * 3), axis=-1).reshape(-1, 3)
    colored = levels[np.ptp(levels, axis=1) > 0]
    colors = colored[rng.permutation(len(colored))[:_CLASSES]].astype("uint8")
    classes = blocks[rows, columns]
    ids = np.r_[: _CLASSES - 2, 200, IGNORE].astype("uint8")
    return colors[classes], ids[classes]


def _result_size(run: Run, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of what a layer makes, whatever the mask: a crop may damage a small one."""
    image, mask = painted(size)
    height, width, _ = run(image, np.zeros_like(mask), 0)[0].shape
    return height, width


def _colors_of_classes(image: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """How often each colour is in each class, (classes, 512), two pixels inside its outline."""
    windows = np.lib.stride_tricks.sliding_window_view(ids, (5, 5))
    inside = (windows.min(axis=(2, 3)) == windows.max(axis=(2, 3))) & (windows[..., 2, 2] != IGNORE)
    colors = (image[2:-2, 2:-2] // 32).astype(int) @ [64, 8, 1]
    shown, classes = np.unique(windows[..., 2, 2][inside], return_inverse=True)
    counts = np.zeros((len(shown), 512))
    np.add.at(counts, (classes, colors[inside]), 1)
    return counts[counts.sum(axis=1) >= _FEWEST]


def _visible(counts: np.ndarray) -> np.ndarray:
    """The counts without colours that most classes have in common: there the picture is hidden."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    is_common = (shares > 0.05).sum(axis=0) > len(counts) / 2
    counts = np.where(is_common, 0, counts)
    return counts[counts.sum(axis=1) > 0]


def _agreement(counts: np.ndarray) -> tuple[float, float]:
    """Shares of the pixels that show the colour of their class, and that of another class."""
    if not counts.size:
        return 1.0, 0.0
    best, total = counts.argmax(axis=1), counts.sum(axis=1)
    own = counts[np.arange(len(counts)), best]
    # Two classes may have one colour, where a layer takes colours away; where most of a class is
    # hidden, its colour is not known.
    known = np.unique(best[own > 0.5 * total])
    of_others = counts[:, known].sum(axis=1) - np.where(np.isin(best, known), own, 0)
    return own.sum() / total.sum(), of_others.sum() / total.sum()
