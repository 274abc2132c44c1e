"""ADE20K's scene parsing benchmark, as `ADEChallengeData2016.zip` unpacks."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from keras_focusseg.data.sources.base import existing_folder
from keras_focusseg.data.sources.layouts import Benchmark, Layout, first_masks, spotted
from keras_focusseg.data.sources.listing import entries
from keras_focusseg.errors import DataError

_FULL = re.compile(r"ADE_.+_(seg|parts_\d+)\.png")
# So many folders, and so many entries of each, are looked at to find a mask of the full dataset.
_FOLDERS, _ENTRIES = 60, 200


class ADE20K(Benchmark):
    """ADE20K's scene parsing benchmark (Zhou et al. 2017), 150 classes.

    Expected in the root, or at most two folders below, as in `ADEChallengeData2016`:
    `images/{training,validation}/*.jpg` and `annotations/{training,validation}/*.png`; or without
    these inner folders, as in the sample archive, where `ADE_train_` and `ADE_val_` in the names
    tell the splits apart. Masks hold 1..150 for the classes, which become 0..149, and 0 where
    nothing is labelled, which is ignored. The official splits have 20210 (train) and 2000 (val)
    images, of many sizes: train with `Augment(base_size=(512, 2048), crop_size=...)`. Grey images
    become RGB.

    Args:
        root: Folder that the archive was unpacked into.
        split: "train", "val" or "train+val". The labels of "test" are not public.
        strict: Whether an image or mask without partner is an error, or left out and listed in
            `unpaired`.

    Raises:
        DataError: If a folder is missing, an image or mask has no partner, the split is "test" or
            unknown, or this is the full ADE20K, whose masks are other ones.

    Example:
        ```python
        val = ADE20K("ADEChallengeData2016", "val")
        ```
    """

    name = "ade20k"
    title = "ADE20K"
    layouts = (
        Layout(
            "annotations/{}", ("images/{}",), {"train": "training", "val": "validation"}, ".jpg"
        ),
        Layout(
            "annotations", ("images",), {"train": "train", "val": "val"}, ".jpg", start="ADE_{}_"
        ),
    )
    get = (
        "Unpack ADEChallengeData2016.zip, the scene parsing benchmark; the full ADE20K dataset is "
        "another one, with thousands of classes."
    )

    how = " (0 unlabelled, 1..150 to 150 classes)"

    def _open(
        self, root: str | Path, split: str, strict: bool, layouts: Sequence[Layout]
    ) -> tuple[Layout, str]:
        top = existing_folder(root, "the ADE20K folder")
        if mask := full_ade20k(top):
            raise full_ade20k_error(top, mask)
        return super()._open(root, split, strict, layouts)

    @classmethod
    def recognizes(cls, root: str | Path) -> bool:
        """Whether the benchmark lies there, or the full ADE20K, to be told so; never raises."""
        try:
            if found := spotted(root, cls.layouts):
                names = [entry.name for entry in entries(first_masks(found))[:10]]
                # Others use these folders too, but not these names.
                if any(name.startswith("ADE_") for name in names):
                    return True
            return full_ade20k(Path(root)) is not None
        except (OSError, ValueError):
            return False


def full_ade20k_error(root: Path, mask: Path) -> DataError:
    """What to say of the full ADE20K dataset, whose masks code thousands of classes."""
    return DataError(
        f"this is the full ADE20K dataset, as {mask.name} shows: its masks code thousands of "
        "classes and single objects in their colours",
        kind="another dataset",
        expected="its scene parsing benchmark of 150 classes",
        file=root,
        fix="Get ADEChallengeData2016.zip of data.csail.mit.edu/places/ADEchallenge and open the "
        "folder that it unpacks to.",
    )


def full_ade20k(root: Path) -> Path | None:
    """A mask of the full ADE20K dataset below a folder, if one is soon found."""
    waiting = [root]
    for _ in range(_FOLDERS):
        if not waiting:
            return None
        try:
            with os.scandir(waiting.pop()) as found:
                some_entries = sorted(itertools.islice(found, _ENTRIES), key=lambda e: e.name)
        except OSError:  # who opens it will be told
            continue
        for entry in some_entries:
            if _FULL.fullmatch(entry.name):
                return Path(entry.path)
        inner = [e for e in some_entries if not e.name.startswith(".")]
        waiting += [Path(e.path) for e in inner[::-1] if e.is_dir(follow_symlinks=False)]
    return None
