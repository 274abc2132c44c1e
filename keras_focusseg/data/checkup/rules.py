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
from keras_focusseg.data.errors import printable
from keras_focusseg.data.sources.base import Source, some

_MOSTLY = 0.5  # a split that ignores a larger share than this is suspicious


@dataclass
class Looked:
    """A split with what was seen of it.

    Attributes:
        source: the split.
        looks: of each sample, in order.
        root: what file names are relative to; None leaves them absolute.
    """

    source: Source
    looks: list[Look]
    root: Path | None = None

    def short(self, text: str) -> str:
        """A text in which paths are from the root on."""
        return from_root(text, self.root)

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


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; else as they come."""
    return tuple(sorted(findings, key=lambda found: SEVERITIES.index(found.severity)))


def remarks(looked: Looked) -> list[Finding]:
    """What was seen at single samples, cases of one kind together."""
    groups: dict[tuple[Severity, str, str], list[tuple[Example, str]]] = defaultdict(list)
    for seen in looked.looks:
        for remark in seen.remarks:
            # Advice with the name of a file or a number in it is the same advice.
            advice = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "", remark.fix)
            key = (remark.severity, remark.kind, advice)
            groups[key].append((_remark_example(looked, seen, remark), remark.fix))
    return [
        finding(severity, kind, looked.split, cases[0][1], [example for example, _ in cases])
        for (severity, kind, _), cases in groups.items()
    ]


def _remark_example(looked: Looked, seen: Look, remark: Remark) -> Example:
    value = looked.short(remark.value)
    if remark.path is None:
        return looked.example(seen.index, value)
    return Example(shown(remark.path, looked.root), value, ((looked.split, seen.index),))


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


def faults(looked: Looked) -> list[Finding]:
    """What was left out because something is wrong with it; training refuses it."""
    groups: dict[str, list[Remark]] = defaultdict(list)
    for error in looked.source.faults:
        remark = failure(error)
        groups[remark.kind].append(remark)
    return [
        finding(
            "error",
            kind,
            looked.split,
            found[0].fix,
            [Example(shown(r.path, looked.root) if r.path else "", r.value) for r in found],
        )
        for kind, found in groups.items()
    ]


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
    return [
        finding(
            "note", "pictures of several sizes", looked.split, fix, [Example(looked.split, value)]
        )
    ]


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
    if len({looked.source.label_space for looked, _ in counted}) > 1:
        value = "; ".join(
            f"{looked.split}: {some(looked.source.label_space.classes, 12)}"
            for looked, _ in counted
        )
        fix = "Give all splits the same label space, or one class table for all of them."
        kind = "splits with different classes"
        return [*found, finding("error", kind, names, fix, [Example(names, value)])]
    everywhere = np.sum([counts[:-1] > 0 for _, counts in counted], axis=0)
    if missing := [space.classes[i] for i in np.flatnonzero(everywhere == 0)]:
        value = f"{len(missing)} of {space.num_classes} classes: {some(missing, 12)}"
        fix = "Nothing if so few pictures are meant; otherwise look whether the ids are right."
        found.append(
            finding("note", "class that no mask shows", names, fix, [Example(names, value)])
        )
    train = next(
        ((looked, counts) for looked, counts in counted if looked.split.startswith("train")), None
    )
    if train is not None:
        fix = (
            "The network cannot learn it, and its IoU of 0 counts in the mean. Move pictures that "
            "show it to the training split, or merge the class with another."
        )
        for looked, counts in counted:
            unseen = np.flatnonzero((counts[:-1] > 0) & (train[1][:-1] == 0))
            if looked is not train[0] and unseen.size:
                value = f"in {looked.split} but not in {train[0].split}: " + some(
                    [space.classes[i] for i in unseen], 12
                )
                names = f"{train[0].split}, {looked.split}"
                case = Example(looked.split, value)
                kind = "class that training never shows"
                found.append(finding("warning", kind, names, fix, [case]))
    return found


def _too_little(looked: Looked, counts: np.ndarray) -> list[Finding]:
    """Whether a split has something to learn or to score."""
    space, split = looked.source.label_space, looked.split
    shown_classes = np.flatnonzero(counts[:-1])
    if not shown_classes.size:
        fix = (
            "Look whether the label table is that of these masks: its ignored ids are all there is."
        )
        value = f"all {int(counts[-1])} pixels are {space.ignore_name!r}"
        return [
            finding("error", "split without a labelled pixel", split, fix, [Example(split, value)])
        ]
    found = []
    if shown_classes.size == 1 and space.num_classes > 1:
        value = f"the only class is {space.classes[shown_classes[0]]!r}"
        fix = "There is nothing to tell apart. Look whether the ids on disk are those of the table."
        if counts[-1] and looked.source.files(0):
            fix += (
                " Masks in black and white hold 0 and 255, and 255 is ignored here: give the id "
                "255 to the class that is white."
            )
        found.append(
            finding("error", "split of one class only", split, fix, [Example(split, value)])
        )
    share = counts[-1] / counts.sum()
    if share > _MOSTLY:
        value = f"{100 * share:.0f} % of the pixels are {space.ignore_name!r}"
        fix = "Look whether a class stands among the ignored ids."
        found.append(
            finding("warning", "split that is mostly ignored", split, fix, [Example(split, value)])
        )
    return found
