"""ADE20K's scene parsing benchmark, as `ADEChallengeData2016.zip` unpacks."""

from __future__ import annotations

from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import existing_folder
from keras_focusseg.data.sources.pairs import PairSource, folder_pairs, located, split_parts

_FOLDERS = {"train": "training", "val": "validation"}
_GET = (
    "Unpack ADEChallengeData2016.zip, the scene parsing benchmark; the full ADE20K dataset is "
    "another one, with thousands of classes."
)


class ADE20K(PairSource):
    """ADE20K's scene parsing benchmark (Zhou et al. 2017), 150 classes.

    Expected in the root, or in its folder `ADEChallengeData2016`:
    `images/{training,validation}/*.jpg` and `annotations/{training,validation}/*.png`. Masks hold
    1..150 for the classes, which become 0..149, and 0 where nothing is labelled, which is ignored.
    The official splits have 20210 (train) and 2000 (val) images, of many sizes: train with
    `Augment(base_size=(512, 2048), crop_size=...)`.

    Args:
        root: folder that the archive was unpacked into.
        split: "train", "val" or "train+val". The labels of "test" are not public.

    Raises:
        DataError: if a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = ADE20K("ADEChallengeData2016", "val")
        ```
    """

    name = "ade20k"

    def __init__(self, root: str | Path, split: str = "train") -> None:
        self.root = existing_folder(root, "the ADE20K folder").resolve()
        self.split = split
        self.label_space = self.encoding = label_spaces.get("ade20k")
        parts = split_parts(split, tuple(_FOLDERS), "ADE20K", "they are not public.")
        base, masks = located(self.root, ["annotations"], "ADE20K", _GET)
        self.pairs = [
            pair
            for folder in (_FOLDERS[part] for part in parts)
            for pair in folder_pairs(
                base / "images" / folder, base / masks / folder, self.root, (".jpg", ".png"), _GET
            )
        ]
