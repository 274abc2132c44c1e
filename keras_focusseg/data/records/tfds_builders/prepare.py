"""Write the splits of any source as a prepared dataset."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tensorflow_datasets as tfds

from keras_focusseg.data.records.tfds_builders.source_builder import SourceBuilder, tfds_split
from keras_focusseg.data.sources.base import Source
from keras_focusseg.errors import DataError, printable
from keras_focusseg.files import TEMPORARY, written_folder
from keras_focusseg.label_spaces import LabelSpace

FORMATS = ("array_record", "tfrecord")
_NOT_POSSIBLE, _THERE = "option that is not possible", "something that is there already"


@dataclass(frozen=True)
class Prepared:
    """What `prepare` has written.

    Attributes:
        folder: Where it lies.
        file_format: "array_record" or "tfrecord".
        counts: Number of samples of each split, by its name in the source.
        shards: Number of record files of each split.
        sizes: Bytes of the record files of each split.
    """

    folder: Path
    file_format: str
    counts: dict[str, int]
    shards: dict[str, int]
    sizes: dict[str, int]

    def how_to_open(self) -> list[str]:
        """Lines of Python that open it.

        TensorFlow Datasets reads `array_record` by index, as a data source, and not as a
        `tf.data.Dataset`.
        """
        split, folder = next(iter(self.counts)), printable(str(self.folder))
        builder, name = f"tfds.builder_from_directory({folder!r})", tfds_split(split)
        if self.file_format == "tfrecord":
            return [f"{builder}.as_dataset({name!r})"]
        ours = f'data.open_source("records", {folder!r}, {split!r})'
        return [ours, f"{builder}.as_data_source({name!r})"]


def prepare(
    sources: Sequence[Source],
    out: str | Path,
    *,
    file_format: Literal["array_record", "tfrecord"] = "array_record",
    shards: int | None = None,
    name: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Prepared:
    """Writes sources as one dataset of TensorFlow Datasets, with checksums and an index.

    What is written lies in `OUT/NAME/1.0.0`: shards, `dataset_info.json`, `features.json`,
    `metadata.json` with classes, colours, names and notes, `focusseg.json` and `SHA256SUMS`. It is
    written under another name and renamed at the end, so that a run that was stopped leaves nothing
    that could be taken for a dataset, and one with `overwrite` leaves the old one until then.

    Args:
        sources: One a split, all of the same dataset and label space.
        out: Folder to write below.
        file_format: "array_record", which `data.Records` reads by index and without TensorFlow, or
            "tfrecord".
        shards: Files a split; None lets TensorFlow Datasets choose by size.
        name: Of the dataset; None takes `SOURCE_records`.
        overwrite: Replace what was written there before.
        progress: Called with (samples done, samples in all) after each sample.
        workers: Threads that read; None takes the number of cores.

    Returns:
        Where it lies and how large it is.

    Raises:
        DataError: If something is there already, the sources do not go together, or one finds
            something wrong.
        ImportError: If more than TensorFlow Datasets sorts without TensorFlow is to be written,
            and that is not installed.

    Example:
        ```python
        prepared = prepare([data.SyntheticStreets(4, split="train")], "prepared")
        train = data.Records(prepared.folder, "train")
        ```
    """
    if file_format not in FORMATS:
        raise DataError(
            f"There is no format {file_format!r}; there are {', '.join(FORMATS)}",
            kind=_NOT_POSSIBLE,
        )
    by_split = {source.split: source for source in sources}
    _check(sources, by_split, shards)
    name = name or f"{_identifier(sources[0].name)}_records"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise DataError(
            f"A dataset cannot be called {name!r}",
            kind=_NOT_POSSIBLE,
            fix="Use lower-case letters, digits and '_', with a letter in front.",
        )
    home = Path(out) / name
    target = home / str(SourceBuilder.VERSION)
    if target.exists() and not overwrite:
        raise DataError(
            "something is there already",
            kind=_THERE,
            file=target,
            fix="Replace it with overwrite=True (--overwrite), or write somewhere else.",
        )
    if target.exists() and not (target / "dataset_info.json").is_file():
        raise DataError(
            "is no prepared dataset, so it is not replaced",
            kind=_THERE,
            file=target,
            fix="Move it away.",
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=home) as work,
            written_folder(target) as whole,
        ):
            builder = _SourcesBuilder(by_split, name=name, data_dir=work)
            builder.progress, builder.workers = progress, workers
            with _bars(progress is None):
                builder.download_and_prepare(
                    file_format=file_format,
                    download_config=tfds.download.DownloadConfig(num_shards=shards),
                )
            whole.rmdir()
            os.replace(builder.data_path, whole)
    except OSError as error:
        raise DataError(
            f"the records cannot be written ({error})",
            kind="folder that cannot be written",
            file=home,
            fix="Make room there, or write somewhere else.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            home.rmdir()  # if nothing came of it, and nothing else lies there
    return _prepared(builder, target, list(by_split))


def _prepared(builder: Any, target: Path, splits: Sequence[str]) -> Prepared:
    infos = {split: builder.info.splits[tfds_split(split)] for split in splits}
    files = {split: [target / Path(p).name for p in i.filepaths] for split, i in infos.items()}
    return Prepared(
        folder=target,
        file_format=builder.info.file_format.value,
        counts={split: info.num_examples for split, info in infos.items()},
        shards={split: len(paths) for split, paths in files.items()},
        sizes={split: sum(p.stat().st_size for p in paths) for split, paths in files.items()},
    )


class _SourcesBuilder(SourceBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A builder of sources that are open already."""

    def __init__(self, sources: Mapping[str, Source], *, name: str, data_dir: str) -> None:
        self.name = name
        self._opened = sources
        super().__init__(data_dir=data_dir)

    def label_space(self) -> LabelSpace:
        return next(iter(self._opened.values())).label_space

    def source_name(self) -> str:
        return next(iter(self._opened.values())).name

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return self.generators(self._opened)

    def _log_download_bytes(self) -> None:
        """Nothing is downloaded."""

    def _log_download_done(self) -> None:
        """And the folder is not yet the one to tell."""


def _check(sources: Sequence[Source], by_split: Mapping[str, Source], shards: int | None) -> None:
    if not sources:
        raise DataError("There is no split to write", kind=_NOT_POSSIBLE)
    if len(by_split) < len(sources):
        given = ", ".join(source.split for source in sources)
        raise DataError(f"A split was given twice: {given}", kind=_NOT_POSSIBLE)
    if len(datasets := {source.name for source in sources}) > 1:
        got = ", ".join(sorted(datasets))
        raise DataError(f"One dataset at a time, got {got}", kind=_NOT_POSSIBLE)
    for source in sources:
        if not len(source):
            what = f"{source.name!r} ({source.split}) has no samples to write"
            raise DataError(what, kind="empty split")
        if shards is not None and not 1 <= shards <= len(source):
            raise DataError(
                f"{shards} shards of {len(source)} samples ({source.name!r}, {source.split}) "
                f"cannot be written; at least 1 and at most {len(source)} are possible",
                kind=_NOT_POSSIBLE,
            )


def _identifier(name: str) -> str:
    """A name that TensorFlow Datasets takes."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"data_{plain}".rstrip("_")


@contextlib.contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """TensorFlow Datasets' own progress bars, or none where the caller has some."""
    if not shown:
        tfds.disable_progress_bar()
    try:
        yield
    finally:
        if not shown:
            tfds.enable_progress_bar()
