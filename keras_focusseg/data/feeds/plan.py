"""From a source to batches for `fit`: one plan of order and randomness, three feeds that carry it.

Everything random is a function of (seed, epoch, index), so all feeds give the same batches, a
second run repeats the first, and a resumed run goes on with the epoch it stopped at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from keras_focusseg.data.sources.base import Source, check_sample
from keras_focusseg.data.transforms import Augmentation
from keras_focusseg.errors import DataError


@dataclass(frozen=True)
class Plan:
    """Which samples, in which order, changed how: all that a feed has to know.

    A feed calls `order` for the keys of an epoch, and `sample` with each of them. The key of a
    sample that is drawn as always is its index; the key of one that is drawn by class holds index,
    class, and the number of the draw, so that a sample may come twice in an epoch, cropped anew.

    Attributes are the arguments of `batches` of the same names.
    """

    source: Source
    batch_size: int
    augment: Augmentation | None = None
    shuffle: bool = False
    seed: int = 0
    drop_remainder: bool = False
    start_epoch: int = 0
    start_batch: int = 0
    class_uniform: float = 0.0
    class_counts: np.ndarray | None = field(default=None, repr=False, compare=False)
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        check_class_uniform(self.class_uniform, self.shuffle, self.augment)
        if self.class_uniform:
            self._check_counts()
        if self.num_batches == 0:
            raise DataError(
                f"{self.source!r} does not fill one batch of {self.batch_size}; use a smaller "
                "batch_size or drop_remainder=False."
                if len(self.source)
                else f"{self.source!r} is empty."
            )
        if self.start_batch >= self.num_batches:
            raise ValueError(
                f"start_batch={self.start_batch} lies beyond an epoch of {self.num_batches} "
                "batches."
            )
        self._check_shard()

    @property
    def num_classes(self) -> int:
        """Classes of the source."""
        return self.source.label_space.num_classes

    @property
    def num_samples(self) -> int:
        """Samples an epoch, of all processes together."""
        whole = len(self.source) // self.batch_size * self.batch_size
        return whole if self.drop_remainder else len(self.source)

    @property
    def num_batches(self) -> int:
        """Batches an epoch."""
        return -(-self.num_samples // self.batch_size)

    @property
    def num_loaded(self) -> int:
        """Samples an epoch that this process loads."""
        return self.num_samples // self.shard[1]

    @property
    def loaded_batch_size(self) -> int:
        """Samples of a full batch that this process loads."""
        return self.batch_size // self.shard[1]

    def order(self, epoch: int) -> np.ndarray:
        """Keys of the samples that this process loads in that epoch, (num_loaded,) int64.

        All processes draw the same order, and each takes its places of each batch.
        """
        keys = np.arange(len(self.source))
        if self.shuffle:
            rng = np.random.default_rng((self.seed, epoch))
            keys = rng.permutation(keys)
            if self.class_uniform:
                drawn = self._drawn_by_class(rng)
                keys = rng.permutation(np.concatenate([drawn, keys[len(drawn) :]]))
        keys = keys[: self.num_samples]
        index, count = self.shard
        if count == 1:  # then the last batch may be smaller
            return keys
        return keys.reshape(-1, count, self.loaded_batch_size)[:, index].ravel()

    def result_size(self) -> tuple[int, int] | None:
        """(height, width) of every image, or None where each may have its own."""
        if self.augment is not None and self.augment.crop_size is not None:
            return self.augment.crop_size
        if self.batch_size == 1:
            return None
        image, _ = self._sample(self.start_epoch, 0)
        return image.shape[0], image.shape[1]

    def sample(
        self, epoch: int, key: int, size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sample with that key, as it is in that epoch.

        Args:
            epoch: Counted from 0.
            key: One of those that `order` gives.
            size: (height, width) that it must have; None allows any.

        Returns:
            image (H, W, 3) uint8 and mask (H, W) uint8, a fourth of int32 to copy.

        Raises:
            DataError: If the source cannot give a valid sample, or it has another size.
        """
        image, mask = self._sample(epoch, key)
        if size is not None and image.shape[:2] != size:
            name = self.source.sample_name(key % len(self.source))
            raise DataError(
                f"sample {name!r} of {self.source.name!r} "
                f"({self.source.split}) is {image.shape[0]} x {image.shape[1]}, but the batch "
                f"needs {size[0]} x {size[1]} (height x width). Use batch_size=1, or an augment "
                "with a crop_size."
            )
        return image, mask.astype("uint8", copy=False)

    def _sample(self, epoch: int, key: int) -> tuple[np.ndarray, np.ndarray]:
        draw, index = divmod(key, len(self.source))
        image, mask, _ = check_sample(self.source.load(index), self.source)
        if self.augment is None:
            return image, mask
        target = (draw - 1) % self.num_classes if draw else None
        partner = partial(self._partner, epoch, key) if self.augment.needs_partner else None
        rng = np.random.default_rng((self.seed, epoch, key))
        return self.augment(image, mask, rng, target, partner)

    def _partner(
        self, epoch: int, key: int, number: int
    ) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """A second sample to mix into one, and the generator of its own augmentation."""
        seeds = np.random.SeedSequence((self.seed, epoch, key), spawn_key=(number,))
        rng = np.random.default_rng(seeds)
        length = len(self.source)
        # Any other one, if there is any.
        index = (key + int(rng.integers(1, max(2, length)))) % length
        image, mask, _ = check_sample(self.source.load(index), self.source)
        return image, mask, rng

    def _drawn_by_class(self, rng: np.random.Generator) -> np.ndarray:
        """Keys of the samples that are drawn by class in an epoch."""
        assert self.class_counts is not None
        is_shown = self.class_counts[:, :-1] > 0
        classes = np.flatnonzero(is_shown.any(axis=0))
        number = round(self.class_uniform * len(self.source))
        rounds = max(1, -(-number // len(classes)))
        # Round after round of all classes, so that none gets two more than another.
        targets = np.concatenate([rng.permutation(classes) for _ in range(rounds)])[:number]
        keys = np.empty(number, "int64")
        for target in classes:
            here = np.flatnonzero(targets == target)
            indices = rng.choice(np.flatnonzero(is_shown[:, target]), here.size)
            keys[here] = indices + len(self.source) * (1 + target + self.num_classes * here)
        return keys

    def _check_shard(self) -> None:
        index, count = self.shard
        if not 0 <= index < count:
            raise ValueError(f"shard must be (index, count) with index < count, got {self.shard}.")
        if self.batch_size % count or (count > 1 and self.num_samples % self.batch_size):
            raise ValueError(
                f"shard={self.shard} needs full batches that {count} processes can share: "
                f"batch_size is {self.batch_size}, of {self.num_samples} samples; use a multiple "
                f"of {count}, and drop_remainder=True."
            )

    def _check_counts(self) -> None:
        counts, expected = self.class_counts, (len(self.source), self.num_classes + 1)
        if counts is None or counts.shape != expected:
            found = None if counts is None else counts.shape
            raise ValueError(
                f"class_counts must be {expected} as data.class_counts gives, got {found}."
            )
        if len(self.source) and not counts[:, :-1].any():
            raise DataError(f"{self.source!r} shows no class, so none can be drawn.")


def check_class_uniform(share: float, shuffle: bool, augment: Augmentation | None) -> None:
    """Refuses a share of samples drawn by class that this feed cannot draw.

    Raises:
        ValueError: It is no share, the order is fixed, or `augment` does not crop around a class.
    """
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"class_uniform must be a share 0..1, got {share!r}.")
    if share and not shuffle:
        raise ValueError(f"class_uniform={share!r} draws samples at random: shuffle=True.")
    if share and (augment is None or not augment.takes_target):
        raise ValueError(
            f"class_uniform={share!r} needs an augmentation that crops around a class, such as "
            f"data.Augment or a Compose with a ScaleCrop; got {augment!r}."
        )
