"""ADE20K's scene parsing benchmark, as `ADEChallengeData2016.zip` unpacks."""

from __future__ import annotations

from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import existing_folder
from keras_focusseg.data.sources.pairs import (
    PairSource,
    entries,
    folder_pairs,
    located,
    pair_count,
    split_parts,
    spotted,
)

_FOLDERS = {"train": "training", "val": "validation"}
_MARKS = [f"annotations/{folder}" for folder in _FOLDERS.values()]
_GET = (
    "Unpack ADEChallengeData2016.zip, the scene parsing benchmark; the full ADE20K dataset is "
    "another one, with thousands of classes."
)
# The full dataset sorts its images by scene: images/training/a/abbey, images/ADE/training.
_FULL = ("images/training/a", "images/ADE/training")


class ADE20K(PairSource):
    """ADE20K's scene parsing benchmark (Zhou et al. 2017), 150 classes.

    Expected in the root, or at most two folders below, as in `ADEChallengeData2016`:
    `images/{training,validation}/*.jpg` and `annotations/{training,validation}/*.png`. Masks hold
    1..150 for the classes, which become 0..149, and 0 where nothing is labelled, which is ignored.
    The official splits have 20210 (train) and 2000 (val) images, of many sizes: train with
    `Augment(base_size=(512, 2048), crop_size=...)`. Grey images become RGB.

    Args:
        root: folder that the archive was unpacked into.
        split: "train", "val" or "train+val". The labels of "test" are not public.
        strict: whether an image or mask without partner is an error, or left out and listed in
            `unpaired`.

    Raises:
        DataError: if a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = ADE20K("ADEChallengeData2016", "val")
        ```
    """

    name = "ade20k"

    def __init__(self, root: str | Path, split: str = "train", *, strict: bool = True) -> None:
        self.root = existing_folder(root, "the ADE20K folder").resolve()
        self.split = split
        self.label_space = self.encoding = label_spaces.get("ade20k")
        parts = split_parts(split, tuple(_FOLDERS), "ADE20K", "they are not public.")
        if not spotted(self.root, _MARKS) and (full := spotted(self.root, _FULL)):
            raise DataError(
                f"{self.root}: this is the full ADE20K dataset, which {full} gives away, with "
                "thousands of classes; expected its scene parsing benchmark of 150. Get "
                "ADEChallengeData2016.zip and open the folder that it unpacks to."
            )
        base, masks = located(self.root, ["annotations"], "ADE20K", _GET)
        left_out: list[Path] = []
        self.unpaired = left_out
        self.pairs = [
            pair
            for folder in (_FOLDERS[part] for part in parts)
            for pair in folder_pairs(
                base / "images" / folder,
                base / masks / folder,
                self.root,
                (".jpg", ".png"),
                _GET,
                left_out=None if strict else left_out,
            )
        ]
        self.layout = (
            "images with annotations (0 unlabelled, 1..150 to 150 classes), "
            f"{pair_count(self.pairs, left_out)}"
        )

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether the benchmark's folders and file names lie there; never raises."""
        masks = spotted(root, _MARKS)
        try:  # Others use these folders too, but not these names.
            return masks is not None and any(
                entry.name.startswith("ADE_") for entry in entries(masks)[:10]
            )
        except DataError:
            return False

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have masks there."""
        masks = spotted(root, _MARKS)
        return tuple(
            split
            for split, folder in _FOLDERS.items()
            if masks and (masks.parent / folder).is_dir()
        )
