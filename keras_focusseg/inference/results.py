"""What is written of a segmented picture: pictures, numbers, outlines; each whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from keras_focusseg import files
from keras_focusseg.inference.segment import Segmentation
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.pictures.outlines import Outline, outlines
from keras_focusseg.visualization import legend
from keras_focusseg.visualization.pictures import png_mark

Ids = Literal["train", "dataset"]
LEGEND = "legend.png"
"""Name of the legend that lies beside the overlays of a folder."""


def result_names(stem: str, kinds: tuple[str, ...]) -> list[str]:
    """File names of the results of a picture, one a kind.

    Args:
        stem: Name of the picture without suffix.
        kinds: Of `KINDS`.

    Raises:
        ValueError: A kind is not one of them.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"Results are {', '.join(KINDS)}; got {', '.join(unknown) or 'none'}.")
    return [f"{stem}_{kind}{KINDS[kind][0]}" for kind in kinds]


def write_results(
    result: Segmentation,
    folder: str | Path,
    kinds: str | tuple[str, ...] = ("overlay", "labels"),
    *,
    ids: Ids = "train",
    opacity: float = 0.55,
) -> list[Path]:
    """Writes `STEM_KIND.SUFFIX` for each kind, stem being the picture's name without its suffix.

    - `labels` (PNG): the class of each pixel as its value, with the classes' colours as palette;
    - `overlay` (PNG): the picture under the colours; `legend.png` beside it names them;
    - `probabilities` (npz): `probabilities` (H, W, classes) float16 and `classes`, their names;
    - `coco` (JSON): COCO's annotations, a polygon for each connected region, category `k + 1` for
      class `k`. A hole hangs on its polygon by a line of no width. `data.COCO` paints the same
      labels from it;
    - `geojson` (JSON): a feature collection of the same regions, holes as rings of their own. Its
      coordinates are pixels from the upper left corner, y downwards, not places on earth;
    - `areas` (JSON): pixels and share of each class, those that do not occur included.

    Args:
        result: A segmented picture; for `probabilities`, one that has them.
        folder: Folder to write into; made if absent.
        kinds: What to write, one or several.
        ids: Numbers in `labels`: 0, 1, 2, ... in the order of the classes ("train"), or those that
            the masks of the dataset have ("dataset").
        opacity: Strength of the colours of `overlay`, 0..1.

    Returns:
        The files.

    Raises:
        ValueError: A kind is unknown, `ids` is neither, or there are no probabilities to write.

    Example:
        ```python
        for result in inference.segment(model, "holiday", probabilities=True):
            inference.write_results(result, "segmented", ("labels", "probabilities", "areas"))
        ```
    """
    if ids not in get_args(Ids):
        raise ValueError(f"ids must be one of {', '.join(get_args(Ids))}; got {ids!r}.")
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    folder = Path(folder)
    places = [folder / name for name in result_names(Path(result.name).stem, kinds)]
    folder.mkdir(parents=True, exist_ok=True)
    if "overlay" in kinds:
        _write_legend(result.label_space, folder / LEGEND)
    options = {"ids": ids, "opacity": opacity}
    for kind, place in zip(kinds, places, strict=True):
        KINDS[kind][1](result, place, options)
    return places


def label_picture(labels: np.ndarray, space: LabelSpace, ids: Ids = "train") -> Image.Image:
    """Labels (H, W) as a palette picture in the colours of the classes.

    Args:
        labels: Train ids.
        space: The classes.
        ids: Which numbers the picture holds, see `write_results`.
    """
    palette = space.palette()
    if ids == "dataset":
        table = np.zeros(256, "uint8")
        table[: space.num_classes] = space.ids
        labels = table[labels]
        colors = np.zeros_like(palette)
        colors[list(space.ids)] = space.colors
        palette = colors
    picture = Image.fromarray(labels.astype("uint8")).convert("P")
    picture.putpalette(palette.tobytes())
    return picture


# Kinds ---------------------------------------------------------------------------------------


def _labels(result: Segmentation, place: Path, options: dict[str, Any]) -> None:
    _write_png(label_picture(result.labels, result.label_space, options["ids"]), place)


def _overlay(result: Segmentation, place: Path, options: dict[str, Any]) -> None:
    _write_png(result.overlay(options["opacity"]), place)


def _probabilities(result: Segmentation, place: Path, options: dict[str, Any]) -> None:
    if result.probabilities is None:
        raise ValueError(
            f"{result.name} has no probabilities: segment it with probabilities=True to write them."
        )
    with files.written(place) as temporary, open(temporary, "wb") as file:
        np.savez(  # uncompressed, so that the mark stands near the beginning
            file,
            origin=np.array(files.MARK.encode()),
            classes=np.array(result.label_space.classes),
            probabilities=result.probabilities,
        )


def _regions(result: Segmentation) -> Iterator[tuple[int, Outline]]:
    """Class and outline of each connected region."""
    for label in np.unique(result.labels).tolist():
        yield from ((label, outline) for outline in outlines(result.labels == label))


def _coco(result: Segmentation, place: Path, options: dict[str, Any]) -> None:
    height, width = result.labels.shape
    annotations = []
    for number, (label, outline) in enumerate(_regions(result), start=1):
        low, high = outline.outer.min(0), outline.outer.max(0)
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": label + 1,
                "iscrowd": 0,
                "area": outline.area,
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "segmentation": [outline.joined.ravel().tolist()],
            }
        )
    classes = enumerate(result.label_space.classes, start=1)
    _write_json(
        place,
        {
            "origin": files.MARK,
            "images": [{"id": 1, "file_name": result.name, "height": height, "width": width}],
            "categories": [{"id": number, "name": name} for number, name in classes],
            "annotations": annotations,
        },
    )


def _geojson(result: Segmentation, place: Path, options: dict[str, Any]) -> None:
    names = result.label_space.classes
    _write_json(
        place,
        {
            "type": "FeatureCollection",
            "origin": files.MARK,
            "features": [
                {
                    "type": "Feature",
                    "properties": {"class": names[label], "id": label, "area": outline.area},
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [
                            [*ring.tolist(), ring[0].tolist()]  # closed, as GeoJSON has it
                            for ring in (outline.outer, *outline.holes)
                        ],
                    },
                }
                for label, outline in _regions(result)
            ],
        },
    )


def _areas(result: Segmentation, place: Path, options: dict[str, Any]) -> None:
    space = result.label_space
    counts = np.bincount(result.labels.ravel(), minlength=space.num_classes).tolist()
    height, width = result.labels.shape
    _write_json(
        place,
        {
            "origin": files.MARK,
            "picture": result.name,
            "height": height,
            "width": width,
            "classes": {
                name: {"pixels": count, "share": count / result.labels.size}
                for name, count in zip(space.classes, counts, strict=True)
            },
        },
    )


KINDS: dict[str, tuple[str, Callable[[Segmentation, Path, dict[str, Any]], None]]] = {
    "labels": (".png", _labels),
    "overlay": (".png", _overlay),
    "probabilities": (".npz", _probabilities),
    "coco": (".json", _coco),
    "geojson": (".json", _geojson),
    "areas": (".json", _areas),
}
"""What can be written: suffix of the file, and what writes it."""


def _write_legend(space: LabelSpace, place: Path) -> None:
    """Writes a legend in place of none, or of one of other classes."""
    picture = legend(space)
    if place.exists():
        if not files.is_result(place):
            return
        with contextlib.suppress(OSError), Image.open(place) as present:
            if np.array_equal(np.asarray(present), np.asarray(picture)):
                return
    _write_png(picture, place)


def _write_json(place: Path, value: Any) -> None:
    """JSON without line breaks: outlines have many numbers."""
    files.write_text(place, files.json_text(value, indent=None))


def _write_png(picture: Image.Image, place: Path) -> None:
    with files.written(place) as temporary:
        picture.save(temporary, "PNG", pnginfo=png_mark())
