"""What a checkup found, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from keras_focusseg.data.sources.base import Source
from keras_focusseg.label_spaces import LabelSpace

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

KEPT = 100
"""Of each finding, so many examples are kept."""


@dataclass(frozen=True)
class Example:
    """One case of a finding.

    Attributes:
        file: Which file, from the root on where it lies below it; the sample's name or the split
            where there is no file.
        value: What was found in it.
        samples: Split and index of the samples that show it; none for what is no sample.
    """

    file: str
    value: str
    samples: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Finding:
    """Cases of one kind.

    Attributes:
        severity: "error" stops a training or makes its scores false; "warning" may cost accuracy;
            "note" is good to know.
        kind: What it is, in a few words; always the same ones for the same kind.
        split: Where, several joined by ", "; empty for the whole dataset.
        count: How many cases there are.
        fix: What to do about them.
        examples: The first cases, at most 100.
    """

    severity: Severity
    kind: str
    split: str
    count: int
    fix: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds, of the samples that could be read.

    Attributes:
        split: Its name.
        layout: What was found on disk, see `Source.layout`.
        note: What has to be said beside every score on it, see `Source.note`.
        samples: How many there are, broken ones included.
        readable: How many could be read whole.
        sizes: Images of each (height, width), most frequent first.
        pixels: Pixels of each class.
        ignored: Ignored pixels.
        images: Masks that hold the class.
    """

    split: str
    layout: str
    note: str
    samples: int
    readable: int
    sizes: Mapping[tuple[int, int], int]
    pixels: tuple[int, ...]
    ignored: int
    images: tuple[int, ...]

    def share(self, index: int) -> float:
        """Share of class `index` in all pixels that are not ignored, 0..1."""
        return self.pixels[index] / max(1, sum(self.pixels))

    def ignored_share(self) -> float:
        """Share of ignored pixels in all, 0..1."""
        return self.ignored / max(1, sum(self.pixels) + self.ignored)


@dataclass(frozen=True)
class Report:
    """What a checkup found.

    Attributes:
        name: Name of the dataset.
        root: Where it lies; empty for what lies nowhere.
        label_space: Its classes; None if no split could be opened.
        splits: A summary of each split that could be opened.
        findings: Errors first, then warnings, then notes.
        sources: The splits themselves, for whoever wants to show samples.
    """

    name: str
    root: str
    label_space: LabelSpace | None
    splits: tuple[SplitSummary, ...]
    findings: tuple[Finding, ...]
    sources: tuple[Source, ...] = field(default=(), repr=False, compare=False)

    def count(self, severity: Severity) -> int:
        """How many kinds of findings have that severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 if there is an error, else 0."""
        return int(self.count("error") > 0)

    def verdict(self) -> str:
        """The outcome in one sentence."""
        counts = ", ".join(
            f"{self.count(severity)} {severity}{'' if self.count(severity) == 1 else 's'}"
            for severity in SEVERITIES
            if self.count(severity)
        )
        if self.exit_code:
            return f"Not fit for training: {counts}."
        return f"Fit for training: {counts or 'nothing found'}."

    def to_dict(self) -> dict[str, Any]:
        """Everything but the sources, as values that `json` can write."""
        space = self.label_space
        found = asdict(replace(self, label_space=None, sources=()))
        for summary, written in zip(self.splits, found["splits"], strict=True):
            written["sizes"] = [
                {"height": height, "width": width, "images": count}
                for (height, width), count in summary.sizes.items()
            ]
        del found["label_space"], found["sources"]
        return {
            "verdict": self.verdict(),
            "exit_code": self.exit_code,
            "classes": list(space.classes) if space else [],
            **found,
        }
