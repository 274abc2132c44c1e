"""Several splits of a dataset as one."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg.data.sources.base import Sample, Source, check_split, some
from keras_focusseg.errors import DataError


class Joined(Source):
    """The samples of several sources of the same classes, one source after the other.

    Where two have a sample of the same name, the names get the split before them.

    Args:
        sources: What is joined, at least one.

    Raises:
        DataError: If the sources have different classes.

    Example:
        ```python
        parts = [data.open_folder("my_data", split) for split in ("train", "val")]
        both = Joined(parts)
        ```
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        first = self._sources[0]
        for other in self._sources[1:]:
            if other.label_space != first.label_space:
                raise DataError(
                    f"{first.split!r} and {other.split!r} of {first.name!r} have different "
                    f"classes: {some(first.label_space.classes, 4)} and "
                    f"{some(other.label_space.classes, 4)}",
                    kind="splits with different classes",
                    fix="Give both the same class table.",
                )
        self.name, self.label_space, self.note = first.name, first.label_space, first.note
        self.split = "+".join(source.split for source in self._sources)
        self.layout = "; ".join(source.layout for source in self._sources if source.layout)
        self.unpaired = [path for source in self._sources for path in source.unpaired]
        self.faults = [fault for source in self._sources for fault in source.faults]
        self._ends = list(itertools.accumulate(map(len, self._sources)))
        names = [s.sample_name(i) for s in self._sources for i in range(len(s))]
        self._ambiguous = len(set(names)) < len(names)

    def __len__(self) -> int:
        return self._ends[-1]

    def load(self, index: int) -> Sample:
        """Reads sample `index`: image, mask and name."""
        source, inner = self._place(index)
        image, mask, name = source.load(inner)
        return Sample(image, mask, self._named(source, name))

    def load_mask(self, index: int) -> np.ndarray:
        """Reads the mask of sample `index` alone."""
        source, inner = self._place(index)
        return source.load_mask(inner)

    def sample_name(self, index: int) -> str:
        """Name of sample `index`."""
        source, inner = self._place(index)
        return self._named(source, source.sample_name(inner))

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of sample `index`."""
        source, inner = self._place(index)
        return source.files(inner)

    def _place(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(
                f"sample {index} of {len(self)}: the index must be 0..{len(self) - 1}."
            )
        which = bisect.bisect_right(self._ends, index)
        return self._sources[which], index - (self._ends[which - 1] if which else 0)

    def _named(self, source: Source, name: str) -> str:
        return f"{source.split}/{name}" if self._ambiguous else name


def open_joined(
    opener: Callable[..., Source], root: str | Path, split: str = "train", **options: Any
) -> Source:
    """Opens one split with `opener`, or several that "+" joins, such as "train+val".

    Raises:
        DataError: A split is named twice.
    """
    check_split(split)
    parts = [part.strip() for part in split.split("+")]
    if len(set(parts)) < len(parts):
        raise DataError(f"{split!r} names a split twice", kind="split that is not there", file=root)
    sources = [opener(root, part, **options) for part in parts]
    return sources[0] if len(sources) == 1 else Joined(sources)
