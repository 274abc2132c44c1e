"""How many pixels of each class every sample holds, counted once and kept by content."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg.data.sources.base import Sample, Source, check_sample
from keras_focusseg.errors import DataError
from keras_focusseg.files import sha256, written
from keras_focusseg.label_spaces import IGNORE
from keras_focusseg.remote import cache_folder

VERSION = 1
"""Part of what counts are kept under; raised whenever the same files would be counted otherwise."""

_SCALARS = (str, int, float, bool, type(None))


def class_counts(
    source: Source,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    cache: bool | str | Path = True,
) -> np.ndarray:
    """Pixels of each class in each sample, from one pass over the masks; no image is read.

    The counts of a source of files are kept on disk, under a hash of the bytes of its label files,
    the names and order of its samples, its label space and its other settings: a second call
    only reads the files, and one that finds a single byte changed counts anew. How a class of
    your own reads its files is not part of the hash: after a change of it pass `cache=False`.

    Args:
        source: Which samples.
        progress: Called with (samples done, samples in all) after each sample; once, with all of
            them done, if the counts were kept.
        workers: Threads that read; None takes the number of cores.
        cache: False keeps nothing; a folder keeps the counts there; True in the folder that the
            environment variable `FOCUSSEG_HOME` names, or else in `~/.cache/keras_focusseg`. A
            folder that cannot be written to is left alone, a broken file in it written anew.

    Returns:
        (N, C + 1) int64: row i is sample i, column k class k, the last column what is ignored.

    Raises:
        DataError: If a mask cannot be read or holds an id that is no class.

    Example:
        ```python
        counts = data.class_counts(data.SyntheticStreets(8))
        counts[:, :-1].sum(0) / counts[:, :-1].sum()    # share of each class
        ```
    """
    kept = None if cache is False else _kept_path(source, cache, workers)
    if kept is not None:
        counts = _read(kept, (len(source), source.label_space.num_classes + 1))
        if counts is not None:
            if progress is not None:
                progress(len(source), len(source))
            return counts
    counts = np.zeros((len(source), source.label_space.num_classes + 1), "int64")
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        rows = pool.map(lambda index: _row(source, index), range(len(source)))
        for done, row in enumerate(rows, start=1):
            counts[done - 1] = row
            if progress is not None:
                progress(done, len(source))
    if kept is not None:
        _write(kept, counts)
    return counts


def count_classes(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels of each class in a mask of train ids, (C + 1,) int64; the last one: ignored ones."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return np.append(counts[:num_classes], counts[IGNORE])


def _row(source: Source, index: int) -> np.ndarray:
    mask = source.load_mask(index)
    # A picture of one repeated byte: only the mask is to be held to the promise.
    blank = np.broadcast_to(np.uint8(0), (*mask.shape[:2], 3))
    sample = Sample(blank, mask, "")
    try:
        check_sample(sample, source)
    except DataError:  # only now is its name worth reading
        check_sample(sample._replace(name=source.sample_name(index)), source)
    return count_classes(mask, source.label_space.num_classes)


def _kept_path(source: Source, cache: bool | str | Path, workers: int | None) -> Path | None:
    """The file for the counts of what the label files hold now; None if there are no files."""
    labels = [source.files(index)[1:] for index in range(len(source))]
    if not all(labels):
        return None
    try:
        folder = cache_folder() if isinstance(cache, bool) else Path(cache)
        # A polygon file may hold the masks of thousands of samples: each file is read once.
        paths = list(dict.fromkeys(path for files in labels for path in files))
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            digests = dict(zip(paths, pool.map(sha256, paths), strict=True))
    except (OSError, RuntimeError):  # unreadable: what reads it has the better message; no home
        return None
    whole = hashlib.sha256(f"class counts {VERSION}\n{_settings(source)}\n".encode(*_UTF8))
    for index, files in enumerate(labels):
        whole.update(f"{source.sample_name(index)}\0{len(files)}\0".encode(*_UTF8))
        for path in files:
            whole.update(bytes.fromhex(digests[path]))
    return folder / "class_counts" / f"{whole.hexdigest()}.npz"


_UTF8 = ("utf-8", "surrogateescape")  # file names need not be UTF-8


def _settings(source: Source) -> str:
    """What a source was told, as far as it is plain: label space, encoding, tolerances."""
    parts = [f"{type(source).__module__}.{type(source).__qualname__}"]
    for name, value in sorted({**vars(source), "label_space": source.label_space}.items()):
        if isinstance(value, Source):  # what `Cached` and the like hold
            parts.append(f"{name}=({_settings(value)})")
        elif _is_plain(value):
            parts.append(f"{name}={value!r}")
    return "; ".join(parts)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return _are_plain(value)
    if isinstance(value, dict):
        return _are_plain(value) and _are_plain(value.values())
    return isinstance(value, _SCALARS) or (
        dataclasses.is_dataclass(value) and " at 0x" not in repr(value)
    )


def _are_plain(values: Iterable[Any]) -> bool:
    return all(isinstance(value, _SCALARS) for value in values)


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The counts kept in a file, if it is there and whole."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            counts = kept["counts"]
    except Exception:  # not there, or broken in any of the ways that zip and npy files can be
        return None
    whole = counts.shape == shape and counts.dtype == np.int64 and (counts >= 0).all()
    return counts if whole else None


def _write(path: Path, counts: np.ndarray) -> None:
    with contextlib.suppress(OSError):  # no space, no permission: the counts are right all the same
        path.parent.mkdir(parents=True, exist_ok=True)
        with written(path) as temporary:
            np.savez_compressed(temporary, counts=counts)
