"""Roots and splits that are no path and no text, at every source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data
from tests.data import layouts
from tests.data.conftest import refused

OTHER_TYPE = "argument of another type"
CLASSES = {
    "ade20k": data.ADE20K,
    "bdd100k": data.BDD100K,
    "camvid": data.CamVid,
    "camvid720": data.CamVid720,
    "cityscapes": data.Cityscapes,
    "coco": data.COCO,
    "labelme": data.Labelme,
    "pascal_voc": data.PascalVOC,
}


@pytest.mark.parametrize("name", [n for n in data.source_names() if n != "synthetic_streets"])
def test_a_root_that_is_no_path(name: str) -> None:
    for root in (3, b"camvid", ["camvid"], True):
        for use in (data.open_source, data.splits, lambda n, r: CLASSES[n](r)):
            if name in CLASSES or use in (data.open_source, data.splits):
                with refused(OTHER_TYPE, match="folder is given as .*; expected its path"):
                    use(name, root)


@pytest.mark.parametrize(
    "name", ["ade20k", "bdd100k", "camvid", "cityscapes", "coco", "folder", "labelme", "pascal_voc"]
)
def test_a_split_that_is_no_text(name: str, tmp_path: Path) -> None:
    make: Any = {
        "ade20k": layouts.make_ade20k,
        "bdd100k": layouts.make_bdd100k,
        "camvid": layouts.make_camvid_segnet,
        "cityscapes": layouts.make_cityscapes,
        "folder": make_folder,
        "pascal_voc": layouts.make_pascal_voc,
    }.get(name)
    if make is not None:
        make(tmp_path)
    for split in (None, 3, ["train"], b"train"):
        with refused(OTHER_TYPE, match="split is given as .*; expected its name, such as 'train'"):
            data.open_source(name, tmp_path, split)
        if name in CLASSES:
            with refused(OTHER_TYPE):
                CLASSES[name](tmp_path, split)


def make_folder(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder / "train").mkdir(parents=True)
        Image.fromarray(np.zeros((24, 32), "uint8")).save(root / folder / "train" / "a.png")


def test_other_arguments_of_another_type() -> None:
    with refused("source that is unknown", match=r"no source \['camvid'\]"):
        data.open_source(["camvid"], "camvid")  # type: ignore[arg-type]
    with refused(OTHER_TYPE):
        data.recognize(3)  # type: ignore[arg-type]
    wrong = "option that is not possible"
    for option in ({"count": "3"}, {"count": 2.5}, {"size": 5}, {"size": ("a", 64)}, {"seed": "a"}):
        with refused(wrong, match=f"{next(iter(option))} is "):
            data.open_source("synthetic_streets", **option)
