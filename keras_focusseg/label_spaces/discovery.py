"""What the colours in somebody's masks may mean, where no table says it."""

from __future__ import annotations

from collections.abc import Collection

from keras_focusseg.label_spaces.benchmarks import get
from keras_focusseg.label_spaces.groupings import Grouping, by_color, colors_to_ids, grouping
from keras_focusseg.label_spaces.label_space import IGNORE, LabelSpace, from_names

Color = tuple[int, int, int]

MAX_COLORS = 255
"""More colours than that are not classes: masks are 8-bit, and 255 means ignored."""

DISCOVERED = "discovered"
"""Name of a label space that was found in masks alone."""

FEWEST = 4
"""So many colours beside black must be a benchmark's before its class names are believed."""

_VOC_VOID: Color = (224, 224, 192)
_VOC_CLASSES = 21
_MAP_CLASSES = 64  # as many colours as have only 0, 64, 128 and 192 in them; CamVid's all have


def name_colors(colors: Collection[Color]) -> Grouping:
    """Names the colours that occur in masks.

    - If all are of the colour map that Pascal VOC, Labelme and others number their classes with
      (its first 21), the classes are "class_0", "class_1", ... by their number there, and VOC's
      border colour (224, 224, 192) is ignored. Many tools use the map, for classes of any name.
    - If all are colours of CamVid's 32 classes, or of Cityscapes, and at least four of them are not
      black, they are that benchmark: all of its classes, its void ignored.
    - If all are of the colour map's first 64, as above.
    - Otherwise each is a class "color_r_g_b", sorted by colour, and nothing is ignored.

    Args:
        colors: The colours, at least one.

    Returns:
        The grouping: the colours, and in `label_space` the classes.

    Raises:
        ValueError: If there is no colour, or more than 255.

    Example:
        >>> from keras_focusseg import label_spaces
        >>> label_spaces.name_colors([(255, 255, 255), (10, 20, 30)]).label_space.classes
        ('color_10_20_30', 'color_255_255_255')
    """
    found = sorted({(int(red), int(green), int(blue)) for red, green, blue in colors})
    if not 1 <= len(found) <= MAX_COLORS:
        raise ValueError(
            f"There are {len(found)} colours; 1 to {MAX_COLORS} can be classes. Resizing with "
            "blending and JPEG compression make many: restore the original masks."
        )
    return (
        _by_voc_map(found, _VOC_CLASSES)
        or _benchmark(found)
        or _by_voc_map(found, _MAP_CLASSES)
        or _by_value(found)
    )


def voc_color_map(count: int = 256) -> list[Color]:
    """The first colours of Pascal VOC's map: a number's bits, dealt out to red, green and blue."""
    return [_voc_color(number) for number in range(count)]


def _benchmark(found: list[Color]) -> Grouping | None:
    if sum(any(color) for color in found) < FEWEST:
        return None
    for groups in (grouping("camvid32"), by_color(get("cityscapes"))):
        if set(found) <= set(groups.colors):
            return groups
    return None


def _by_voc_map(found: list[Color], count: int) -> Grouping | None:
    number = {color: place for place, color in enumerate(voc_color_map(count))}
    void = _VOC_VOID in found
    classes = sorted((number[color], color) for color in found if color in number)
    gray_only = all(len(set(color)) == 1 for _, color in classes)  # anybody's masks
    if len(classes) + void < len(found) or gray_only:
        return None
    space = from_names(
        [f"class_{place}" for place, _ in classes],
        colors=[color for _, color in classes],
        ids=[place for place, _ in classes],
        name=DISCOVERED,
        ignore_color=_VOC_VOID if void else _free_color(found),
    )
    border = [(space.ignore_name, _VOC_VOID, IGNORE)] if void else []
    return _grouping(space, border)


def _by_value(found: list[Color]) -> Grouping:
    space = from_names(
        ["color_{}_{}_{}".format(*color) for color in found],
        colors=found,
        name=DISCOVERED,
        ignore_color=_free_color(found),
    )
    return _grouping(space, [])


def _grouping(space: LabelSpace, ignored: list[tuple[str, Color, int]]) -> Grouping:
    """Exactly the colours that were found: no mask holds the others."""
    classes = zip(space.classes, space.colors, range(space.num_classes), strict=True)
    names, colors, train_ids = zip(*classes, *ignored, strict=True)
    return colors_to_ids(space, names, colors, train_ids)


def _voc_color(number: int) -> Color:
    red = green = blue = 0
    for place in range(8):
        red |= (number & 1) << (7 - place)
        green |= (number >> 1 & 1) << (7 - place)
        blue |= (number >> 2 & 1) << (7 - place)
        number >>= 3
    return red, green, blue


def _free_color(taken: list[Color]) -> Color:
    """Black for ignored pixels in pictures, or what is free of grey if black is a class."""
    return next((i, i, i) for i in range(256) if (i, i, i) not in taken)
