"""The canvas on which steps note what they do, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from keras_focusseg.data.transforms import warp
from keras_focusseg.label_spaces import IGNORE

Pair = tuple[np.ndarray, np.ndarray]
"""Image uint8 (H, W, 3) and mask uint8 (H, W)."""
# How often a crop is drawn again that one class fills too much of.
_POSITION_TRIES = 10


class Canvas:
    """An image and its mask while steps work on them.

    Geometry is only noted: `move` joins it to what was noted before, and what comes out in the end
    is read from the source once. Colour is noted as well, and done to the part that is in view
    before it is moved, so that new area keeps the fill.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8.
        fill: RGB where the image shows nothing of the source (the mask gets 255).
        target: Class that crops have to show, if the mask has it; None for any.

    Attributes:
        target: As given.
        fill: As given.
    """

    def __init__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        fill: tuple[int, int, int] = warp.FILL,
        target: int | None = None,
    ) -> None:
        self.target = target
        self.fill = fill
        self._mask: np.ndarray | None  # as the view shows it, once somebody has looked
        self.put(image, mask)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) after all that was noted."""
        return self._view.size

    def move(self, matrix: np.ndarray, size: tuple[int, int] | None = None) -> None:
        """Notes a change of geometry.

        Args:
            matrix: (2, 3), from a point (x, y) of the result to the point that it shows of what
                is there now. The centre of the pixel in column j is at x = j + 0.5.
            size: (height, width) of the result; None keeps it.
        """
        self._note(self._view.then(matrix, size or self.size))

    def edit(self, change: warp.Edit) -> None:
        """Notes a change of colour.

        Args:
            change: From an RGB `PIL.Image` to another of the same size.
        """
        self._edits.append(change)

    def mask(self) -> np.ndarray:
        """The mask after all that was noted, (height, width) uint8. Do not write to it."""
        if self._mask is None:
            self._mask = warp.see_mask(self._view, self._source[1])
        return self._mask

    def arrays(self) -> Pair:
        """Image and mask after all that was noted. Do not write to them."""
        image = warp.see_image(self._view, self._source[0], self.fill, self._edits)
        return image, self.mask()

    def put(self, image: np.ndarray, mask: np.ndarray) -> None:
        """Go on with another image and mask, uint8 (H, W, 3) and (H, W)."""
        _check_pair(image, mask)
        self._source = (image, mask)
        self._view = warp.View.of(mask.shape)
        self._mask = mask
        self._edits: list[warp.Edit] = []

    def try_moves(
        self, draw: Callable[[], np.ndarray], size: tuple[int, int], max_class_share: float | None
    ) -> None:
        """Notes a change of geometry that no class fills too much of.

        Args:
            draw: Gives a matrix as `move` takes it, another one with each call.
            size: (height, width) of the result.
            max_class_share: Largest share of one class in the labelled pixels. After 10 more
                tries the last one is taken as it is. None takes the first.
        """
        before = self._view
        self.move(draw(), size)
        if max_class_share is None:
            return
        for _ in range(_POSITION_TRIES):
            if _largest_share(self.mask()) <= max_class_share:
                return
            self._note(before.then(draw(), size))

    def _note(self, view: warp.View) -> None:
        self._view, self._mask = view, None


def _largest_share(mask: np.ndarray) -> float:
    """Share of the most frequent class among the labelled pixels; 1 if none is labelled."""
    counts = Image.fromarray(mask).histogram()[:IGNORE]
    total = sum(counts)
    return max(counts) / total if total else 1.0


def _check_pair(image: np.ndarray, mask: np.ndarray) -> None:
    """Stops if these are not an image and its mask."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}.")
    if mask.dtype != np.uint8 or mask.shape != image.shape[:2]:
        raise ValueError(
            f"mask must be uint8 {image.shape[:2]} like its image, got {mask.dtype} {mask.shape}."
        )
