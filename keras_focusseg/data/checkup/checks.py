"""Opens the splits of a dataset, looks at every sample and gathers what is found."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg.data import opening
from keras_focusseg.data.checkup import repeats, rules, videos
from keras_focusseg.data.checkup.looking import failure, look
from keras_focusseg.data.checkup.report import Example, Finding, Report, Severity, SplitSummary
from keras_focusseg.data.sources.base import Source, existing_folder, unreadable
from keras_focusseg.data.sources.folders.layout import ALL
from keras_focusseg.errors import OUTSIDE, DataError

_NEEDED = ("train", "val")  # if nobody says which splits to look at


def check(
    name: str,
    root: str | Path | None = None,
    splits: str | Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    **options: Any,
) -> Report:
    """Reads every sample of a dataset and reports all that is wrong or odd about it.

    Nothing stops the checkup but what makes it impossible: each sample is tried, whatever the one
    before it did. Besides broken files it finds what no single file shows: files without partner,
    pictures that two splits share, frames of one video on both sides of a split, classes that
    training never shows. Only numbers of each sample are kept, so memory stays flat.

    Args:
        name: A name that `open_source` knows, or "auto" to recognise the layout.
        root: Folder that the dataset lies in.
        splits: Which splits, or the one; None takes all that are labelled.
        progress: Called with (samples done, samples in all) after each sample.
        workers: Threads that read; None takes the number of cores.
        **options: Further arguments of the source, see `open_source`.

    Returns:
        The report; `exit_code` is 1 if something would break training.

    Raises:
        DataError: If the name is unknown or there is no such root; all else is a finding.

    Example:
        ```python
        report = check("synthetic_streets", splits=["train", "val"], count=4, size=(96, 128))
        report.verdict()
        # 'Fit for training: nothing found.'
        ```
    """
    base = existing_folder(root, "the root folder").resolve() if root is not None else None
    splits = [splits] if isinstance(splits, str) else splits
    name = opening.recognize(root) if name == "auto" and root is not None else name
    try:
        there = opening.splits(name, root)
    except OSError as error:
        raise unreadable(Path(root or ""), "the folder", error) from error
    tried: dict[str, Severity] = dict.fromkeys(there if splits is None else splits, "error")
    searched = base if splits is None else None
    if searched and ALL not in tried:
        for split in sorted(set(_NEEDED) - set(there)):
            tried[split] = "error" if split == "train" or _traces(searched, split) else "warning"
    opened: list[Source] = []
    findings: list[Finding] = []
    links = False
    for split, severity in tried.items():
        try:
            opened.append(open_leniently(name, root, split, options))
        except (DataError, OSError) as error:
            findings.append(_unopened(severity, split, error, base))
            links |= isinstance(error, DataError) and error.kind == OUTSIDE
    if searched and not opened and not there:  # options may lead to what is not seen without them
        with contextlib.suppress(DataError, OSError):
            opened = [open_leniently(name, root, ALL, options)]
            findings = []
    if base is not None and links:
        findings += _links_out(base)
    report = check_sources(opened, progress, workers, base)
    found = rules.ordered([*findings, *report.findings])
    return replace(report, name=opened[0].name if opened else name, findings=found)


def check_sources(
    sources: Sequence[Source],
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    root: str | Path | None = None,
) -> Report:
    """As `check`, of sources that are open.

    Args:
        sources: One a split, each with a `split` of its own. Files without partner are listed if
            they were opened with `strict=False`.
        progress: Called with (samples done, samples in all) after each sample.
        workers: Threads that read; None takes the number of cores.
        root: What names of files are shown relative to.

    Returns:
        The report.

    Raises:
        ValueError: If two sources have the same split.

    Example:
        ```python
        space = label_spaces.from_names(["background", "crack"])
        source = data.Folder("images", "masks", space, strict=False)
        check_sources([source]).exit_code    # 0
        ```
    """
    names = [source.split for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"Each source must have a split of its own, got {', '.join(names)}.")
    base = Path(root).resolve() if root is not None else None
    done, in_all = 0, sum(len(source) for source in sources)
    looked = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for source in sources:
            looks = []
            for seen in pool.map(partial(look, source), range(len(source))):
                looks.append(seen)
                done += 1
                if progress is not None:
                    progress(done, in_all)
            looked.append(rules.Looked(source, looks, base))
    return Report(
        sources[0].name if sources else "",
        str(base or ""),
        sources[0].label_space if sources else None,
        tuple(_summary(part) for part in looked),
        rules.ordered(_findings(looked)),
        tuple(sources),
    )


def open_leniently(
    name: str, root: str | Path | None, split: str, options: Mapping[str, Any]
) -> Source:
    """Opens a split to look at it: files without partner are left out, and listed in `unpaired`.

    Args:
        name: See `check`.
        root: See `check`.
        split: Which one.
        options: Further arguments of the source.

    Returns:
        The source.

    Raises:
        DataError: See `open_source`.
    """
    lenient = {} if name == opening.SYNTHETIC else {"strict": False}  # rendered: no lone files
    return opening.open_source(name, root, split, **{**lenient, **options})


def _traces(root: Path, split: str) -> bool:
    """Whether something in a root, or a folder of it, is named after a split."""
    return any(itertools.chain(root.glob(f"{split}*"), root.glob(f"*/{split}*")))


def _unopened(severity: Severity, split: str, error: Exception, root: Path | None) -> Finding:
    """Why a split is not there; an option that a source does not have is raised instead."""
    if isinstance(error, DataError) and error.kind == opening.NO_OPTION:
        raise error
    found = failure(error)
    where = f"{found.path}: " if found.path else ""
    where = "" if found.value.startswith(where) else where  # as errors of class tables do
    example = Example(split, rules.from_root(f"{where}{found.value}", root))
    fix = f"{found.fix} Nothing in this split has been looked at."
    return rules.finding(severity, "split that cannot be opened", split, fix, [example])


def _links_out(root: Path) -> list[Finding]:
    """All links out of the root, since a source names the first alone."""
    examples = []
    for folder, folders, files in os.walk(root):
        for path in (Path(folder) / name for name in sorted(folders + files)):
            if path.is_symlink() and (value := rules.link_out(path, root)):
                examples.append(Example(rules.shown(path, root), value))
    fix = "Copy the files into the folder, or open the folder that really holds them."
    return [rules.finding("error", OUTSIDE, "", fix, examples)] if examples else []


def _findings(looked: Sequence[rules.Looked]) -> list[Finding]:
    found = []
    for part in looked:
        if not part.looks:
            fix = "Look whether the folder is the right one."
            found.append(rules.single("error", "empty split", part.split, "no sample", fix))
        for rule in (rules.unpaired, rules.remarks, rules.masks, rules.sizes):
            found += rule(part)
    for between in (
        rules.gray_levels,
        repeats.repeated,
        repeats.nearly_repeated,
        videos.neighbors,
        rules.classes,
    ):
        found += between(looked)
    return found


def _summary(part: rules.Looked) -> SplitSummary:
    num_classes = part.source.label_space.num_classes
    counts = [seen.counts for seen in part.looks if seen.counts is not None]
    table = np.stack(counts) if counts else np.zeros((0, num_classes + 1), "int32")
    pixels = table.sum(0, dtype="int64").tolist()
    sizes = Counter(seen.size for seen in part.looks if seen.size is not None)
    return SplitSummary(
        split=part.split,
        layout=part.source.layout,
        note=part.source.note,
        samples=len(part.looks),
        readable=sum(seen.whole for seen in part.looks),
        sizes=dict(sizes.most_common()),
        pixels=tuple(pixels[:-1]),
        ignored=pixels[-1],
        images=tuple((table[:, :-1] > 0).sum(0).tolist()),
    )
