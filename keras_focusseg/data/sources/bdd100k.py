"""BDD100K's semantic segmentation, in the layouts that its archives have had."""

from __future__ import annotations

from keras_focusseg.data.sources.layouts import Benchmark, Layout

_SPLITS = {"train": "train", "val": "val"}
# Where the images lie if they were unpacked into a folder of their own.
_IMAGES = ("images/10k/{}", "bdd100k_images_10k/10k/{}", "10k/{}", "seg/images/{}")


class BDD100K(Benchmark):
    """BDD100K's 10,000 images with semantic masks (Yu et al. 2020), 19 classes.

    Expected in the root, or at most two folders below: `images/10k/{split}/*.jpg` with
    `labels/sem_seg/masks/{split}/*.png`, or the older `seg/images/{split}/*.jpg` with
    `seg/labels/{split}/*_train_id.png`, or `bdd100k_images_10k/10k` with
    `bdd100k_seg_maps/labels`. Images and masks may lie in folders of their own. Masks hold 0..18
    and 255 where ignored. The official splits have 7000 (train) and 1000 (val) images of 720x1280.

    Args:
        root: Folder that the archives were unpacked into.
        split: "train", "val" or "train+val". The labels of "test" are not public.
        strict: Whether an image or mask without partner is an error, or left out and listed in
            `unpaired`.

    Raises:
        DataError: If a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = BDD100K("bdd100k", "val")
        ```
    """

    name = "bdd100k"
    title = "BDD100K"
    layouts = (
        Layout("labels/sem_seg/masks/{}", _IMAGES, _SPLITS, ".jpg"),
        Layout("seg/labels/{}", ("seg/images/{}", *_IMAGES), _SPLITS, ".jpg", ("_train_id.png",)),
        Layout(
            "bdd100k_seg_maps/labels/{}",
            ("bdd100k_seg_maps/images/{}", *_IMAGES),
            _SPLITS,
            ".jpg",
            ("_train_id.png",),
        ),
    )
    get = (
        "Unpack '10K Images' and 'Semantic Segmentation' of bdd-data.berkeley.edu; they make a "
        "folder bdd100k with images/10k and labels/sem_seg/masks."
    )
    lone = (
        f"{get} The archive of images from before June 2021 lacks a few images that have masks and "
        "holds a few that have none: download it again, or say strict=False to leave these out."
    )
