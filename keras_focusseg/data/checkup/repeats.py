"""The same picture more than once, exactly or nearly."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from keras_focusseg.data.checkup.looking import Look
from keras_focusseg.data.checkup.report import Example, Finding
from keras_focusseg.data.checkup.rules import Looked, finding

_NEARLY = 10
"""Outlines of 256 bits that differ in at most so many are those of copies: CamVid's frames, saved
as JPEG, halved or brightened, differ in 3 to 9 from themselves, and frames of different seconds in
12 or more."""


def repeated(splits: Sequence[Looked]) -> list[Finding]:
    """The same picture more than once: across splits, within one, with masks that differ."""
    places: dict[bytes, list[tuple[Looked, Look]]] = defaultdict(list)
    for looked in splits:
        for seen in looked.looks:
            if seen.image:
                places[seen.image].append((looked, seen))
    across: dict[str, list[Example]] = defaultdict(list)
    within: dict[tuple[str, bool], list[Example]] = defaultdict(list)
    for group in places.values():
        (home, first), *others = group
        for looked, seen in others:
            differ = bool(first.mask and seen.mask and first.mask != seen.mask)
            value = f"the same picture as {home.file(first.index)}"
            if differ:
                value += ", with another mask"
            both = ((looked.split, seen.index), (home.split, first.index))
            example = Example(looked.file(seen.index), value, both)
            if looked is home:
                within[looked.split, differ].append(example)
            else:
                across[f"{home.split}, {looked.split}"].append(example)
    fix = "Remove it from one of the splits: a score on what was trained on is false."
    found = [
        finding("error", "same picture in two splits", names, fix, examples)
        for names, examples in across.items()
    ]
    for (split, differ), examples in within.items():
        kind = "same picture with different masks" if differ else "same picture twice"
        fix = (
            "Keep the pair whose mask is right: the network is told both."
            if differ
            else "Remove one, unless it is meant to count twice."
        )
        found.append(finding("warning", kind, split, fix, examples))
    return found


def nearly_repeated(splits: Sequence[Looked]) -> list[Finding]:
    """Pictures of one split that are copies of another split's, but for scale or compression."""
    found = []
    for home, looked in itertools.combinations(splits, 2):
        examples = []
        for seen, other, distance in _nearest(home.looks, looked.looks):
            if distance <= _NEARLY and seen.image != other.image:
                value = (
                    f"nearly the same picture as {home.file(other.index)}: their outlines "
                    f"differ in {distance} of 256 bits"
                )
                both = ((looked.split, seen.index), (home.split, other.index))
                examples.append(Example(looked.file(seen.index), value, both))
        if examples:
            fix = (
                "Look at the pairs. If they are copies, keep each in one split only: a score on "
                "what was trained on is false."
            )
            names, kind = f"{home.split}, {looked.split}", "nearly the same picture in two splits"
            found.append(finding("warning", kind, names, fix, examples))
    return found


def _nearest(homes: list[Look], looks: list[Look]) -> Iterable[tuple[Look, Look, int]]:
    """Each of `looks` with the one of `homes` that has the most similar outline."""
    homes = [seen for seen in homes if seen.outline is not None]
    looks = [seen for seen in looks if seen.outline is not None]
    if not homes:
        return
    signs = _signs(homes)
    for start in range(0, len(looks), 256):
        part = looks[start : start + 256]
        distances = (256 - _signs(part) @ signs.T) / 2
        for seen, row in zip(part, distances, strict=True):
            best = int(row.argmin())
            yield seen, homes[best], int(row[best])


def _signs(looks: list[Look]) -> np.ndarray:
    """Outlines as -1 and 1, so that a product counts the bits that agree."""
    outlines = [seen.outline for seen in looks if seen.outline is not None]
    return np.stack(outlines) * np.float32(2) - 1
