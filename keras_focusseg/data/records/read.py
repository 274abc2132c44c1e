"""Prepared records: a dataset in a few large files, read by index and without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg import label_spaces, remote
from keras_focusseg.data.records.files import (
    INDEX,
    METADATA,
    VERSION,
    check_sums,
    damaged,
    is_plain,
    read_json,
)
from keras_focusseg.data.sources.base import (
    Sample,
    Source,
    check_split,
    existing_folder,
    inside,
    some,
)
from keras_focusseg.data.sources.pairs import train_ids
from keras_focusseg.errors import DataError, Place, printable
from keras_focusseg.pictures.readers import image_from_bytes, mask_from_bytes

_DEPTH = 3  # data_dir/name/config/version, as TensorFlow Datasets nests them


class Records(Source):
    """Samples that were prepared as records (`array_record`), by index and without TensorFlow.

    Expected in the root, or at most three folders below, is what `focusseg data prepare` or a
    builder of `keras_focusseg.data.records.tfds_builders` wrote: shards, `metadata.json`,
    `focusseg.json` and `SHA256SUMS`. Sample `i` is sample `i` of the source that was prepared, with
    its image, its mask and its name; label space, name and note travel along. TensorFlow Datasets
    reads the records, for which it needs no TensorFlow.

    Opening compares the size of every file with what was written; `verify` compares every byte.
    Each record carries checksums and the name of its sample besides, so that altered bytes and
    exchanged files are an error when they are read.

    Args:
        root: Folder of the prepared dataset, or one around it; or the URL of the folder on remote
            storage, such as "gs://bucket/camvid_records/1.0.0", which is copied once, see `remote`.
        split: Name of a split as the source called it, such as "val", or as TensorFlow Datasets
            does, "validation"; several are joined as in "train+val".
        verify: Compare all files with `SHA256SUMS`.
        strict: Has no effect: records hold pairs alone.

    Raises:
        DataError: If no prepared dataset lies there, it lies there twice, a file is missing or
            has another size, or there is no such split.
        ImportError: If the extra `tfds` is not installed.

    Example:
        ```python
        train = Records("prepared/camvid_records", "train")
        ```
    """

    def __init__(
        self, root: str | Path, split: str = "train", *, verify: bool = False, strict: bool = True
    ) -> None:
        root = existing_folder(remote.local(root), "the folder of the prepared dataset")
        self.root = root.resolve()
        self.folder = _located(self.root)
        self.split = split
        index, metadata = _description(self.folder, self.root)
        _check_sizes(self.folder, index["sizes"])
        if verify:
            check_sums(self.folder)
        if index.get("format") != "array_record":
            raise DataError(
                f"was written as {index.get('format')}, which cannot be read by index",
                kind="records of another format",
                file=self.folder,
                fix="Prepare it with --format array_record, or read it in order with "
                "tfds.builder_from_directory.",
            )
        try:
            self.name = str(metadata["source"])
            self.label_space = label_spaces.LabelSpace.from_config(metadata["label_space"])
            self._chosen = _chosen_splits(split, metadata["splits"], self.folder)
            written = [metadata["splits"][name] for name in self._chosen]
            self._names = [str(name) for part in written for name in part["names"]]
            self.note = "; ".join(dict.fromkeys(str(p["note"]) for p in written if p["note"]))
            before = str(written[0]["layout"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise damaged(self.folder / METADATA, f"is not what was written ({error!r})") from error
        self._encoding = replace(self.label_space, ids=(), ignored_ids=(label_spaces.IGNORE,))
        self._records = self._opened()
        if len(self._records) != len(self._names) or not self._names:
            raise damaged(
                self.folder, f"holds {len(self._records)} records but {len(self._names)} names"
            )
        self.layout = "array_record" + (f", prepared from {before}" if before else "")

    def __len__(self) -> int:
        return len(self._names)

    def load(self, index: int) -> Sample:
        """Reads sample `index`: image (H, W, 3) uint8, mask (H, W) uint8, name."""
        record, place = self._record(index)
        image, mask = image_from_bytes(record["image"], place), self._mask(record, place)
        if mask.shape != image.shape[:2]:
            raise damaged(
                place.file, f"the mask is {mask.shape} but the image {image.shape[:2]}", place.part
            )
        return Sample(image, mask, self._names[index])

    def load_mask(self, index: int) -> np.ndarray:
        """Reads the mask of sample `index` alone: (H, W) uint8; its image is not decoded."""
        return self._mask(*self._record(index))

    def sample_name(self, index: int) -> str:
        """Name of sample `index`, from the index of the dataset."""
        return self._names[index]

    @classmethod
    def recognizes(cls, root: str | Path) -> bool:
        """Whether a prepared dataset lies there, alone in its folders; never raises."""
        folder = Path(root)
        try:
            for _ in range(_DEPTH + 1):
                if _is_prepared(folder):
                    return True
                # A dataset whose owner keeps records beside it is still that dataset.
                (folder,) = (e for e in folder.iterdir() if not e.name.startswith("."))
        except (OSError, ValueError):
            pass
        return False

    @classmethod
    def splits(cls, root: str | Path) -> tuple[str, ...]:
        """The splits that were prepared, by their names in the source."""
        folder = Path(root).resolve()
        try:
            _, metadata = _description(_located(folder), folder)
            return tuple(str(split["split"]) for split in metadata["splits"].values())
        except (DataError, KeyError, TypeError, AttributeError):
            return ()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open records, for processes that read on their own."""
        return {key: value for key, value in vars(self).items() if key != "_records"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Opens the records anew."""
        vars(self).update(state)
        self._records = self._opened()

    def _opened(self) -> Any:
        """The records as TensorFlow Datasets reads them, images and masks not decoded."""
        try:
            import array_record  # noqa: F401  TensorFlow Datasets does not depend on it everywhere
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise ImportError(
                "Prepared records are read with TensorFlow Datasets and array_record, which there "
                "is for Linux and macOS: pip install 'keras-focusseg[tfds]'. TensorFlow is not "
                "needed."
            ) from error
        raw = tfds.decode.SkipDecoding()
        try:
            return tfds.builder_from_directory(str(self.folder)).as_data_source(
                "+".join(self._chosen), decoders={"image": raw, "segmentation_mask": raw}
            )
        except Exception as error:  # whatever its parsers of JSON and splits raise
            raise damaged(self.folder, f"cannot be opened as array_record ({error})") from error

    def _record(self, index: int) -> tuple[Mapping[str, Any], Place]:
        name = self._names[index]
        place = Place(self.folder, f"record {index} ({name!r})")
        try:
            record = self._records[index]
        except Exception as error:  # of the C++ reader, or of a record that is no example
            raise damaged(place.file, f"the file is damaged there ({error})", place.part) from error
        if record["name"].decode() != printable(name):
            raise damaged(place.file, f"is sample {record['name'].decode()!r}", place.part)
        return record, place

    def _mask(self, record: Mapping[str, Any], place: Place) -> np.ndarray:
        ids = mask_from_bytes(record["segmentation_mask"], place)
        return train_ids(ids, self._encoding, place)


def _found(root: Path) -> list[Path]:
    """The prepared datasets in the folder or below; never raises."""
    level = [root]
    try:
        for _ in range(_DEPTH + 1):
            if found := [folder for folder in level if _is_prepared(folder)]:
                return found
            level = sorted(
                inner
                for folder in level
                for inner in folder.iterdir()
                if inner.is_dir() and not inner.is_symlink() and not inner.name.startswith(".")
            )
    except OSError:
        pass
    return []


def _is_prepared(folder: Path) -> bool:
    return (folder / INDEX).is_file() and (folder / METADATA).is_file()


def _located(root: Path) -> Path:
    found = _found(root)
    if not found:
        there = some(sorted(p.name for p in root.iterdir()), 9) if root.is_dir() else ""
        raise DataError(
            f"no prepared dataset is there; found {there or 'nothing'}, looked for {INDEX} and "
            f"{METADATA}",
            kind="dataset that is not there",
            file=root,
            fix="Expected what `focusseg data prepare` writes, or a builder of "
            "keras_focusseg.data.records.tfds_builders.",
        )
    if len(found) > 1:
        names = some((f.relative_to(root).as_posix() for f in found), 9)
        raise DataError(
            f"{len(found)} prepared datasets are there: {names}",
            kind="dataset that is there more than once",
            file=root,
            fix="Open one.",
        )
    return found[0]


def _description(folder: Path, root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the two files say, if this version understands them."""
    index, metadata = (read_json(folder / name, root) for name in (INDEX, METADATA))
    for name, content in ((INDEX, index), (METADATA, metadata)):
        if content.get("version") != VERSION:
            raise damaged(
                folder / name,
                f"has version {content.get('version')!r}; this version of keras_focusseg reads "
                f"{VERSION}",
            )
    sizes = index.get("sizes")
    if not isinstance(sizes, dict) or not all(is_plain(name) for name in sizes):
        raise damaged(folder / INDEX, "does not list the files of the dataset")
    return index, metadata


def _check_sizes(folder: Path, sizes: dict[str, Any]) -> None:
    root = folder.resolve()
    for name, size in sizes.items():
        path = inside(folder / name, root)
        if not path.is_file():
            raise damaged(path, "the file is missing")
        if (found := path.stat().st_size) != size:
            raise damaged(
                path, f"has {found} bytes; {size} were written. It was cut off or altered"
            )


def _chosen_splits(split: str, known: dict[str, Any], folder: Path) -> list[str]:
    """The names that TensorFlow Datasets has for the split, or for those that it joins."""
    check_split(split)
    by_name = {name: name for name in known} | {str(s["split"]): n for n, s in known.items()}
    if split in by_name:
        return [by_name[split]]
    kind = "split that is not there"
    parts = [part.strip() for part in split.split("+")]
    if unknown := [part for part in parts if part not in by_name]:
        there = some((str(s["split"]) for s in known.values()), 9)
        raise DataError(
            f"split {unknown[0]!r} was not prepared; there are {there}", kind=kind, file=folder
        )
    chosen = [by_name[part] for part in parts]
    if len(set(chosen)) < len(chosen):
        raise DataError(f"{split!r} names a split twice", kind=kind, file=folder)
    return chosen
