"""BDD100K's semantic segmentation, in the layouts that its archives have had."""

from __future__ import annotations

from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import existing_folder
from keras_focusseg.data.sources.pairs import (
    PairSource,
    folder_pairs,
    located,
    pair_count,
    printable,
    split_parts,
    spotted,
)

# Masks, the images that go with them, and what the masks' names end in.
_LAYOUTS = {
    "labels/sem_seg/masks": ("images/10k", ".png"),
    "seg/labels": ("seg/images", "_train_id.png"),
    "bdd100k_seg_maps/labels": ("bdd100k_seg_maps/images", "_train_id.png"),
}
# Where the images lie if they were unpacked into a folder of their own.
_IMAGES = ("images/10k", "bdd100k_images_10k/10k", "10k", "seg/images")
_SPLITS = ("train", "val")
_GET = (
    "Unpack '10K Images' and 'Semantic Segmentation' of bdd-data.berkeley.edu; they make a folder "
    "bdd100k with images/10k and labels/sem_seg/masks."
)
_PARTNERS = (
    f"{_GET} The archive of images from before June 2021 lacks a few images that have masks and "
    "holds a few that have none: download it again, or say strict=False to leave these out."
)


class BDD100K(PairSource):
    """BDD100K's 10,000 images with semantic masks (Yu et al. 2020), 19 classes.

    Expected in the root, or at most two folders below: `images/10k/{split}/*.jpg` with
    `labels/sem_seg/masks/{split}/*.png`, or the older `seg/images/{split}/*.jpg` with
    `seg/labels/{split}/*_train_id.png`, or `bdd100k_images_10k/10k` with
    `bdd100k_seg_maps/labels`. Images and masks may lie in folders of their own. Masks hold 0..18
    and 255 where ignored. The official splits have 7000 (train) and 1000 (val) images of 720x1280.

    Args:
        root: folder that the archives were unpacked into.
        split: "train", "val" or "train+val". The labels of "test" are not public.
        strict: whether an image or mask without partner is an error, or left out and listed in
            `unpaired`.

    Raises:
        DataError: if a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = BDD100K("bdd100k", "val")
        ```
    """

    name = "bdd100k"

    def __init__(self, root: str | Path, split: str = "train", *, strict: bool = True) -> None:
        self.root = existing_folder(root, "the BDD100K folder").resolve()
        self.split = split
        self.label_space = self.encoding = label_spaces.get("bdd100k")
        parts = split_parts(split, _SPLITS, "BDD100K", "they are not public.")
        base, found = located(self.root, list(_LAYOUTS), "BDD100K", _GET)
        folder, ending = _LAYOUTS[found]
        masks, images = base / found, base / folder
        if not images.is_dir() and (elsewhere := spotted(self.root, _IMAGES)):
            images = elsewhere
        left_out: list[Path] = []
        self.unpaired = left_out
        for part in parts:
            existing_folder(images / part, "the image folder", _GET)
            existing_folder(masks / part, "the mask folder", _GET)
        self.pairs = [
            pair
            for part in parts
            for pair in folder_pairs(
                images / part,
                masks / part,
                self.root,
                (".jpg", ending),
                _PARTNERS,
                left_out=None if strict else left_out,
            )
        ]
        where = (path.relative_to(self.root).as_posix() for path in (images, masks))
        self.layout = f"{printable(' with '.join(where))}, {pair_count(self.pairs, left_out)}"

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether images and semantic masks lie there; never raises."""
        return bool(spotted(root, list(_LAYOUTS)) and spotted(root, _IMAGES))

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have masks there."""
        masks = spotted(root, list(_LAYOUTS))
        return tuple(split for split in _SPLITS if masks and (masks / split).is_dir())
