"""CamVid at its own size: 960x720, label images in 32 colours, official and author's splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import existing_folder, some
from keras_focusseg.data.sources.camvid import choose_sequences, holds_frames
from keras_focusseg.data.sources.pairs import (
    PairSource,
    listing,
    located,
    pair_count,
    paired,
    split_parts,
    spotted,
)

# Label images, and the images that go with them.
_LAYOUTS = {"LabeledApproved_full": "701_StillsRaw_full", "labels": "images"}
_GET = (
    "Expected 701_StillsRaw_full/{frame}.png with LabeledApproved_full/{frame}_L.png, as the "
    "CamVid page of the University of Cambridge has them, or images/ with labels/."
)

# The lists of the SegNet tutorial as ranges: name, first and last number, step.
_FRAMES = {
    "train": (
        ("0001TP_{:06}", 6690, 8520, 30),
        ("0006R0_f{:05}", 930, 3930, 30),
        ("0016E5_{:05}", 390, 870, 30),
        ("0016E5_{:05}", 901, 901, 30),
        ("0016E5_{:05}", 930, 2400, 30),
        ("0016E5_{:05}", 4350, 7920, 30),
        ("0016E5_{:05}", 8190, 8640, 30),
    ),
    "val": (("0016E5_{:05}", 7959, 8159, 2),),
    "test": (("0001TP_{:06}", 8550, 10380, 30), ("Seq05VD_f{:05}", 0, 5100, 30)),
}
OFFICIAL = tuple(_FRAMES)
"""The official splits."""

# Positions in `_author_order`, counted from 0.
_AUTHOR = {
    "author_random_train": slice(0, 421),
    "author_random_test": slice(421, 652),
    "author_random_rest": slice(652, 701),
}
_AUTHOR_NOTE = (
    "random split over all sequences: neighbouring video frames lie on both sides, so scores do "
    "not compare with those on the official split"
)
# This label image has blended lines: so many pixels have a colour that belongs to no class.
KNOWN_STRAY = {"Seq05VD_f02610": 175}


class CamVid720(PairSource):
    """CamVid (Brostow et al. 2008/2009) at its own size: 701 frames of 720x960, 32 colours.

    Expected in the root, or in a folder of it: `701_StillsRaw_full/{frame}.png` with
    `LabeledApproved_full/{frame}_L.png`, or `images/{frame}.png` with `labels/{frame}_L.png`.

    The official splits are those of the SegNet tutorial: "train" (367 frames), "val" (101) and
    "test" (233). A second family repeats the random partition behind the figures that
    SERNet-Former's author published: "author_random_train" (421 frames),
    "author_random_test" (the 231 frames of his list "Checkpoint") and "author_random_rest" (49).
    It mixes the frames of all sequences, so nearly every test frame has a neighbour of a second
    later or earlier in training. **A score on it does not compare with one on the official
    split**; `note` says so.

    Args:
        root: folder that the dataset lies in.
        split: one name, or several of the same family joined by "+", as in "train+val".
        grouping: which of the 32 classes become which of the 11, see `label_spaces.grouping`:
            "mathworks" (SERNet-Former's), "segnet" or "exact_colour"; None keeps 31 classes.
        sequences: keep only frames of these sequences, e.g. ("0001TP",); None keeps all.
        exclude_sequences: leave out frames of these sequences.
        max_stray: up to so many pixels of a label image may have a colour that no class has;
            they are ignored, more are an error. Frame Seq05VD_f02610 is known to have 175 of
            them, which are always ignored.
        strict: whether an image or label image without partner is an error, or left out and
            listed in `unpaired`.

    Raises:
        DataError: if a folder or a frame of the split is missing, an image or label image has no
            partner, a frame is none of CamVid's, or no frame stays.

    Example:
        ```python
        train = CamVid720("CamVid", "train", grouping="mathworks")
        ```
    """

    name = "camvid720"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        grouping: str | None = "mathworks",
        sequences: Sequence[str] | None = None,
        exclude_sequences: Sequence[str] = (),
        max_stray: int = 0,
        *,
        strict: bool = True,
    ) -> None:
        self.root = existing_folder(root, "the CamVid folder").resolve()
        self.split = split
        self.max_stray = max_stray
        try:
            self.encoding = groups = label_spaces.grouping("camvid32", grouping)
        except ValueError as error:
            raise DataError(str(error)) from error
        self.label_space = groups.label_space
        self.note = f"32 colours, grouping {groups.name!r}"
        parts = split_parts(split, (*_FRAMES, *_AUTHOR), "CamVid")
        if (by_author := [part for part in parts if part in _AUTHOR]) and by_author != parts:
            raise DataError(f"CamVid: {split!r} joins splits of two families, which overlap.")
        if by_author:
            self.note += f"; {_AUTHOR_NOTE}"
        base, folder = located(self.root, list(_LAYOUTS), "CamVid at 960x720", _GET)
        images = existing_folder(base / _LAYOUTS[folder], "the image folder", _GET)
        masks = base / folder
        left_out: list[Path] = []
        self.unpaired = left_out
        pairs = paired(
            listing(images, self.root, ".png"),
            listing(masks, self.root, "_L.png"),
            (images, masks),
            "Restore the missing files, or move their partners away.",
            None if strict else left_out,
        )
        on_disk = {pair[0]: pair for pair in pairs}
        halves = {path.stem.removesuffix("_L") for path in left_out}
        check_frames(set(on_disk) | halves, parts, images)
        frames = [frame for part in parts for frame in split_frames(part) if frame not in halves]
        chosen = [on_disk[frame] for frame in frames]
        self.pairs = choose_sequences(chosen, sequences, exclude_sequences, split)
        self.layout = (
            f"{images.name} with {folder} (label images in 32 colours), "
            f"{pair_count(self.pairs, left_out)}"
        )

    def max_stray_of(self, name: str) -> int:
        """`max_stray`, or more for the one frame that is known to need it."""
        return max(self.max_stray, KNOWN_STRAY.get(name, 0))

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether label images of CamVid's frames lie there; never raises."""
        masks = spotted(root, list(_LAYOUTS))
        return (
            masks is not None
            and (masks.parent / _LAYOUTS[masks.name]).is_dir()
            and holds_frames(masks)
            and bool(_frames_in(masks))
        )

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The official splits of which all label images are there."""
        masks = spotted(root, list(_LAYOUTS))
        there = _frames_in(masks) if masks else set()
        return tuple(split for split in OFFICIAL if there.issuperset(split_frames(split)))


def _frames_in(masks: Path) -> set[str]:
    """Frames whose label images lie in a folder; none if it cannot be read."""
    try:
        return set(listing(masks, masks.resolve(), "_L.png"))
    except DataError:
        return set()


def split_frames(split: str) -> list[str]:
    """Names of the frames of one split, such as "0001TP_006690", in the order of the source.

    The author's splits are cut from one order of the 701 names: sorted alphabetically, then by
    701 uniform numbers of the Mersenne twister with seed 5489 (MATLAB's default).

    Args:
        split: "train", "val", "test", or one of the splits "author_random_...".

    Returns:
        The names.
    """
    if split in _FRAMES:
        return [
            pattern.format(number)
            for pattern, first, last, step in _FRAMES[split]
            for number in range(first, last + 1, step)
        ]
    names = sorted(name for official in _FRAMES for name in split_frames(official))
    # NumPy keeps the stream of its old generator as it is, for good.
    order = np.argsort(np.random.RandomState(5489).random_sample(len(names)), kind="stable")
    return [names[i] for i in order[_AUTHOR[split]]]


def check_frames(on_disk: set[str], parts: list[str], folder: Path) -> None:
    """Refuse frames that are not CamVid's, and splits of which frames are missing.

    Args:
        on_disk: the frames that are there.
        parts: the splits that are wanted.
        folder: where they are, for the error.

    Raises:
        DataError: if there is a frame that CamVid does not have, or one of a split is missing.
    """
    every = {name for split in _FRAMES for name in split_frames(split)}
    if foreign := sorted(on_disk - every):
        raise DataError(
            f"{folder}: {len(foreign)} of {len(on_disk)} frames are none of CamVid's "
            f"{len(every)}: {some(foreign)}. Move them away, or give them their original names."
        )
    for part in parts:
        # The author's order runs over all frames, so a subset would have another one.
        wanted = every if part in _AUTHOR else set(split_frames(part))
        if missing := sorted(wanted - on_disk):
            raise DataError(
                f"{folder}: split {part!r} needs {len(wanted)} frames, and {len(missing)} of them "
                f"are missing: {some(missing)}. {len(on_disk)} frames were found there. Restore "
                "them from the archive."
            )
