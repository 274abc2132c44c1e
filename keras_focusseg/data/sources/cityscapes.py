"""Cityscapes as its archives unpack: `leftImg8bit` and `gtFine`, a folder a city."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import existing_folder
from keras_focusseg.data.sources.pairs import (
    PairSource,
    folder_pairs,
    listing,
    located,
    split_parts,
)

_GET = (
    "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of cityscapes-dataset.com "
    "into one folder."
)
_DUMMIES = "gtFine/test holds dummies that ignore every pixel, and its server scores predictions."


class Cityscapes(PairSource):
    """Cityscapes (Cordts et al. 2016), the finely annotated images, 19 classes.

    Expected below the root, or below folders of the root named as you like:
    `leftImg8bit/{split}/{city}/*_leftImg8bit.png` (1024x2048) and
    `gtFine/{split}/{city}/*_gtFine_labelIds.png`, whose raw ids become the 19 train ids, 255
    elsewhere. If there are no `labelIds` at all, `*_gtFine_labelTrainIds.png` are taken.
    The official splits have 2975 (train) and 500 (val) images.

    Args:
        root: folder that the archives were unpacked into.
        split: "train", "val" or "train+val". The labels of "test" are not public.

    Raises:
        DataError: if a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = Cityscapes("cityscapes", "val")
        ```
    """

    name = "cityscapes"

    def __init__(self, root: str | Path, split: str = "train") -> None:
        self.root = existing_folder(root, "the Cityscapes folder").resolve()
        self.split = split
        self.label_space = label_spaces.get("cityscapes")
        images, masks = (
            located(self.root, [folder], f"Cityscapes' {folder}", _GET)[0] / folder
            for folder in ("leftImg8bit", "gtFine")
        )
        parts = split_parts(split, ("train", "val"), "Cityscapes", _DUMMIES)
        ending, self.encoding = "_gtFine_labelIds.png", self.label_space
        if not any(
            listing(existing_folder(masks / part, "the mask folder", _GET), self.root, ending, True)
            for part in parts
        ):
            ending = "_gtFine_labelTrainIds.png"
            self.encoding = replace(self.label_space, ids=(), ignored_ids=(label_spaces.IGNORE,))
        endings = ("_leftImg8bit.png", ending)
        self.pairs = [
            (name.split("/")[1], image, mask)
            for part in parts
            for name, image, mask in folder_pairs(
                images / part, masks / part, self.root, endings, _GET, deep=True
            )
        ]
