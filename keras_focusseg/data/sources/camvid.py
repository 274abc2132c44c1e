"""CamVid as the SegNet tutorial laid it out: 480x360, 11 classes, lists of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.sources.base import existing_folder, inside, some
from keras_focusseg.data.sources.pairs import Pair, PairSource


class CamVid(PairSource):
    """CamVid (Brostow et al. 2008), the 480x360 copy with 11 classes of the SegNet tutorial.

    Expected below the root, for each split: images `train/*.png`, masks `trainannot/*.png` with
    0..10 = class and 11 = void, and the list `train.txt` with an image and a mask a line. The
    lists carry the paths of their author's machine (`/SegNet/CamVid/train/x.png`): only the file
    names in them count, and nothing outside the root is read. The official splits have 367
    (train), 101 (val) and 233 (test) frames. A frame's sequence is its name up to the first "_".

    Args:
        root: folder that holds the lists.
        split: "train", "val" or "test", or several joined by "+", as in "train+val".
        sequences: keep only frames of these sequences, e.g. ("0001TP",); None keeps all.
        exclude_sequences: leave out frames of these sequences. Neighbouring frames are nearly
            equal, so holding out a whole sequence is the honest check for choices.

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
    ) -> None:
        self.root = existing_folder(root, "the CamVid folder").resolve()
        self.split = split
        self.label_space = self.encoding = label_spaces.get("camvid11")
        pairs = [pair for part in split.split("+") for pair in _pairs(self.root, part.strip())]
        self.pairs = choose_sequences(pairs, sequences, exclude_sequences, split)


def _pairs(root: Path, split: str) -> list[Pair]:
    """Image and mask of each line of the split's list, all checked to be there."""
    if not split or PureWindowsPath(split).name != split:
        raise DataError(f"A split is a name such as 'train', or several as 'train+val': {split!r}.")
    list_file = root / f"{split}.txt"
    if not list_file.is_file():
        found = sorted(f.stem for f in root.glob("*.txt"))
        raise DataError(
            f"{list_file}: CamVid's list for split {split!r} is not there. "
            + (f"This copy has {some(found)}." if found else "This folder has no list at all.")
        )
    images = existing_folder(root / split, f"the image folder of split {split!r}")
    masks = existing_folder(root / f"{split}annot", f"the mask folder of split {split!r}")
    on_disk = {folder: {f.name for f in folder.iterdir()} for folder in (images, masks)}
    pairs = []
    for number, (image_name, mask_name) in _read_list(inside(list_file, root)):
        for folder, name in ((images, image_name), (masks, mask_name)):
            if name not in on_disk[folder]:
                raise DataError(
                    f"{list_file}, line {number}: {name!r} is listed but not in {folder}."
                    f"{_similar(name, on_disk[folder])} Restore the file or delete the line."
                )
        image, mask = inside(images / image_name, root), inside(masks / mask_name, root)
        pairs.append((image.stem, image, mask))
    listed = {images: {i.name for _, i, _ in pairs}, masks: {m.name for _, _, m in pairs}}
    for folder in (images, masks):
        pictures = {n for n in on_disk[folder] if n.lower().endswith(".png") and n[0] != "."}
        if unlisted := sorted(pictures - listed[folder]):
            raise DataError(
                f"{folder}: {len(unlisted)} of {len(pictures)} PNG files are not in {list_file}: "
                f"{some(unlisted)}. Add them to the list, or move them away."
            )
    return pairs


def _read_list(list_file: Path) -> list[tuple[int, tuple[str, str]]]:
    """Line number with the file names of image and mask, folders cut off."""
    try:
        lines = list_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{list_file}: the list cannot be read ({error}).") from error
    entries: list[tuple[int, tuple[str, str]]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
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
        entries.append((number, (image, mask)))
    if not entries:
        raise DataError(f"{list_file}: the list is empty.")
    return entries


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
    present = sorted({_sequence(name) for name, _, _ in pairs})
    if unknown := [s for s in (*(wanted or ()), *unwanted) if s not in present]:
        raise DataError(
            f"CamVid split {split!r} has no sequence {some(unknown)}; it has {some(present, 10)}."
        )
    kept = [
        pair
        for pair in pairs
        if (wanted is None or _sequence(pair[0]) in wanted) and _sequence(pair[0]) not in unwanted
    ]
    if not kept:
        raise DataError(
            f"CamVid split {split!r}: no frame is left with sequences={wanted} and "
            f"exclude_sequences={unwanted}; it has {some(present, 10)}."
        )
    return kept


def _sequence(frame: str) -> str:
    return frame.split("_")[0]


def _names(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else None if value is None else tuple(value)


def _similar(name: str, names: set[str]) -> str:
    """A hint where only case or suffix differ."""
    stem = Path(name).stem.casefold()
    close = sorted(n for n in names if Path(n).stem.casefold() == stem)
    return f" There is {close[0]!r}: the names must be equal." if close else ""
