"""What the builders have in common: samples of a source in, records and their index out."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from keras_focusseg.data.records.files import INDEX, SUMS, VERSION, write_sums
from keras_focusseg.data.sources.base import Source, check_sample
from keras_focusseg.errors import DataError, printable
from keras_focusseg.files import write_text
from keras_focusseg.label_spaces import LabelSpace

DESCRIPTION = (
    "Images with masks of train ids: 0..C-1 for the classes, 255 where a pixel is ignored. "
    "metadata.json holds the classes' colours."
)

_T = TypeVar("_T")
# TensorFlow Datasets calls it so; "all" is not allowed there.
_SPLIT_NAMES = {"val": "validation", "all": "full"}
# TensorFlow Datasets sorts up to so many bytes of a split in memory, more on disk by TensorFlow.
_SORTED_IN_MEMORY = 1000 << 20


class SourceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base of the builders: a subclass says what its label space is and opens its sources.

    An example has the features `image` (H, W, 3) uint8, `segmentation_mask` (H, W, 1) uint8 with
    train ids 0..C-1 and 255 where ignored, and `name`. JPEG and PNG files of 8-bit RGB are kept
    byte for byte; what has to be turned or converted is stored as the PNG of what the source
    gives. Masks are PNGs.

    `download_and_prepare` writes two files more than TensorFlow Datasets does: `focusseg.json` and
    `SHA256SUMS`, see `keras_focusseg.data.Records`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Masks of train ids, 255 where ignored."}

    progress: Callable[[int, int], None] | None = None
    workers: int | None = None

    def label_space(self) -> LabelSpace:
        """The classes of this builder and configuration."""
        raise NotImplementedError

    def source_name(self) -> str:
        """What `Source.name` is."""
        raise NotImplementedError

    def sources(self, manual_dir: Path) -> Mapping[str, Source]:
        """The source of each labelled split that lies there, by its name in the source."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """More arguments of `tfds.core.DatasetInfo`, such as homepage and citation."""
        return {}

    def _info(self) -> Any:
        space = self.label_space()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "segmentation_mask": tfds.features.LabeledImage(
                        # They are kept one a line.
                        labels=[" ".join(name.split()) for name in space.classes],
                        shape=(None, None, 1),
                        encoding_format="png",
                    ),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "segmentation_mask"),
            disable_shuffling=True,  # record i is sample i; feeds shuffle
            metadata=tfds.core.MetadataDict(
                version=VERSION, source=self.source_name(), label_space=space.to_config(), splits={}
            ),
            **{"description": DESCRIPTION} | self.describe(),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return self.generators(self.sources(Path(os.fspath(dl_manager.manual_dir))))

    def generators(self, sources: Mapping[str, Source]) -> dict[str, Any]:
        """The examples of each split, by its name in TensorFlow Datasets.

        Args:
            sources: By split.

        Returns:
            A generator a split.

        Raises:
            DataError: If there are none, or they do not have the builder's label space.
        """
        _check_sources(sources, self.label_space())
        done, total = [0], sum(len(source) for source in sources.values())

        def count() -> None:
            done[0] += 1
            if self.progress is not None:
                self.progress(done[0], total)

        written = {tfds_split(split): source for split, source in sources.items()}
        self.info.metadata["splits"] = {
            name: {"split": source.split, "note": source.note, "layout": source.layout, "names": []}
            for name, source in written.items()
        }
        return {name: self._examples(name, source, count) for name, source in written.items()}

    def _generate_examples(self) -> Any:
        raise NotImplementedError("_split_generators makes the generators itself.")

    def _examples(
        self, split: str, source: Source, count: Callable[[], None]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Key and example of each sample, in the order of the source."""
        seen: set[str] = set()
        names: list[str] = self.info.metadata["splits"][split]["names"]
        workers = self.workers or os.cpu_count() or 1
        encoded = _ahead(lambda index: _encoded(source, index), len(source), workers)
        for index, (name, image, mask) in enumerate(encoded):
            if name in seen:
                raise DataError(
                    f"{source.name!r} ({source.split}): two samples are called {name!r}",
                    kind="two files of one name",
                    fix="Rename one: a name stands for one sample.",
                )
            seen.add(name)
            names.append(name)
            example = {
                "image": io.BytesIO(image),
                "segmentation_mask": io.BytesIO(mask),
                "name": printable(name),
            }
            yield index, example
            count()

    def download_and_prepare(self, **kwargs: Any) -> None:
        """Writes the records, if they are not there; see `tfds.core.DatasetBuilder`.

        Args:
            **kwargs: Those of TensorFlow Datasets, `download_config` and `file_format` among
                them. `download_config.manual_dir` is the root of the dataset.

        Raises:
            DataError: If the source finds something wrong.
        """
        config = kwargs.pop("download_config", None) or tfds.download.DownloadConfig()
        # Nobody hosts these, so there is no need to ask.
        config = dataclasses.replace(config, try_download_gcs=False)
        super().download_and_prepare(download_config=config, **kwargs)
        folder = Path(os.fspath(self.data_path))
        if not (folder / SUMS).is_file():
            finish(self, folder)


def finish(builder: Any, folder: Path) -> None:
    """Writes `focusseg.json` and `SHA256SUMS` beside the records that a builder has written."""
    sizes = {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in (INDEX, SUMS)
    }
    file_format = builder.info.file_format.value
    index = {"version": VERSION, "format": file_format, "sizes": sizes}
    write_text(folder / INDEX, json.dumps(index))
    write_sums(folder)


def tfds_split(split: str) -> str:
    """TensorFlow Datasets' name of a split: "validation" for "val", "train_val" for "train+val"."""
    return _SPLIT_NAMES.get(split) or re.sub(r"[^A-Za-z0-9_-]", "_", split)


def _check_sources(sources: Mapping[str, Source], space: LabelSpace) -> None:
    if not sources:
        raise DataError("There is no labelled split to write", kind="empty split")
    names = [tfds_split(split) for split in sources]
    for split, source in sources.items():
        if names.count(tfds_split(split)) > 1:
            what = f"Two splits would be written as {tfds_split(split)!r}"
            raise DataError(what, kind="two files of one name")
        if source.label_space != space:
            raise DataError(
                f"{source.name!r} ({split}) has label space {source.label_space.name!r} with "
                f"{source.label_space.num_classes} classes",
                kind="splits with different classes",
                expected=f"{space.name!r} with {space.num_classes}",
                fix="One dataset has one label space.",
            )
        if importlib.util.find_spec("tensorflow") is None and _bytes(source) > _SORTED_IN_MEMORY:
            raise ImportError(
                f"{source.name!r} ({split}) has {_bytes(source) / 1e9:.1f} GB, and more than "
                f"{_SORTED_IN_MEMORY / 1e9:.1f} GB a split are sorted on disk with TensorFlow: "
                "pip install 'keras-focusseg[tensorflow]'. Reading the records does not need it."
            )


def _bytes(source: Source) -> int:
    """Size of the files of a source, each counted once."""
    paths = {path for index in range(len(source)) for path in source.files(index)}
    return sum(path.stat().st_size for path in paths)


def _encoded(source: Source, index: int) -> tuple[str, bytes, bytes]:
    """Name, image file and mask file of one sample, checked."""
    image, mask, name = check_sample(source.load(index), source)
    files = source.files(index)
    kept = _kept(files[0], image) if files else None
    return name, kept or _png(image), _png(mask)


def _kept(path: Path, image: np.ndarray) -> bytes | None:
    """The file's bytes, if every reader gets this image from them; None if it must be rewritten.

    Decoders differ in what they make of grey, palettes, CMYK and EXIF orientation.
    """
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            plain = picture.mode == "RGB" and picture.format in ("JPEG", "PNG")
            return content if plain and np.array_equal(np.asarray(picture), image) else None
    except Exception:  # another format; or no picture, where the image lies inside another file
        return None


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format="PNG")
    return buffer.getvalue()


def _ahead(function: Callable[[int], _T], count: int, workers: int) -> Iterator[_T]:
    """`function` of 0..count-1 in order, computed by threads and only a little ahead."""
    pending: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="focusseg-prepare") as pool:
        try:
            for index in range(count):
                pending.append(pool.submit(function, index))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
