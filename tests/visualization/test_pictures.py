"""Pictures of class maps and importance maps."""

import numpy as np
import pytest

from keras_focusseg import label_spaces, visualization

SPACE = label_spaces.get("camvid11")


def test_colors_are_those_of_the_label_space_and_ignored_pixels_show_the_picture() -> None:
    labels = np.full((6, 8), 3, "uint8")
    labels[:, 4:] = 255
    image = np.full((6, 8, 3), 100, "uint8")
    mixed = np.asarray(visualization.overlay(image, labels, SPACE, opacity=1.0))
    np.testing.assert_array_equal(mixed[0, 0], SPACE.colors[3])
    np.testing.assert_array_equal(mixed[0, 7], (100, 100, 100))
    assert visualization.colorize(labels, SPACE).shape == (6, 8, 3)


def test_overlay_refuses_what_cannot_be_mixed() -> None:
    image = np.zeros((6, 8, 3), "uint8")
    with pytest.raises(ValueError, match="sizes differ"):
        visualization.overlay(image, np.zeros((6, 7), "uint8"), SPACE)
    with pytest.raises(ValueError, match="opacity must be in"):
        visualization.overlay(image, np.zeros((6, 8), "uint8"), SPACE, opacity=1.5)


def test_what_is_no_picture_no_class_and_no_map_is_refused() -> None:
    image, labels = np.zeros((6, 8, 3), "uint8"), np.zeros((6, 8), "uint8")
    for wrong in (image / 255, image[..., 0], image[None]):
        with pytest.raises(ValueError, match=r"image must be \(height, width, 3\) uint8"):
            visualization.overlay(wrong, labels, SPACE)
    with pytest.raises(ValueError, match="labels must be train ids, got float64"):
        visualization.colorize(labels / 2, SPACE)
    for wrong, found in ((labels + 11, 11), (labels + np.int32(300), 300), (labels - 1.0, -1)):
        with pytest.raises(ValueError, match=rf"labels hold {found}, but label space 'camvid11'"):
            visualization.colorize(wrong.astype("int32"), SPACE)
    with pytest.raises(ValueError, match=r"values must be one map .*, got \(6, 8, 3\)"):
        visualization.heatmap(image, (6, 8))


def test_heatmap_brightens_with_the_value() -> None:
    ramp = np.linspace(0, 1, 12)[None].repeat(4, 0)
    picture = np.asarray(visualization.heatmap(ramp, (4, 12)), "float32")
    brightness = picture[0] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(brightness) > 0).all()


def test_regions_are_lit_where_the_masks_are() -> None:
    masks = np.zeros((2, 4, 2), "float32")
    masks[0, :2, 1] = 1
    masks[0, 0, 0] = 1
    image = np.full((16, 32, 3), 120, "uint8")
    picture = np.asarray(visualization.region_map(image, masks), "float32").sum(-1)
    assert picture[0, 0] > picture[0, 12] > picture[12, 12]


def test_legend_shows_every_class() -> None:
    picture = np.asarray(visualization.legend(SPACE))
    found = {tuple(color) for color in picture.reshape(-1, 3)}
    assert set(map(tuple, SPACE.colors)) <= found
