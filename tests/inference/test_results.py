"""What is written of a picture is what was found: labels, outlines, figures, all exact."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, files, label_spaces
from keras_focusseg.inference.results import KINDS, result_names, write_results
from keras_focusseg.inference.segment import Segmentation

SPACE = label_spaces.from_names(["road", "car", "sky"], ids=[7, 26, 23], name="toy")


@pytest.fixture
def result() -> Segmentation:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (5, 6)).repeat(6, 0).repeat(5, 1).astype("uint8")
    labels[rng.random(labels.shape) < 0.1] = 2
    share = rng.random((*labels.shape, 3)).astype("float16")
    image = rng.integers(0, 256, (*labels.shape, 3)).astype("uint8")
    return Segmentation("a.png", image, labels, np.ones(labels.shape, "float32"), SPACE, share)


def test_every_kind(result: Segmentation, tmp_path: Path) -> None:
    places = write_results(result, tmp_path, tuple(KINDS), ids="dataset")
    assert [place.name for place in places] == result_names("a", tuple(KINDS))
    assert {*places, tmp_path / "legend.png"} == set(tmp_path.iterdir())
    assert all(files.MARK.encode() in place.read_bytes()[:4096] for place in tmp_path.iterdir())
    labels, overlay, probabilities, *_, areas = places
    ids = Image.open(labels)
    np.testing.assert_array_equal(np.asarray(ids), np.array([7, 26, 23])[result.labels])
    colors = np.array(SPACE.colors)[result.labels]
    np.testing.assert_array_equal(np.asarray(ids.convert("RGB")), colors)
    np.testing.assert_array_equal(np.asarray(Image.open(overlay)), np.asarray(result.overlay()))
    with np.load(probabilities) as kept:
        np.testing.assert_array_equal(kept["probabilities"], result.probabilities)
        assert kept["probabilities"].dtype == np.float16
        assert tuple(kept["classes"]) == SPACE.classes
    counted = json.loads(areas.read_text())["classes"]
    assert {name: c["pixels"] for name, c in counted.items()} == {
        name: int((result.labels == k).sum()) for k, name in enumerate(SPACE.classes)
    }
    assert sum(c["share"] for c in counted.values()) == pytest.approx(1)


def test_the_legend_is_of_the_classes_that_were_written_last(
    result: Segmentation, tmp_path: Path
) -> None:
    def legend() -> bytes:
        return (tmp_path / "legend.png").read_bytes()

    write_results(result, tmp_path, ("overlay",))
    first, made = legend(), (tmp_path / "legend.png").stat().st_ino
    write_results(result, tmp_path, ("overlay",))
    assert (tmp_path / "legend.png").stat().st_ino == made
    other = label_spaces.from_names(["crack", "wall", "rust"])
    write_results(dataclasses.replace(result, label_space=other), tmp_path, ("overlay",))
    assert legend() != first
    (tmp_path / "legend.png").write_text("mine")
    write_results(result, tmp_path, ("overlay",))
    assert legend() == b"mine"


def test_one_kind_is_enough_and_ids_are_two(result: Segmentation, tmp_path: Path) -> None:
    assert write_results(result, tmp_path, "areas") == [tmp_path / "a_areas.json"]
    with pytest.raises(ValueError, match="ids must be one of train, dataset; got 'mine'"):
        write_results(result, tmp_path, ids="mine")  # type: ignore[arg-type]


def test_coco_paints_the_same_labels(result: Segmentation, tmp_path: Path) -> None:
    Image.fromarray(result.image).save(tmp_path / "a.png")
    (annotations,) = write_results(result, tmp_path, ("coco",))
    source = data.COCO(tmp_path, "all", annotations=annotations.name, images=".", background=None)
    assert source.label_space.classes == SPACE.classes
    np.testing.assert_array_equal(source.load(0).mask, result.labels)


def test_geojson_has_closed_rings_that_turn_as_they_should(
    result: Segmentation, tmp_path: Path
) -> None:
    (path,) = write_results(result, tmp_path, ("geojson",))
    pixels = dict.fromkeys(SPACE.classes, 0.0)
    for feature in json.loads(path.read_text())["features"]:
        signed = []
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1] and len(ring) >= 5
            x, y = np.array(ring).T
            signed.append(float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2))
        assert signed[0] > 0 and all(area < 0 for area in signed[1:])
        assert sum(signed) == feature["properties"]["area"]
        pixels[feature["properties"]["class"]] += sum(signed)
    assert pixels == {n: (result.labels == k).sum() for k, n in enumerate(SPACE.classes)}


def test_refusals(result: Segmentation, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Results are labels, overlay, .*; got mask"):
        write_results(result, tmp_path, ("labels", "mask"))
    bare = Segmentation("a.png", result.image, result.labels, result.confidence, SPACE)
    with pytest.raises(ValueError, match="has no probabilities: segment it with"):
        write_results(bare, tmp_path / "out", ("probabilities",))
