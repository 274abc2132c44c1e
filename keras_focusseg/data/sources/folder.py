"""Your own data: a folder of images and a folder of masks, paired by name."""

from __future__ import annotations

from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import existing_folder, inside
from keras_focusseg.data.sources.pairs import PairSource, paired
from keras_focusseg.data.sources.readers import SUFFIXES


class Folder(PairSource):
    """Images in one folder, masks in another, paired by the name without its suffix.

    Subfolders are searched as well, and belong to the name: `images/a/1.jpg` goes with
    `masks/a/1.png`. Hidden files and files that are no pictures (by their suffix) do not count.

    Args:
        images: folder of images.
        masks: folder of masks: one channel of ids or a palette, not colours.
        label_space: what the ids in the masks mean, or the name of a benchmark's label space;
            for your own classes see `label_spaces.from_names`.
        mask_suffix: what the masks' names have in addition, e.g. "_L" for `1_L.png`.
        name: name of the dataset.
        split: which part of it this is.

    Raises:
        DataError: if a folder is missing, an image or mask has no partner, or two files have the
            same name but for the suffix.

    Example:
        ```python
        space = label_spaces.from_names(["background", "crack"])
        Folder("images", "masks", space)
        ```
    """

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        label_space: label_spaces.LabelSpace | str,
        mask_suffix: str = "",
        name: str = "folder",
        split: str = "all",
    ) -> None:
        self.name = name
        self.split = split
        self.label_space = self.encoding = (
            label_spaces.get(label_space) if isinstance(label_space, str) else label_space
        )
        self.images = existing_folder(images, "the image folder").resolve()
        self.masks = existing_folder(masks, "the mask folder").resolve()
        image_files = _pictures(self.images, "")
        mask_files = _pictures(self.masks, mask_suffix)
        self.pairs = paired(
            image_files,
            mask_files,
            (self.images, self.masks),
            "Add the partners, move the files away, or say mask_suffix=... if the masks' names "
            "have an ending.",
        )
        if not self.pairs:
            raise DataError(f"{self.images}: no picture there; looked for {', '.join(SUFFIXES)}.")


def _pictures(folder: Path, ending: str) -> dict[str, Path]:
    """Pictures below the folder by name without suffix and ending, subfolders included."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or path.suffix.lower() not in SUFFIXES or path.is_dir():
            continue
        stem = relative.with_suffix("").as_posix()
        if not stem.endswith(ending):
            raise DataError(f"{path}: the name does not end in {ending!r} as mask_suffix says.")
        stem = stem[: len(stem) - len(ending)]
        if stem in found:
            raise DataError(
                f"{path}: has the same name as {found[stem].name!r} but for the suffix, so pairs "
                "are not defined. Rename or move one of them."
            )
        found[stem] = inside(path, folder)
    return found
