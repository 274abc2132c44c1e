"""Cityscapes as its archives unpack: `leftImg8bit` with `gtFine` or `gtCoarse`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import existing_folder
from keras_focusseg.data.sources.pairs import (
    PairSource,
    entries,
    folder_pairs,
    listing,
    located,
    pair_count,
    split_parts,
    spotted,
)

_GET = (
    "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of cityscapes-dataset.com "
    "into one folder."
)
_GET_COARSE = (
    "Unpack leftImg8bit_trainvaltest.zip, leftImg8bit_trainextra.zip and gtCoarse.zip of "
    "cityscapes-dataset.com into one folder."
)
_DUMMIES = "gtFine/test holds dummies that ignore every pixel, and its server scores predictions."
_SPLITS = {"gtFine": ("train", "val"), "gtCoarse": ("train", "train_extra", "val")}
_LABELS = {"labelIds": "raw ids to 19 classes", "labelTrainIds": "19 train ids as they are"}
_COARSE_NOTE = "coarse annotations: scores do not compare with those on gtFine"


class Cityscapes(PairSource):
    """Cityscapes (Cordts et al. 2016), 19 classes.

    Expected in the root, or in folders of the root named as you like:
    `leftImg8bit/{split}/{city}/*_leftImg8bit.png` (1024x2048) and
    `gtFine/{split}/{city}/*_gtFine_labelIds.png`, whose raw ids become the 19 train ids, 255
    elsewhere. If there are no `labelIds` at all, `*_gtFine_labelTrainIds.png` are taken. Mirrors
    without city folders are read too. The official splits have 2975 (train) and 500 (val) images.

    Args:
        root: folder that the archives were unpacked into.
        split: "train", "val" or "train+val"; with coarse annotations "train_extra" as well. The
            labels of "test" are not public.
        annotations: "gtFine", or "gtCoarse" for the coarse ones.
        labels: which files: "labelIds", "labelTrainIds" or, by default, the first that is there.
        strict: whether an image or mask without partner is an error, or left out and listed in
            `unpaired`.

    Raises:
        DataError: if a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = Cityscapes("cityscapes", "val")
        ```
    """

    name = "cityscapes"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        annotations: str = "gtFine",
        labels: str | None = None,
        strict: bool = True,
    ) -> None:
        if annotations not in _SPLITS or labels not in (None, *_LABELS):
            raise DataError(
                f"Cityscapes: annotations={annotations!r}, labels={labels!r}; expected "
                f"annotations 'gtFine' or 'gtCoarse', labels 'labelIds', 'labelTrainIds' or None."
            )
        self.root = existing_folder(root, "the Cityscapes folder").resolve()
        self.split = split
        self.label_space = label_spaces.get("cityscapes")
        get = _GET if annotations == "gtFine" else _GET_COARSE
        images, masks = (
            located(self.root, [folder], f"Cityscapes' {folder}", get)[0] / folder
            for folder in ("leftImg8bit", annotations)
        )
        parts = split_parts(split, _SPLITS[annotations], "Cityscapes", _DUMMIES)
        folders = [
            (
                existing_folder(images / part, "the image folder", get),
                existing_folder(masks / part, "the mask folder", get),
            )
            for part in parts
        ]
        # A mirror without city folders has the files themselves there.
        deep = [any(entry.is_dir() for entry in entries(folder)) for folder, _ in folders]
        if labels is None:
            # One encoding for all: raw id 7 is road and train id 7 a sign, so never mix them.
            ending = f"_{annotations}_labelIds.png"
            some_raw = any(
                listing(folder, self.root, ending, inner)
                for (_, folder), inner in zip(folders, deep, strict=True)
            )
            labels = "labelIds" if some_raw else "labelTrainIds"
        self.encoding = self.label_space
        if labels == "labelTrainIds":
            self.encoding = replace(self.label_space, ids=(), ignored_ids=(label_spaces.IGNORE,))
        endings = ("_leftImg8bit.png", f"_{annotations}_{labels}.png")
        left_out: list[Path] = []
        self.unpaired = left_out
        self.pairs = [
            (name.rpartition("/")[2], image, mask)
            for (image_folder, mask_folder), inner in zip(folders, deep, strict=True)
            for name, image, mask in folder_pairs(
                image_folder,
                mask_folder,
                self.root,
                endings,
                get,
                deep=inner,
                left_out=None if strict else left_out,
            )
        ]
        self.note = "" if annotations == "gtFine" else _COARSE_NOTE
        self.layout = (
            f"leftImg8bit with {annotations} {labels} ({_LABELS[labels]}), "
            f"{pair_count(self.pairs, left_out)}"
        )

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether `leftImg8bit` and `gtFine` or `gtCoarse` lie there; never raises."""
        return bool(spotted(root, ["leftImg8bit"]) and spotted(root, list(_SPLITS)))

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have images and fine labels there."""
        images, masks = spotted(root, ["leftImg8bit"]), spotted(root, ["gtFine"])
        return tuple(
            split
            for split in _SPLITS["gtFine"]
            if images and masks and (images / split).is_dir() and (masks / split).is_dir()
        )
