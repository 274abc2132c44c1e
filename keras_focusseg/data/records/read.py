"""Prepared records: a dataset in a few large files, read by index and without TensorFlow."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.errors import DataError
from keras_focusseg.data.records.files import (
    AGAIN,
    INDEX,
    METADATA,
    VERSION,
    array_record_reader,
    check_sums,
    is_plain,
    parse_example,
    read_json,
)
from keras_focusseg.data.sources.base import Sample, Source, existing_folder, inside, some
from keras_focusseg.data.sources.readers import image_from_bytes, mask_from_bytes

_DEPTH = 3  # data_dir/name/config/version, as TensorFlow Datasets nests them
_GET = (
    "Expected what `focusseg data prepare` writes, or a builder of "
    "keras_focusseg.data.records.tfds_builders."
)


class Records(Source):
    """Samples that were prepared as records (`array_record`), by index and without TensorFlow.

    Expected in the root, or at most three folders below, is what `focusseg data prepare` or a
    builder of `keras_focusseg.data.records.tfds_builders` wrote: shards, `metadata.json`,
    `focusseg.json` and `SHA256SUMS`. Sample `i` is sample `i` of the source that was prepared, with
    its image, its mask and its name; label space, name and note travel along. Nothing but the
    package `array_record` is needed to read.

    Opening compares the size of every file with what was written; `verify` compares every byte.
    Each record carries checksums besides, so that altered bytes are an error when they are read.

    Args:
        root: folder of the prepared dataset, or one around it.
        split: name of a split as the source called it, such as "val", or as TensorFlow Datasets
            does, "validation"; several are joined as in "train+val".
        verify: compare all files with `SHA256SUMS`.
        strict: has no effect: records hold pairs alone.

    Raises:
        DataError: if no prepared dataset lies there, it lies there twice, a file is missing or
            has another size, or there is no such split.
        ImportError: if the package `array_record` is not installed.

    Example:
        ```python
        train = Records("prepared/camvid_records", "train")
        ```
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        verify: bool = False,
        strict: bool = True,
    ) -> None:
        self.root = existing_folder(root, "the folder of the prepared dataset").resolve()
        self.folder = _located(self.root)
        self.split = split
        index, metadata = _description(self.folder, self.root)
        _check_sizes(self.folder, index["sizes"])
        if verify:
            check_sums(self.folder)
        try:
            self.name = str(metadata["source"])
            self.label_space = label_spaces.LabelSpace.from_config(metadata["label_space"])
            chosen = _chosen_splits(split, metadata["splits"], self.folder)
            self._shards, self._places, self._names = _samples(chosen, index, metadata, self.folder)
            self.note = "; ".join(
                dict.fromkeys(n for s in chosen if (n := str(metadata["splits"][s]["note"])))
            )
            before = str(metadata["splits"][chosen[0]]["layout"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{self.folder}: {METADATA} and {INDEX} do not fit together ({error!r}). {AGAIN}"
            ) from error
        self._encoding = replace(self.label_space, ids=(), ignored_ids=(label_spaces.IGNORE,))
        shards = f"{len(self._shards)} shard{'s' if len(self._shards) != 1 else ''}"
        self.layout = f"array_record, {shards}" + (f", prepared from {before}" if before else "")
        self._readers: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._reader(0)  # without array_record nothing can be read: say so now

    def __len__(self) -> int:
        return len(self._places)

    def load(self, index: int) -> Sample:
        """Read sample `index`: image (H, W, 3) uint8, mask (H, W) uint8, name."""
        record, where = self._record(index)
        image = image_from_bytes(_part(record, "image", where), where)
        mask = self._mask(record, where)
        if mask.shape != image.shape[:2]:
            raise DataError(
                f"{where}: the mask is {mask.shape} but the image {image.shape[:2]}. {AGAIN}"
            )
        return Sample(image, mask, self._names[index])

    def load_mask(self, index: int) -> np.ndarray:
        """Read the mask of sample `index` alone: (H, W) uint8; its image is not decoded."""
        return self._mask(*self._record(index))

    def sample_name(self, index: int) -> str:
        """Name of sample `index`, from the index of the dataset."""
        return self._names[index]

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
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
        """Everything but the open readers, for processes that read on their own."""
        return {key: value for key, value in vars(self).items() if key not in _OPEN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Opens readers anew when they are needed."""
        vars(self).update(state, _readers={}, _lock=threading.Lock())

    def _mask(self, record: dict[str, bytes], where: str) -> np.ndarray:
        ids = mask_from_bytes(_part(record, "segmentation_mask", where), where)
        try:
            return self._encoding.to_train_ids(ids, where)
        except ValueError as error:
            raise DataError(str(error)) from error

    def _record(self, index: int) -> tuple[dict[str, bytes], str]:
        """One record taken apart, and what to call it."""
        shard, position = self._places[index]
        path = self._shards[shard][0]
        where = f"{path}, record {position} ({self._names[index]!r})"
        try:
            (content,) = self._reader(shard).read([position])
        except (RuntimeError, ValueError, IndexError, OSError) as error:
            raise DataError(f"{where}: the file is damaged there ({error}). {AGAIN}") from error
        return parse_example(content, where), where

    def _reader(self, shard: int) -> Any:
        reader = self._readers.get(shard)
        if reader is not None:
            return reader
        with self._lock:
            if shard not in self._readers:
                path, count = self._shards[shard]
                opened = array_record_reader(path)
                # Of a file that was cut off, the reader says that it holds no records at all.
                if opened.num_records() != count:
                    raise DataError(
                        f"{path}: holds {opened.num_records()} records; expected {count}. {AGAIN}"
                    )
                self._readers[shard] = opened
            return self._readers[shard]


_OPEN = ("_readers", "_lock")


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
            f"{root}: no prepared dataset is there; found {there or 'nothing'}, looked for {INDEX} "
            f"and {METADATA}. {_GET}"
        )
    if len(found) > 1:
        names = some((f.relative_to(root).as_posix() for f in found), 9)
        raise DataError(f"{root}: {len(found)} prepared datasets are there: {names}. Open one.")
    return found[0]


def _description(folder: Path, root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the two files say, if this version understands them."""
    index, metadata = (read_json(folder / name, root) for name in (INDEX, METADATA))
    for name, content in ((INDEX, index), (METADATA, metadata)):
        if content.get("version") != VERSION:
            raise DataError(
                f"{folder / name}: has version {content.get('version')!r}; this version of "
                f"keras_focusseg reads {VERSION}. {AGAIN}"
            )
    sizes = index.get("sizes")
    if not isinstance(sizes, dict) or not all(is_plain(name) for name in sizes):
        raise DataError(f"{folder / INDEX}: does not list the files of the dataset. {AGAIN}")
    return index, metadata


def _check_sizes(folder: Path, sizes: dict[str, Any]) -> None:
    root = folder.resolve()
    for name, size in sizes.items():
        path = inside(folder / name, root)
        if not path.is_file():
            raise DataError(f"{path}: the file is missing. {AGAIN}")
        if (found := path.stat().st_size) != size:
            raise DataError(
                f"{path}: has {found} bytes; {size} were written. It was cut off or altered. "
                f"{AGAIN}"
            )


def _chosen_splits(split: str, known: dict[str, Any], folder: Path) -> list[str]:
    """The names that TensorFlow Datasets has for the split, or for those that it joins."""
    by_name = {name: name for name in known} | {str(s["split"]): n for n, s in known.items()}
    if split in by_name:
        return [by_name[split]]
    parts = [part.strip() for part in split.split("+")]
    if unknown := [part for part in parts if part not in by_name]:
        raise DataError(
            f"{folder}: split {unknown[0]!r} was not prepared; there are "
            f"{some((str(s['split']) for s in known.values()), 9)}."
        )
    chosen = [by_name[part] for part in parts]
    if len(set(chosen)) < len(chosen):
        raise DataError(f"{folder}: {split!r} names a split twice.")
    return chosen


def _samples(
    chosen: list[str], index: dict[str, Any], metadata: dict[str, Any], folder: Path
) -> tuple[list[tuple[Path, int]], list[tuple[int, int]], list[str]]:
    """Shards with their numbers of records, and shard, position and name of each sample."""
    shards: list[tuple[Path, int]] = []
    places: list[tuple[int, int]] = []
    names: list[str] = []
    for split in chosen:
        content = index["splits"].get(split, {})
        if index["format"] != "array_record":
            raise DataError(
                f"{folder}: was written as {index['format']}, which cannot be read by index. "
                "Prepare it with --format array_record, or read it in order with "
                "tfds.builder_from_directory."
            )
        records = []
        for file, count in content["shards"]:
            if file not in index["sizes"] or not isinstance(count, int):
                raise DataError(f"{folder / INDEX}: shard {file!r} is not listed. {AGAIN}")
            records += [(len(shards), position) for position in range(count)]
            shards.append((folder / file, count))
        order = content["order"]
        if sorted(order) != list(range(len(records))):
            raise DataError(
                f"{folder / INDEX}: the order of split {split!r} is not one of its {len(records)} "
                f"records. {AGAIN}"
            )
        places += [records[number] for number in order]
        names += [str(name) for name in metadata["splits"][split]["names"]]
    if len(names) != len(places) or not names:
        raise DataError(f"{folder}: holds {len(places)} records but {len(names)} names. {AGAIN}")
    return shards, places, names


def _part(record: dict[str, bytes], name: str, where: str) -> bytes:
    if name not in record:
        raise DataError(f"{where}: has no {name!r}; it has {some(record, 9)}. {AGAIN}")
    return record[name]
