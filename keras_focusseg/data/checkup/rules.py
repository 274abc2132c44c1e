"""From looks at the samples of a split to findings, and what classes the splits show."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_focusseg.data.checkup.looking import Look, Remark, failure
from keras_focusseg.data.checkup.report import KEPT, SEVERITIES, Example, Finding, Severity
from keras_focusseg.data.sources.base import Source, some
from keras_focusseg.data.sources.folders.encoding import SPREAD
from keras_focusseg.errors import printable
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.label_spaces.discovery import DISCOVERED

_MOSTLY = 0.5  # a split that ignores a larger share than this is suspicious


@dataclass
class Looked:
    """A split, what was seen of each of its samples, and what its file names are relative to."""

    source: Source
    looks: list[Look]
    root: Path | None = None

    @property
    def split(self) -> str:
        """Its name."""
        return self.source.split

    def file(self, index: int, which: int = 0) -> str:
        """The image (0) or mask (-1) of a sample, or its name where there are no files."""
        files = self.source.files(index)
        if files and self.shares_label_files:
            return shown(files[0], self.root)  # the one file of all masks would say nothing
        if files:
            return shown(files[which], self.root)
        return printable(self.looks[index].name)

    @functools.cached_property
    def shares_label_files(self) -> bool:
        """Whether the masks of several samples come from one file, as COCO's do."""
        labels = [self.source.files(index)[1:] for index in range(min(2, len(self.looks)))]
        return len(labels) == 2 and bool(labels[0]) and labels[0] == labels[1]

    def example(self, index: int, value: str, which: int = 0) -> Example:
        """A case of one sample."""
        return Example(self.file(index, which), value, ((self.split, index),))


def from_root(text: str, root: Path | None) -> str:
    """A text in which the paths below the root are from the root on."""
    return text if root is None else text.replace(f"{printable(str(root))}/", "")


def shown(path: Path, root: Path | None) -> str:
    """A path as it is printed: from the root on, and without characters that cannot be."""
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    return printable(path.as_posix())


def link_out(path: Path, root: Path) -> str:
    """Where a path really leads, if that is not below the root; else nothing."""
    try:
        target = path.resolve()
    except (OSError, RuntimeError):
        return "a link that leads in a circle"
    return "" if target.is_relative_to(root) else f"a link to {printable(str(target))}"


def finding(
    severity: Severity, kind: str, split: str, fix: str, examples: Sequence[Example]
) -> Finding:
    """A finding of some examples, of which the first are kept; see `Finding`."""
    return Finding(severity, kind, split, len(examples), fix, tuple(examples[:KEPT]))


def single(severity: Severity, kind: str, split: str, value: str, fix: str) -> Finding:
    """A finding about splits as such."""
    return finding(severity, kind, split, fix, [Example(split, value)])


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; else as they come."""
    return tuple(sorted(findings, key=lambda found: SEVERITIES.index(found.severity)))


def remarks(looked: Looked) -> list[Finding]:
    """What was seen at single samples, or left out of them, cases of one kind together."""
    groups: dict[tuple[Severity, str, str], list[tuple[Example, str]]] = defaultdict(list)
    seen = [(look, remark) for look in looked.looks for remark in look.remarks]
    left = [(None, failure(error)) for error in looked.source.faults]  # training refuses these
    for look, remark in [*seen, *left]:
        # Advice with the name of a file or a number in it is the same advice.
        advice = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "", remark.fix)
        key = (remark.severity, remark.kind, advice)
        groups[key].append((_remark_example(looked, look, remark), remark.fix))
    return [
        finding(severity, kind, looked.split, cases[0][1], [example for example, _ in cases])
        for (severity, kind, _), cases in groups.items()
    ]


def _remark_example(looked: Looked, seen: Look | None, remark: Remark) -> Example:
    value = from_root(remark.value, looked.root)
    samples = () if seen is None else ((looked.split, seen.index),)
    if remark.path is not None:
        return Example(shown(remark.path, looked.root), value, samples)
    return Example(looked.split if seen is None else looked.file(seen.index), value, samples)


def unpaired(looked: Looked) -> list[Finding]:
    """Files that have no partner, with the one that may be meant."""
    paths = list(looked.source.unpaired)
    if not paths:
        return []
    root = looked.root.resolve() if looked.root is not None else None
    known: dict[str, list[Path]] = defaultdict(list)
    for path in [*paths, *(f for i in range(len(looked.looks)) for f in looked.source.files(i))]:
        known[_plain(path)].append(path)
    examples = []
    for path in paths:
        near = [other for other in known[_plain(path)] if other != path]
        apart = [other for other in near if other.parent != path.parent]
        value = "no partner"
        if root is not None and (out := link_out(path, root)):
            value = out
        elif apart and apart[0].stem == path.stem:
            value = f"not paired with '{shown(apart[0], looked.root)}', which has the same name"
        elif apart:
            value = f"no partner; '{shown(apart[0], looked.root)}' has nearly the same name"
        elif near:
            value = f"no partner; beside it lies '{printable(near[0].name)}'"
        examples.append(Example(shown(path, looked.root), value))
    fix = (
        "Restore the missing partner, give both the same name, add both to the list where the "
        "dataset has one, or move the file away. Training refuses it as it is."
    )
    return [finding("error", "file without partner", looked.split, fix, examples)]


def _plain(path: Path) -> str:
    """What is left of a name without case, suffix, broken characters and additions of masks."""
    stem = path.stem.encode("utf-8", "ignore").decode().casefold()
    return re.sub(r"[-_ ](l|mask|masks|label|labels|gt|seg|annot|train_id|labelids)$", "", stem)


def masks(looked: Looked) -> list[Finding]:
    """Masks that say little: all ignored, of one class, the same for different pictures."""
    space = looked.source.label_space
    ignored, single = [], []
    pictures: dict[bytes, Look] = {}
    same = []
    for seen in looked.looks:
        if seen.counts is None:
            continue
        present = np.flatnonzero(seen.counts[:-1])
        if not present.size:
            ignored.append(looked.example(seen.index, f"all pixels are {space.ignore_name!r}", -1))
            continue
        if present.size == 1 and space.num_classes > 1:
            rest = f", the rest is {space.ignore_name!r}" if seen.counts[-1] else ""
            value = f"the only class is {space.classes[present[0]]!r}{rest}"
            single.append(looked.example(seen.index, value, -1))
            continue
        first = pictures.setdefault(seen.mask, seen)
        if first.image and seen.image and first.image != seen.image:
            both = ((looked.split, seen.index), (looked.split, first.index))
            value = f"the same mask as {looked.file(first.index, -1)}, with another picture"
            same.append(Example(looked.file(seen.index, -1), value, both))
    cases = (
        ("mask that is ignored throughout", ignored,
         "Such a sample teaches nothing. Label it or leave it out."),
        ("mask of one class only", single,
         "Right if the pictures show nothing else; otherwise the masks were exported wrongly."),
        ("same mask for different pictures", same,
         "One of them has the mask of another picture: restore it."),
    )  # fmt: skip
    return [
        finding("warning", kind, looked.split, fix, examples)
        for kind, examples, fix in cases
        if examples
    ]


def gray_levels(splits: Sequence[Looked]) -> list[Finding]:
    """Ids that stand in no table and are so far apart that they may be levels of grey."""
    found = [looked.source for looked in splits if looked.source.label_space.name == DISCOVERED]
    ids = sorted({i for source in found if _by_id(source) for i in source.label_space.ids})
    if not ids or ids[-1] <= len(ids) + SPREAD:
        return []
    listed = ", ".join(map(str, ids[:6])) + (", ..." if len(ids) > 6 else "")
    value = f"{len(ids)} ids from {ids[0]} to {ids[-1]}: {listed}"
    fix = (
        "If coloured masks were saved as grey, restore the coloured ones: classes of equally "
        "bright colours have become one. If these are ids, a class table says what they mean."
    )
    names = ", ".join(looked.split for looked in splits)
    return [single("warning", "ids that may be levels of grey", names, value, fix)]


def _by_id(source: Source) -> bool:
    return isinstance(getattr(source, "encoding", None), LabelSpace)


def sizes(looked: Looked) -> list[Finding]:
    """Pictures of several sizes, which batches have to crop."""
    found = {seen.size for seen in looked.looks if seen.size is not None}
    if len(found) < 2:
        return []
    areas = sorted(found, key=lambda size: (size[0] * size[1], size))
    value = (
        f"{len(found)} sizes from {areas[0][1]} x {areas[0][0]} to {areas[-1][1]} x {areas[-1][0]}"
    )
    fix = "Train in crops of one size (crop_size), and validate with a batch of 1."
    return [single("note", "pictures of several sizes", looked.split, value, fix)]


def classes(splits: Sequence[Looked]) -> list[Finding]:
    """Classes that are nowhere, or not where training sees them; splits with nothing to learn."""
    counted = []
    for looked in splits:
        masks = [seen.counts for seen in looked.looks if seen.counts is not None]
        if masks:
            counted.append((looked, np.sum(masks, axis=0, dtype="int64")))
    found = [case for looked, counts in counted for case in _too_little(looked, counts)]
    if not counted:
        return found
    space = counted[0][0].source.label_space
    names = ", ".join(looked.split for looked, _ in counted)
    spaces = [(looked.split, looked.source.label_space) for looked, _ in counted]
    if len({space for _, space in spaces}) > 1:
        value = "; ".join(f"{split}: {some(space.classes, 12)}" for split, space in spaces)
        fix = "Give all splits the same label space, or one class table for all of them."
        return [*found, single("error", "splits with different classes", names, value, fix)]
    everywhere = np.sum([counts[:-1] > 0 for _, counts in counted], axis=0)
    if missing := [space.classes[i] for i in np.flatnonzero(everywhere == 0)]:
        value = f"{len(missing)} of {space.num_classes} classes: {some(missing, 12)}"
        fix = "Nothing if so few pictures are meant; otherwise look whether the ids are right."
        found.append(single("note", "class that no mask shows", names, value, fix))
    trained = [(looked.split, n) for looked, n in counted if looked.split.startswith("train")]
    for looked, counts in counted if trained else ():
        train, learned = trained[0]
        unseen = np.flatnonzero((counts[:-1] > 0) & (learned[:-1] == 0))
        if unseen.size:
            names = some([space.classes[i] for i in unseen], 12)
            case = Example(looked.split, f"in {looked.split} but not in {train}: {names}")
            fix = (
                "The network cannot learn it, and its IoU of 0 counts in the mean. Move pictures "
                "that show it to the training split, or merge the class with another."
            )
            kind = "class that training never shows"
            found.append(finding("warning", kind, f"{train}, {looked.split}", fix, [case]))
    return found


def _too_little(looked: Looked, counts: np.ndarray) -> list[Finding]:
    """Whether a split has something to learn or to score."""
    space, split = looked.source.label_space, looked.split
    there = np.flatnonzero(counts[:-1])
    if not there.size:
        value = f"all {int(counts[-1])} pixels are {space.ignore_name!r}"
        fix = (
            "Look whether the label table is that of these masks: its ignored ids are all there is."
        )
        return [single("error", "split without a labelled pixel", split, value, fix)]
    found = []
    if there.size == 1 and space.num_classes > 1:
        value = f"the only class is {space.classes[there[0]]!r}"
        fix = "There is nothing to tell apart. Look whether the ids on disk are those of the table."
        if counts[-1] and looked.source.files(0):
            fix += (
                " Masks in black and white hold 0 and 255, and 255 is ignored here: in a folder of "
                "your own, give the id 255 to the class that is white."
            )
        found.append(single("error", "split of one class only", split, value, fix))
    share = counts[-1] / counts.sum()
    if share > _MOSTLY:
        value = f"{100 * share:.0f} % of the pixels are {space.ignore_name!r}"
        fix = "Look whether a class stands among the ignored ids."
        found.append(single("warning", "split that is mostly ignored", split, value, fix))
    return found
