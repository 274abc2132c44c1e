"""CamVid's 32 colours and the three ways to 11 classes."""

from __future__ import annotations

import numpy as np
import pytest

from keras_focusseg import label_spaces

# Written out once more, from the descriptions of the groupings and not from the table.
MATHWORKS = {
    "Sky": {"Sky"},
    "Building": {"Bridge", "Building", "Wall", "Tunnel", "Archway"},
    "Pole": {"Column_Pole", "TrafficCone"},
    "Road": {"Road", "LaneMkgsDriv", "LaneMkgsNonDriv"},
    "Pavement": {"Sidewalk", "ParkingBlock", "RoadShoulder"},
    "Tree": {"Tree", "VegetationMisc"},
    "SignSymbol": {"SignSymbol", "Misc_Text", "TrafficLight"},
    "Fence": {"Fence"},
    "Car": {"Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving"},
    "Pedestrian": {"Pedestrian", "Child", "CartLuggagePram", "Animal"},
    "Bicyclist": {"Bicyclist", "MotorcycleScooter"},
}
HEADS = ("Building", "Column_Pole", "Road", "Sidewalk", "Tree", "SignSymbol", "Fence", "Car",
         "Pedestrian", "Bicyclist", "Sky")  # fmt: skip


def members(how: str) -> dict[str, set[str]]:
    """Names of the fine classes by the class that they become."""
    groups = label_spaces.grouping("camvid32", how)
    result: dict[str, set[str]] = {}
    for name, train_id in zip(groups.names, groups.train_ids, strict=True):
        target = "ignored" if train_id == 255 else groups.label_space.classes[train_id]
        result.setdefault(target, set()).add(name)
    return result


def test_mathworks_has_a_place_for_all_but_void():
    assert members("mathworks") == MATHWORKS | {"ignored": {"Void"}}


def test_segnet_and_exact_colour_ignore_more():
    segnet, exact = members("segnet"), members("exact_colour")
    assert segnet["Road"] == MATHWORKS["Road"] | {"RoadShoulder"}
    assert segnet["Pavement"] == {"Sidewalk", "ParkingBlock"}
    assert {"Bridge", "Child", "TrafficCone"} < segnet["ignored"] and len(segnet["ignored"]) == 10
    assert {next(iter(names)) for key, names in exact.items() if key != "ignored"} == set(HEADS)
    assert len(exact["ignored"]) == 21


def test_none_keeps_all_classes():
    groups = label_spaces.grouping("camvid32")
    assert groups.label_space is label_spaces.get("camvid32")
    assert sorted(set(groups.train_ids)) == [*range(31), 255]
    assert groups.names[groups.train_ids.index(255)] == "Void"


@pytest.mark.parametrize("how", [None, "segnet", "mathworks", "exact_colour"])
def test_every_colour_becomes_its_class(how):
    groups = label_spaces.grouping("camvid32", how)
    order = np.random.default_rng(0).permutation(32)
    picture = np.array(groups.colors, "uint8")[order].reshape(4, 8, 3)
    train_ids = groups.to_train_ids(picture)
    assert train_ids.dtype == np.uint8 and train_ids.shape == (4, 8)
    np.testing.assert_array_equal(train_ids.ravel(), np.array(groups.train_ids)[order])


def test_colours_by_hand():
    picture = np.array([[[128, 0, 0], [0, 128, 64], [64, 128, 192], [0, 0, 0]]], "uint8")
    groups = label_spaces.grouping("camvid32", "mathworks")
    assert groups.label_space is label_spaces.get("camvid11")
    assert groups.to_train_ids(picture).tolist() == [[1, 1, 8, 255]]


def test_stray_colours_are_named_and_counted_or_tolerated():
    picture = np.zeros((5, 6, 3), "uint8")
    picture[0, :3] = (128, 128, 102)
    picture[4, 5] = (255, 255, 255)  # beyond the largest colour of the table
    groups = label_spaces.grouping("camvid32", "segnet")
    with pytest.raises(
        ValueError,
        match=r"x\.png: 4 of 30 pixels .*'camvid32' has: \(128, 128, 102\) \(3\), "
        r"\(255, 255, 255\) \(1\)\. ",
    ):
        groups.to_train_ids(picture, "x.png", max_stray=3)
    assert (groups.to_train_ids(picture, max_stray=4) == 255).all()


def test_many_stray_colours_are_summed_up():
    noise = np.random.default_rng(0).integers(1, 60, (20, 20, 3), "uint8")
    with pytest.raises(ValueError, match=r"400 of 400 pixels .* and \d+ other colours") as caught:
        label_spaces.grouping("camvid32").to_train_ids(noise)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match=r"mask: expected colours uint8 \(H, W, 3\)"):
        label_spaces.grouping("camvid32").to_train_ids(np.zeros(shape, "uint8"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("camvid32", "pidnet"), "no grouping 'pidnet'; it has segnet, mathworks, exact_colour"),
        (("cityscapes", "segnet"), "no groupings of 'cityscapes', only of camvid32"),
    ],
)
def test_unknown_groupings(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_spaces.grouping(*arguments)
