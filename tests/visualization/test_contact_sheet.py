"""The contact sheet: the same for the same seed, right colours, a place for what is broken."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces
from keras_focusseg.visualization.contact_sheet import contact_sheet, thumbnails

RED, BLUE = (200, 30, 30), (20, 60, 220)


class Halves(data.Source):
    """Grey pictures of 20 x 40, red class on the left, blue on the right; some are broken."""

    name, split = "halves", "train"
    label_space = label_spaces.from_names(["left", "right"], colors=[RED, BLUE])

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        self.count, self.broken, self.loaded = count, broken, set[int]()

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> data.Sample:
        self.loaded.add(index)
        if index in self.broken:
            raise data.DataError(f"{index}.png: the mask file is empty. Restore it.")
        mask = np.repeat([[0] * 20 + [1] * 20], 20, axis=0).astype("uint8")
        return data.Sample(np.full((20, 40, 3), 100 + index, "uint8"), mask, f"frame \udcff{index}")


def colors(sheet: Image.Image) -> set[tuple[int, ...]]:
    return {color for _, color in sheet.getcolors(1 << 24) or ()}  # type: ignore[misc]


def test_the_seed_chooses_and_repeats() -> None:
    one, again, other = (Halves(50) for _ in range(3))
    first = contact_sheet(one, count=5, seed=1)
    assert first.tobytes() == contact_sheet(again, count=5, seed=1).tobytes()
    contact_sheet(other, count=5, seed=2)
    assert len(one.loaded) == 5 and one.loaded == again.loaded != other.loaded
    assert first.width == 1600 and contact_sheet(Halves(3), count=5, width=800).width == 800


def test_pictures_have_the_colours_of_their_classes_and_the_legend_too() -> None:
    sheet = contact_sheet(Halves(1), count=1, opacity=1.0)
    assert {RED, BLUE, (100, 100, 100)} <= colors(sheet)
    pixels = np.asarray(sheet)
    at = {name: np.argwhere((pixels == color).all(-1)) for name, color in
          (("red", RED), ("blue", BLUE), ("grey", (100, 100, 100)))}  # fmt: skip
    # In the upper half: the photograph, then red, then blue; below, two swatches of the legend.
    middle = {name: np.median(places[places[:, 0] < 400, 1]) for name, places in at.items()}
    assert middle["grey"] < middle["red"] < middle["blue"]
    for name in ("red", "blue"):
        swatch = at[name][at[name][:, 0] > sheet.height - 40]
        assert len(swatch) > 200


def test_what_is_broken_has_its_place_and_augmentation_is_shown() -> None:
    whole, broken = (contact_sheet(Halves(2, broken), count=2) for broken in ((), (1,)))
    assert (176, 32, 32) in colors(broken) - colors(whole)

    def dark(image, mask, rng):  # type: ignore[no-untyped-def]
        return np.full((10, 10, 3), rng.integers(7, 9), "uint8"), np.zeros((10, 10), "uint8")

    seen = contact_sheet(Halves(2), count=2, augment=dark, opacity=1.0)
    assert {(7, 7, 7), (8, 8, 8)} & colors(seen) and (100, 100, 100) not in colors(seen)
    with pytest.raises(ValueError, match="count must be 1 or more"):
        contact_sheet(Halves(2), count=0)


def test_a_policy_that_mixes_samples_gets_its_partner() -> None:
    source = Halves(3)
    contact_sheet(source, count=1, augment=data.Compose([data.ClassMix(probability=1.0)]))
    assert len(source.loaded) == 2


def test_thumbnails_keep_shape_and_ids() -> None:
    image, mask, _ = Halves(1).load(0)
    small, classes = thumbnails(image, mask, Halves.label_space, (10, 10), opacity=1.0)
    assert small.size == classes.size == (10, 5)
    assert classes.getpixel((1, 1)) == RED and classes.getpixel((8, 1)) == BLUE


def test_a_legend_of_many_classes_has_those_that_are_shown() -> None:
    class Many(Halves):
        label_space = label_spaces.from_names([f"class {i}" for i in range(150)])

    few = contact_sheet(Halves(1), count=1)
    assert contact_sheet(Many(1), count=1).height == few.height
