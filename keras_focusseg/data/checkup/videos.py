"""Frames of one video on both sides of a split, by the numbers in their names and their looks."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from keras_focusseg.data.checkup.looking import Look
from keras_focusseg.data.checkup.report import Example, Finding
from keras_focusseg.data.checkup.rules import Looked, finding
from keras_focusseg.errors import printable

_ALIKE = 0.85
"""Outlines of frames that follow each other in a video differ in less than this part of the bits
that those of any two pictures differ in: in 0.62, 0.75 and 0.82 of them in the three videos of
CamVid's training split, one second apart."""
_CHANCES = 500


class _Frame(NamedTuple):
    number: int
    seen: Look


def neighbors(splits: Sequence[Looked]) -> list[Finding]:
    """Frames of one video in two splits that lie at most two usual steps apart.

    Numbered photographs of different things are no video: pictures that follow each other have to
    look more alike than any two do. A finding for each two splits, with an example for each video.
    """
    found = []
    videos = [(looked, _videos(looked)) for looked in splits]
    for (home, ours), (looked, others) in itertools.combinations(videos, 2):
        shared = sorted(set(ours) & set(others))
        near = {video: _near(ours[video], others[video]) for video in shared}
        near = {video: pairs for video, pairs in near.items() if pairs}
        frames = [part[video] for video in near for part in (ours, others)]
        if near and _is_video(frames, (home, looked)):
            examples = [
                _example(video, pairs, home, ours[video], looked, others[video])
                for video, pairs in near.items()
            ]
            fix = (
                "Neighbouring frames show nearly the same, so scores across this border flatter. "
                "Where the split is official, say so beside the score; where it is your own, keep "
                "each video in one split."
            )
            names, kind = f"{home.split}, {looked.split}", "frames of one video in two splits"
            found.append(finding("warning", kind, names, fix, examples))
    return found


def _videos(looked: Looked) -> dict[str, list[_Frame]]:
    """The frames of each video in order; it is what a name is without its last number."""
    videos: dict[str, list[_Frame]] = defaultdict(list)
    for seen in looked.looks:
        match = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", seen.name)
        if match and seen.outline is not None:
            videos[match[1] + match[3]].append(_Frame(int(match[2]), seen))
    return {name: sorted(frames, key=lambda f: f.number) for name, frames in videos.items()}


def _near(ours: list[_Frame], theirs: list[_Frame]) -> list[tuple[_Frame, _Frame]]:
    """Each of their frames with the nearest of ours, nearest pair first, if it is near."""
    numbers = np.array([frame.number for frame in ours])
    pairs = [(ours[int(np.abs(numbers - frame.number).argmin())], frame) for frame in theirs]
    limit = _limit(ours, theirs)
    return sorted((pair for pair in pairs if _apart(pair) <= limit), key=_apart)


def _apart(pair: tuple[_Frame, _Frame]) -> int:
    return abs(pair[0].number - pair[1].number)


def _limit(ours: list[_Frame], theirs: list[_Frame]) -> int:
    """Two steps of the split that takes the longer ones."""
    return 2 * max(_step(ours), _step(theirs))


def _step(frames: list[_Frame]) -> int:
    """The usual distance of a video's frames; 1 where there is but one frame."""
    numbers = [frame.number for frame in frames]
    return int(np.median(np.diff(numbers))) if len(numbers) > 1 else 1


def _is_video(frames: Iterable[list[_Frame]], splits: Sequence[Looked]) -> bool:
    """Whether frames that follow each other look more alike than any two pictures."""
    together = [
        _difference(one.seen, other.seen)
        for video in frames
        for one, other in itertools.pairwise(video)
    ]
    looks = [seen for part in splits for seen in part.looks if seen.outline is not None]
    rng = np.random.default_rng(0)
    chances = [rng.choice(len(looks), 2, replace=False) for _ in range(_CHANCES)]
    by_chance = [_difference(looks[one], looks[other]) for one, other in chances]
    return bool(together) and bool(np.median(together) < _ALIKE * np.median(by_chance))


def _difference(one: Look, other: Look) -> int:
    return int(np.count_nonzero(one.outline != other.outline))


def _example(
    video: str,
    pairs: list[tuple[_Frame, _Frame]],
    home: Looked,
    ours: list[_Frame],
    looked: Looked,
    theirs: list[_Frame],
) -> Example:
    one, other = pairs[0]
    distance = _apart(pairs[0])
    value = (
        f"{distance} frame{'' if distance == 1 else 's'} from {home.file(one.seen.index)}, where "
        f"{home.split} usually steps by {_step(ours)}; {len(pairs)} of {looked.split}'s "
        f"{len(theirs)} frames of {printable(video)!r} are within {_limit(ours, theirs)} of one "
        f"of {home.split}'s {len(ours)}"
    )
    both = ((looked.split, other.seen.index), (home.split, one.seen.index))
    return Example(looked.file(other.seen.index), value, both)
