"""BDD100K's semantic segmentation, in the layout of today's archives and in the older one."""

from __future__ import annotations

from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import existing_folder
from keras_focusseg.data.sources.pairs import PairSource, folder_pairs, located, split_parts

# Masks, images, and what the masks' names end in.
_LAYOUTS = {
    "labels/sem_seg/masks": ("images/10k", ".png"),
    "seg/labels": ("seg/images", "_train_id.png"),
}
_GET = (
    "Unpack '10K Images' and 'Semantic Segmentation' of bdd-data.berkeley.edu; they make a folder "
    "bdd100k with images/10k and labels/sem_seg/masks."
)


class BDD100K(PairSource):
    """BDD100K's 10,000 images with semantic masks (Yu et al. 2020), 19 classes.

    Expected in the root, or in its folder `bdd100k`: `images/10k/{split}/*.jpg` with
    `labels/sem_seg/masks/{split}/*.png`, or the older `seg/images/{split}/*.jpg` with
    `seg/labels/{split}/*_train_id.png`. Masks hold 0..18 and 255 where ignored. The official
    splits have 7000 (train) and 1000 (val) images of 720x1280.

    Args:
        root: folder that the archives were unpacked into.
        split: "train", "val" or "train+val". The labels of "test" are not public.

    Raises:
        DataError: if a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = BDD100K("bdd100k", "val")
        ```
    """

    name = "bdd100k"

    def __init__(self, root: str | Path, split: str = "train") -> None:
        self.root = existing_folder(root, "the BDD100K folder").resolve()
        self.split = split
        self.label_space = self.encoding = label_spaces.get("bdd100k")
        parts = split_parts(split, ("train", "val"), "BDD100K", "they are not public.")
        base, masks = located(self.root, list(_LAYOUTS), "BDD100K", _GET)
        images, ending = _LAYOUTS[masks]
        self.pairs = [
            pair
            for part in parts
            for pair in folder_pairs(
                base / images / part, base / masks / part, self.root, (".jpg", ending), _GET
            )
        ]
