"""CamVid as the SegNet tutorial laid it out: 480x360, 11 classes, lists of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import existing_folder, inside, some
from keras_focusseg.data.sources.pairs import (
    Pair,
    PairSource,
    entries,
    listing,
    located,
    pair_count,
    paired,
    printable,
    spotted,
)

SEQUENCES = ("0001TP", "0006R0", "0016E5", "Seq05VD")
"""What the names of CamVid's frames begin with."""

_SPLITS = ("train", "val", "test")
_MASKS = [f"{split}annot" for split in _SPLITS]


class CamVid(PairSource):
    """CamVid (Brostow et al. 2008), the 480x360 copy with 11 classes of the SegNet tutorial.

    Expected below the root, for each split: images `train/*.png`, masks `trainannot/*.png` with
    0..10 = class and 11 = void, and the list `train.txt` with an image and a mask a line. The
    lists carry the paths of their author's machine (`/SegNet/CamVid/train/x.png`): only the file
    names in them count, and nothing outside the root is read. Copies without any list are paired
    by name. The official splits have 367 (train), 101 (val) and 233 (test) frames. A frame's
    sequence is its name up to the first "_".

    Args:
        root: folder that holds the lists, or one or two above.
        split: "train", "val" or "test", or several joined by "+", as in "train+val".
        sequences: keep only frames of these sequences, e.g. ("0001TP",); None keeps all.
        exclude_sequences: leave out frames of these sequences. Neighbouring frames are nearly
            equal, so holding out a whole sequence is the honest check for choices.
        strict: whether a file that is not listed, or listed and missing, is an error, or left out
            and listed in `unpaired`.

    Raises:
        DataError: if a folder, list or file is missing, a file is not listed, or no frame stays.

    Example:
        ```python
        train = CamVid("camvid", exclude_sequences=("0001TP",))
        held_out = CamVid("camvid", sequences=("0001TP",))
        ```
    """

    name = "camvid"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        sequences: Sequence[str] | None = None,
        exclude_sequences: Sequence[str] = (),
        *,
        strict: bool = True,
    ) -> None:
        self.root = existing_folder(root, "the CamVid folder").resolve()
        self.split = split
        self.label_space = self.encoding = label_spaces.get("camvid11")
        base = self.root
        if spotted(base, _MASKS):
            base, _ = located(self.root, _MASKS, "SegNet's copy of CamVid", "")
        left_out: list[Path] = []
        self.unpaired = left_out
        pairs = [
            pair
            for part in split.split("+")
            for pair in _pairs(base, self.root, part.strip(), None if strict else left_out)
        ]
        self.pairs = choose_sequences(pairs, sequences, exclude_sequences, split)
        how = "lists" if _lists(base) else "no lists"
        self.layout = (
            f"SegNet's copy with {how} (ids 0..10, 11 void), {pair_count(self.pairs, left_out)}"
        )

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether SegNet's folders of CamVid's frames lie there; never raises."""
        masks = spotted(root, _MASKS)
        return masks is not None and holds_frames(masks)

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that have masks there."""
        masks = spotted(root, _MASKS)
        return tuple(
            split for split in _SPLITS if masks and (masks.parent / f"{split}annot").is_dir()
        )


def holds_frames(folder: Path) -> bool:
    """Whether files there are named like CamVid's frames; never raises."""
    try:
        return any(sequence_of(entry.name) in SEQUENCES for entry in entries(folder)[:20])
    except DataError:
        return False


def _lists(base: Path) -> list[Path]:
    return [base / f"{split}.txt" for split in _SPLITS if (base / f"{split}.txt").is_file()]


def _pairs(base: Path, root: Path, split: str, left_out: list[Path] | None) -> list[Pair]:
    """Image and mask of each line of the split's list, all checked to be there."""
    if not split or PureWindowsPath(split).name != split:
        raise DataError(f"A split is a name such as 'train', or several as 'train+val': {split!r}.")
    list_file = base / f"{split}.txt"
    listless = not _lists(base) and (base / f"{split}annot").is_dir()
    if not list_file.is_file() and not listless:
        found = sorted(f.stem for f in base.glob("*.txt"))
        raise DataError(
            f"{list_file}: CamVid's list for split {split!r} is not there. "
            + (f"This copy has {some(found)}." if found else "This folder has no list at all.")
        )
    images = existing_folder(base / split, f"the image folder of split {split!r}")
    masks = existing_folder(base / f"{split}annot", f"the mask folder of split {split!r}")
    if listless:
        files = listing(images, root, ".png"), listing(masks, root, ".png")
        fix = "Restore the missing files, or move their partners away."
        return paired(*files, (images, masks), fix, left_out)
    on_disk = {folder: {entry.name for entry in entries(folder)} for folder in (images, masks)}
    lines = read_list(inside(list_file, root))
    pairs = []
    for number, columns in lines:
        names = tuple(zip((images, masks), columns, strict=True))
        missing = [(folder, name) for folder, name in names if name not in on_disk[folder]]
        if missing and left_out is None:
            folder, name = missing[0]
            raise DataError(
                f"{list_file}, line {number}: {name!r} is listed but not in {folder}."
                f"{similar(name, on_disk[folder])} Restore the file or delete the line."
            )
        image, mask = (folder / name for folder, name in names)
        if missing and left_out is not None:
            left_out += [folder / name for folder, name in names if (folder, name) not in missing]
        else:
            pairs.append((printable(image.stem), inside(image, root), inside(mask, root)))
    listed = {images: {image for _, (image, _) in lines}, masks: {mask for _, (_, mask) in lines}}
    for folder in (images, masks):
        pictures = {name for name in on_disk[folder] if name.lower().endswith(".png")}
        unlisted = sorted(pictures - listed[folder])
        if left_out is not None:
            left_out += [folder / name for name in unlisted]
        elif unlisted:
            raise DataError(
                f"{folder}: {len(unlisted)} of {len(pictures)} PNG files are not in {list_file}: "
                f"{some(unlisted)}. Add them to the list, or move them away."
            )
    return pairs


def read_list(list_file: Path) -> list[tuple[int, tuple[str, str]]]:
    """Line number with the file names of image and mask, folders cut off."""
    found: list[tuple[int, tuple[str, str]]] = []
    seen: dict[str, int] = {}
    for number, line in text_lines(list_file):
        columns = line.split()
        if len(columns) != 2:
            raise DataError(
                f"{list_file}, line {number}: expected an image and a mask separated by a space, "
                f"got {len(columns)} column(s): {line.strip()[:100]!r}."
            )
        # Windows' rules understand both kinds of slash.
        image, mask = (PureWindowsPath(column).name for column in columns)
        if image in seen:
            raise DataError(
                f"{list_file}, line {number}: {image!r} is listed twice, first in line "
                f"{seen[image]}. Delete one of the lines."
            )
        seen[image] = number
        found.append((number, (image, mask)))
    return found


def text_lines(list_file: Path) -> list[tuple[int, str]]:
    """The lines of a list that hold something, stripped, with their numbers from 1.

    Args:
        list_file: UTF-8 text.

    Returns:
        Number and text of each.

    Raises:
        DataError: if it cannot be read or is empty.
    """
    try:
        lines = list_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{list_file}: the list cannot be read ({error}).") from error
    found = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError(f"{list_file}: the list is empty.")
    return found


def choose_sequences(
    pairs: list[Pair],
    sequences: Sequence[str] | None,
    exclude_sequences: Sequence[str],
    split: str,
) -> list[Pair]:
    """The pairs whose sequence is wanted.

    Args:
        pairs: pairs named by their frame; its sequence is what stands before the first "_".
        sequences: keep only these, or this one; None keeps all.
        exclude_sequences: leave these out, or this one.
        split: where the pairs come from, for the error.

    Returns:
        Those that stay, in order.

    Raises:
        DataError: if there is no such sequence, or no frame stays.
    """
    wanted, unwanted = _names(sequences), _names(exclude_sequences) or ()
    present = sorted({sequence_of(name) for name, _, _ in pairs})
    if unknown := [s for s in (*(wanted or ()), *unwanted) if s not in present]:
        raise DataError(
            f"CamVid split {split!r} has no sequence {some(unknown)}; it has {some(present, 10)}."
        )
    kept = [
        pair
        for pair in pairs
        if (wanted is None or sequence_of(pair[0]) in wanted)
        and sequence_of(pair[0]) not in unwanted
    ]
    if not kept:
        raise DataError(
            f"CamVid split {split!r}: no frame is left with sequences={wanted} and "
            f"exclude_sequences={unwanted}; it has {some(present, 10)}."
        )
    return kept


def sequence_of(frame: str) -> str:
    """The sequence that a frame belongs to: its name up to the first "_"."""
    return frame.split("_")[0]


def _names(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)


def similar(name: str, names: set[str]) -> str:
    """A hint where only case or suffix differ."""
    stem = Path(name).stem.casefold()
    close = sorted(n for n in names if Path(n).stem.casefold() == stem)
    return f" There is {close[0]!r}: the names must be equal." if close else ""
