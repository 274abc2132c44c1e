"""Cityscapes as its archives unpack: `leftImg8bit` with `gtFine` or `gtCoarse`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.layouts import Benchmark, Layout, spotted
from keras_focusseg.data.sources.pairs import pair_count
from keras_focusseg.errors import DataError

_SPLITS = {"gtFine": ("train", "val"), "gtCoarse": ("train", "train_extra", "val")}
_LABELS = {"labelIds": "raw ids to 19 classes", "labelTrainIds": "19 train ids as they are"}


def _layout(annotations: str, *labels: str) -> Layout:
    return Layout(
        f"{annotations}/{{}}",
        ("leftImg8bit/{}",),
        {split: split for split in _SPLITS[annotations]},
        "_leftImg8bit.png",
        tuple(f"_{annotations}_{label}.png" for label in labels),
        deep=True,
    )


class Cityscapes(Benchmark):
    """Cityscapes (Cordts et al. 2016), 19 classes.

    Expected in the root, or in folders of the root named as you like:
    `leftImg8bit/{split}/{city}/*_leftImg8bit.png` (1024x2048) and
    `gtFine/{split}/{city}/*_gtFine_labelIds.png`, whose raw ids become the 19 train ids, 255
    elsewhere. If there are no `labelIds` at all, `*_gtFine_labelTrainIds.png` are taken. Mirrors
    without city folders are read too. The official splits have 2975 (train) and 500 (val) images.

    Args:
        root: Folder that the archives were unpacked into.
        split: "train", "val" or "train+val"; with coarse annotations "train_extra" as well. The
            labels of "test" are not public.
        annotations: "gtFine", or "gtCoarse" for the coarse ones.
        labels: Which files: "labelIds", "labelTrainIds" or, by default, the first that is there.
        strict: Whether an image or mask without partner is an error, or left out and listed in
            `unpaired`.

    Raises:
        DataError: If a folder is missing, an image or mask has no partner, or the split is
            "test" or unknown.

    Example:
        ```python
        val = Cityscapes("cityscapes", "val")
        ```
    """

    name = "cityscapes"
    title = "Cityscapes"
    layouts = (_layout("gtFine", *_LABELS), _layout("gtCoarse", *_LABELS))
    get = (
        "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of "
        "cityscapes-dataset.com into one folder; for gtCoarse, leftImg8bit_trainextra.zip and "
        "gtCoarse.zip as well."
    )
    unlabeled = (
        "gtFine/test holds dummies that ignore every pixel, and its server scores predictions."
    )

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
                f"Cityscapes: annotations={annotations!r}, labels={labels!r}",
                kind="option that is not possible",
                expected="annotations 'gtFine' or 'gtCoarse', labels 'labelIds', 'labelTrainIds' "
                "or None",
            )
        wanted = (labels,) if labels else tuple(_LABELS)
        _, ending = self._open(root, split, strict, [_layout(annotations, *wanted)])
        found = ending.removeprefix(f"_{annotations}_").removesuffix(".png")
        self.label_space = self.encoding = label_spaces.get("cityscapes")
        if found == "labelTrainIds":
            self.encoding = replace(self.label_space, ids=(), ignored_ids=(label_spaces.IGNORE,))
        if annotations == "gtCoarse":
            self.note = "coarse annotations: scores do not compare with those on gtFine"
        self.layout = (
            f"leftImg8bit with {annotations} {found} ({_LABELS[found]}), "
            f"{pair_count(self.pairs, self.unpaired)}"
        )

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have images and fine labels there."""
        found = spotted(root, cls.layouts[:1])
        return tuple(found[1].labeled(found[0])) if found else ()
