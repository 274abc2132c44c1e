"""Cityscapes as TensorFlow Datasets' own builder has prepared it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg import label_spaces
from keras_focusseg.data.sources.base import Sample, Source
from keras_focusseg.data.sources.pairs import split_parts, train_ids
from keras_focusseg.errors import DataError, Place
from keras_focusseg.pictures.readers import image_from_bytes, mask_from_bytes

_CONFIG = "cityscapes/semantic_segmentation"
_SPLITS = {"train": "train", "val": "validation"}
_PREPARE = (
    "Prepare it once: tfds.builder('cityscapes', data_dir=...).download_and_prepare("
    "file_format='array_record', download_config=tfds.download.DownloadConfig(manual_dir=...)), "
    "where manual_dir holds leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip."
)


class TFDSCityscapes(Source):
    """Cityscapes that `tfds.builder("cityscapes")` has prepared as `array_record`.

    That builder keeps the raw ids of `gtFine_labelIds`; they become the 19 train ids, 255 where
    ignored, as in `data.Cityscapes`. Sample order is that of the records. For reading in order with
    `tf.data`, in either format, see `image_and_mask`.

    Args:
        data_dir: TensorFlow Datasets' folder; None takes its default, `~/tensorflow_datasets`.
        split: "train", "val" or "train+val"; the labels of "test" are dummies.

    Raises:
        DataError: If it was not prepared there, or in another format.

    Example:
        ```python
        val = TFDSCityscapes("prepared", "val")
        ```
    """

    name = "cityscapes"

    def __init__(self, data_dir: str | Path | None = None, split: str = "train") -> None:
        import tensorflow_datasets as tfds

        self.split = split
        self.label_space = label_spaces.get("cityscapes")
        parts = split_parts(split, tuple(_SPLITS), "Cityscapes", "gtFine/test holds dummies.")
        builder = tfds.builder(_CONFIG, data_dir=None if data_dir is None else str(data_dir))
        if not builder.is_prepared():
            raise DataError(
                "Cityscapes is not prepared there",
                kind="dataset that is not there",
                file=builder.data_dir,
                fix=_PREPARE,
            )
        if builder.info.file_format.value != "array_record":
            raise DataError(
                f"was written as {builder.info.file_format.value}, which cannot be read by index",
                kind="records of another format",
                file=builder.data_dir,
                fix=_PREPARE,
            )
        raw = tfds.decode.SkipDecoding()
        self._records = builder.as_data_source(
            "+".join(_SPLITS[part] for part in parts),
            decoders={"image_left": raw, "segmentation_label": raw},
        )
        self._where = Path(builder.data_dir)
        self.layout = f"prepared by TensorFlow Datasets, {len(self._records)} pairs"

    def __len__(self) -> int:
        return len(self._records)

    def load(self, index: int) -> Sample:
        """Reads sample `index`: image (H, W, 3) uint8, mask (H, W) uint8, name."""
        record, where = self._record(index)
        image = image_from_bytes(record["image_left"], where)
        return Sample(image, self._mask(record, where), record["image_id"].decode())

    def load_mask(self, index: int) -> np.ndarray:
        """Reads the mask of sample `index` alone: (H, W) uint8."""
        return self._mask(*self._record(index))

    def _record(self, index: int) -> tuple[dict[str, Any], Place]:
        place = Place(self._where, f"{self.split}, record {index}")
        try:
            return self._records[index], place
        except RuntimeError as error:
            raise place.error(
                f"the file is damaged there ({error})", "damaged records", fix=_PREPARE
            ) from error

    def _mask(self, record: dict[str, Any], place: Place) -> np.ndarray:
        raw = mask_from_bytes(record["segmentation_label"], place)
        return train_ids(raw, self.label_space, place)
