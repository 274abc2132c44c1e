"""CamVid's 701 frames: which make which split, and which sequence each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_focusseg.data.sources.base import some
from keras_focusseg.data.sources.listing import entries
from keras_focusseg.data.sources.pairs import Pair
from keras_focusseg.errors import DataError

SEQUENCES = ("0001TP", "0006R0", "0016E5", "Seq05VD")
"""What the names of CamVid's frames begin with."""

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

# Positions in the author's order, counted from 0.
_AUTHOR = {
    "author_random_train": slice(0, 421),
    "author_random_test": slice(421, 652),
    "author_random_rest": slice(652, 701),
}
AUTHOR = tuple(_AUTHOR)
"""The splits behind the figures that SERNet-Former's author published."""

KNOWN_STRAY = {"Seq05VD_f02610": 175}
"""This label image has blended lines: so many pixels have a colour that belongs to no class."""


def split_frames(split: str) -> list[str]:
    """Names of the frames of one split, such as "0001TP_006690", in the order of the source.

    The author's splits are cut from one order of the 701 names: sorted alphabetically, then by
    701 uniform numbers of the Mersenne twister with seed 5489 (MATLAB's default).
    """
    if split in _FRAMES:
        return [
            pattern.format(number)
            for pattern, first, last, step in _FRAMES[split]
            for number in range(first, last + 1, step)
        ]
    names = sorted(every_frame())
    # NumPy keeps the stream of its old generator as it is, for good.
    order = np.argsort(np.random.RandomState(5489).random_sample(len(names)), kind="stable")
    return [names[i] for i in order[_AUTHOR[split]]]


def every_frame() -> set[str]:
    """The names of all 701 frames."""
    return {frame for split in OFFICIAL for frame in split_frames(split)}


def sequence_of(frame: str) -> str:
    """The sequence that a frame belongs to: its name up to the first "_"."""
    return frame.split("_")[0]


def holds_frames(folder: Path) -> bool:
    """Whether files there are named like CamVid's frames; never raises."""
    try:
        return any(sequence_of(entry.name) in SEQUENCES for entry in entries(folder)[:20])
    except DataError:
        return False


def check_frames(on_disk: Iterable[str], split: str, folder: Path) -> None:
    """Refuses frames that are not CamVid's, and a split of which frames are missing.

    Raises:
        DataError: There are such frames, or such a split.
    """
    there, every = set(on_disk), every_frame()
    if foreign := sorted(there - every):
        raise DataError(
            f"{len(foreign)} of {len(there)} frames are none of CamVid's {len(every)}: "
            f"{some(foreign)}",
            kind="frame that is not CamVid's",
            file=folder,
            fix="Move them away, or give them their original names.",
        )
    # The author's order runs over all frames, so a subset would have another one.
    wanted = every if split in _AUTHOR else set(split_frames(split))
    if missing := sorted(wanted - there):
        raise DataError(
            f"split {split!r} needs {len(wanted)} frames, and {len(missing)} of them are "
            f"missing: {some(missing)}. {len(there)} frames were found there",
            kind="split of which frames are missing",
            file=folder,
            fix="Restore them from the archive.",
        )


def choose_sequences(
    pairs: list[Pair], sequences: Sequence[str] | None, exclude_sequences: Sequence[str], split: str
) -> list[Pair]:
    """The pairs whose sequence is wanted.

    That is `sequences` alone, or all if it is None, without `exclude_sequences`; each may be a
    single name.

    Raises:
        DataError: The split has no such sequence, or no pair is left.
    """
    wanted, unwanted = _names(sequences), _names(exclude_sequences) or ()
    present = sorted({sequence_of(name) for name, _, _ in pairs})
    kind = "sequence that is not there"
    if unknown := [s for s in (*(wanted or ()), *unwanted) if s not in present]:
        raise DataError(
            f"CamVid split {split!r} has no sequence {some(unknown)}; it has {some(present, 10)}",
            kind=kind,
        )
    chosen = set(present if wanted is None else wanted) - set(unwanted)
    kept = [pair for pair in pairs if sequence_of(pair[0]) in chosen]
    if not kept:
        raise DataError(
            f"CamVid split {split!r}: no frame is left with sequences={wanted} and "
            f"exclude_sequences={unwanted}; it has {some(present, 10)}",
            kind=kind,
        )
    return kept


def _names(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)
