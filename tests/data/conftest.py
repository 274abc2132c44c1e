"""Fixtures of the data tests: a CamVid tree of random pictures, and a source in memory."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_focusseg import data, label_spaces

HEIGHT, WIDTH = 24, 32
FRAMES = {
    "train": ["0001TP_000030", "0001TP_000060", "0006R0_f00930", "0016E5_00390", "0016E5_00420"],
    "val": ["0016E5_07959", "0016E5_07961"],
}


def random_pair(seed: int, height: int = HEIGHT, width: int = WIDTH):
    """Random image uint8 (H, W, 3) and blocky CamVid mask uint8 (H, W) with ids 0..11."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), "uint8")
    blocks = rng.integers(0, 12, (-(-height // 8), -(-width // 8)), "uint8")
    return image, np.kron(blocks, np.ones((8, 8), "uint8"))[:height, :width]


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """The SegNet tutorial's layout, with the foreign absolute paths in its lists."""
    root = tmp_path / "CamVid"
    for split, frames in FRAMES.items():
        lines = []
        for number, frame in enumerate(frames):
            image, mask = random_pair(number + 100 * len(split))
            for folder, array in ((split, image), (f"{split}annot", mask)):
                (root / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / folder / f"{frame}.png")
            lines.append(
                f"/SegNet/CamVid/{split}/{frame}.png /SegNet/CamVid/{split}annot/{frame}.png"
            )
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


class ArraySource(data.Source):
    """Samples from a function of the index; counts how often each was loaded."""

    name, split = "arrays", "train"

    def __init__(self, count: int, make: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> None:
        self.label_space = label_spaces.get("camvid11")
        self.loads = [0] * count
        self._make = make

    def __len__(self) -> int:
        return len(self.loads)

    def load(self, index: int) -> data.Sample:
        self.loads[index] += 1
        image, mask = self._make(index)
        return data.Sample(image, mask, f"frame {index}")


def train_pair(index: int, height: int = HEIGHT, width: int = WIDTH):
    """Like `random_pair`, with train ids: 255 where ignored."""
    image, mask = random_pair(index, height, width)
    return image, np.where(mask == 11, 255, mask).astype("uint8")


@pytest.fixture
def source() -> ArraySource:
    return ArraySource(7, train_pair)


def without_tensorflow() -> None:
    """From here on, for the rest of the process, TensorFlow cannot be found."""

    class Hiding:
        def __init__(self, finder: Any) -> None:
            self._finder = finder

        def find_spec(self, name: str, *arguments: Any) -> Any:
            hidden = name.split(".")[0] == "tensorflow"
            return None if hidden else self._finder.find_spec(name, *arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._finder, name)

    assert "tensorflow" not in sys.modules
    sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]


@contextlib.contextmanager
def refused(kind: str, file: Path | str | None = None, match: str | None = None) -> Iterator[Any]:
    """Expects a `DataError` of that kind, about that file: a path, or what its path ends in."""
    with pytest.raises(data.DataError, match=match) as caught:
        yield caught
    error = caught.value
    assert error.kind == kind, str(error)
    if isinstance(file, Path):
        assert error.file == file, str(error)
    elif file is not None:
        assert error.file is not None and error.file.as_posix().endswith(file), str(error)
