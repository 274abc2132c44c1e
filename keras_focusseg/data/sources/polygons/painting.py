"""What COCO and Labelme share: classes with a background, and images of another size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.errors import Place
from keras_focusseg.label_spaces import IGNORE, LabelSpace
from keras_focusseg.pictures.readers import lies_on_its_side


def space_of(names: Sequence[str], name: str, background: bool) -> LabelSpace:
    """The label space of classes that come without colours.

    If `background`, the first class is black, and what is ignored is white.
    """
    colors = list(label_spaces.distinct_colors(min(len(names), IGNORE)))
    if background:
        colors = [(0, 0, 0), *colors[: len(names) - 1]]
    return label_spaces.from_names(
        names,
        colors=colors,
        name=name,
        ignore_name="ignore",
        ignore_color=(255, 255, 255) if background else (0, 0, 0),
    )


def refuse_other_size(
    image: Path, json: Path, size: tuple[int, int], said: tuple[int, int]
) -> None:
    """Refuses annotations that say another size (H, W) than the image has."""
    if size == said:
        return
    across = size == said[::-1] and lies_on_its_side(image)
    raise Place(image).error(
        f"the image is {size[1]} x {size[0]}, but {json} says {said[1]} x {said[0]} (width x "
        "height)",
        "mask that lies across its EXIF-rotated image"
        if across
        else "mask of another size than its image",
        fix="The image was turned upright by its EXIF orientation; annotate the upright image, or "
        "remove the tag."
        if across
        else "The annotations belong to an image of another size: restore that one.",
    )
