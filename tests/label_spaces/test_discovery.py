"""Naming colours that come without a table."""

from __future__ import annotations

import numpy as np
import pytest

from keras_focusseg import label_spaces
from keras_focusseg.label_spaces import name_colors
from keras_focusseg.label_spaces.discovery import voc_color_map


def test_unknown_colours_are_sorted_and_none_is_ignored():
    groups = name_colors([(255, 255, 255), (10, 20, 30), (0, 0, 0), (10, 20, 30)])
    assert groups.label_space.classes == ("color_0_0_0", "color_10_20_30", "color_255_255_255")
    assert groups.label_space.colors == groups.colors
    assert groups.train_ids == (0, 1, 2)
    assert groups == name_colors([(0, 0, 0), (10, 20, 30), (255, 255, 255)])


@pytest.mark.parametrize("name", ["camvid32", "cityscapes"])
def test_a_benchmark_is_known_by_its_colours(name):
    whole = label_spaces.get(name)
    shown = [whole.colors[i] for i in (0, 1, 8, 11, 12)] + [(0, 0, 0)]
    groups = name_colors(shown)
    assert groups.label_space == whole
    mask = np.array([shown], "uint8")
    assert groups.to_train_ids(mask).tolist() == [[0, 1, 8, 11, 12, 255]]


def test_few_colours_are_no_benchmark():
    camvid = label_spaces.get("camvid32")
    shown = [camvid.colors[camvid.classes.index(name)] for name in ("Bicyclist", "Bridge")]
    assert name_colors(shown).label_space.name == "discovered"


def test_voc_map_gives_numbers_not_names():
    # Labelme draws any two classes so; "aeroplane" would be a lie.
    groups = name_colors([(0, 0, 0), (128, 0, 0), (128, 128, 0), (224, 224, 192)])
    assert groups.label_space.classes == ("class_0", "class_1", "class_3")
    assert groups.label_space.ids == (0, 1, 3)
    mask = np.array([[(128, 128, 0), (224, 224, 192)]], "uint8")
    assert groups.to_train_ids(mask).tolist() == [[2, 255]]


def test_voc_map_by_hand():
    # From the development kit's description: 0, 1, 2, 15 (person), 20 (tvmonitor), 255.
    colors = voc_color_map()
    assert [colors[i] for i in (0, 1, 2, 15, 20, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (192, 128, 128), (0, 64, 128), (224, 224, 192)
    ]  # fmt: skip
    assert len(set(colors)) == 256


@pytest.mark.parametrize("count", [0, 256])
def test_number_of_colours_is_bounded(count):
    with pytest.raises(ValueError, match=f"There are {count} colours; 1 to 255"):
        name_colors([(i, 0, 0) for i in range(count)])
