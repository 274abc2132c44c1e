"""The beginning of a source."""

from __future__ import annotations

from pathlib import Path

from keras_focusseg.data.sources.base import Sample, Source


class First(Source):
    """The first samples of a source, for a trial.

    Args:
        source: Where the samples come from.
        count: How many, at most; 1 or more.

    Example:
        ```python
        few = data.First(data.CamVid("CamVid", "val"), 4)
        ```
    """

    def __init__(self, source: Source, count: int) -> None:
        self.name = source.name
        self.split = source.split
        self.label_space = source.label_space
        self.note, self.layout = source.note, source.layout
        self._source, self._count = source, min(count, len(source))

    def __len__(self) -> int:
        return self._count

    def sample_name(self, index: int) -> str:
        """Name of one sample."""
        return self._source.sample_name(index)

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of one sample."""
        return self._source.files(index)

    def load(self, index: int) -> Sample:
        """The sample."""
        return self._source.load(index)
