"""A source that remembers what it has read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_focusseg.data.sources.base import Sample, Source, check_source


class Cached(Source):
    """A source that keeps every sample it has read in memory.

    It holds 4 bytes a pixel, and nothing is ever dropped: 254 MB for CamVid's 367 training
    frames at 480x360, 24 GB for Cityscapes' 2975 at 2048x1024. Several feeds may share one.

    Args:
        source: Where the samples come from.

    Example:
        ```python
        source = data.Cached(data.SyntheticStreets(100))
        ```
    """

    def __init__(self, source: Source) -> None:
        check_source(source)
        self.name = source.name
        self.split = source.split
        self.label_space = source.label_space
        self.note = source.note
        self.layout = source.layout
        self.unpaired, self.faults = source.unpaired, source.faults
        self._source = source
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._source)

    def sample_name(self, index: int) -> str:
        """Name of one sample."""
        return self._source.sample_name(index)

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of one sample."""
        return self._source.files(index)

    def load(self, index: int) -> Sample:
        """The sample, from memory if it was read before; its arrays cannot be written to."""
        sample = self._samples.get(index)
        if sample is None:
            image, mask, name = self._source.load(index)
            sample = Sample(_read_only(image), _read_only(mask), name)
            self._samples[index] = sample
        return sample


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.setflags(write=False)
    return view
