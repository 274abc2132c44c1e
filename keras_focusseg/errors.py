"""The one error about data on disk. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

OUTSIDE = "link that leads out of the root"
"""The kind of every link to what lies outside the folder that was opened."""


class DataError(ValueError):
    """Something on disk, or in a source, is not what training needs.

    Printed, it is one message: `file: part: found; expected ... . fix`.

    Args:
        found: What is wrong, with the value that was found; a sentence without its full stop.
        kind: What sort of fault it is, in a few words that are the same for all of the sort, such
            as "broken image"; a checkup puts faults of one kind together.
        file: The file or folder that it is about.
        part: Which part of the file, such as "line 3" or "annotation 17".
        expected: What should be there instead.
        fix: What to do, as sentences.

    Example:
        ```python
        error = DataError("is empty", kind="empty file", file=Path("1.png"), fix="Restore it.")
        str(error)
        # '1.png: is empty. Restore it.'
        ```
    """

    def __init__(
        self,
        found: str,
        *,
        kind: str = "",
        file: str | Path | None = None,
        part: str = "",
        expected: str = "",
        fix: str = "",
    ) -> None:
        self.found, self.kind, self.part = printable(found), kind, printable(part)
        self.file = None if file is None else Path(file)
        self.expected, self.fix = printable(expected), printable(fix)
        joint = ", " if part.startswith(("line ", "record ")) else ": "
        place = joint.join(printable(str(p)) for p in (file, part) if p)
        named = not place or (file is not None and self.found.startswith(printable(str(file))))
        text = self.fault if named else f"{place}: {self.fault}"
        stop = "" if text.endswith((".", "!", "?")) else "."
        super().__init__(f"{text}{stop} {self.fix}".rstrip())

    @property
    def fault(self) -> str:
        """What was found and what was expected, without the file."""
        return self.found + (f"; expected {self.expected}" if self.expected else "")


class Place(NamedTuple):
    """Where something stands: a file, and which part of it."""

    file: Path
    part: str = ""

    def error(self, found: str, kind: str, *, expected: str = "", fix: str = "") -> DataError:
        """What is wrong there; see `DataError`."""
        return DataError(
            found, kind=kind, file=self.file, part=self.part, expected=expected, fix=fix
        )


def printable(text: str) -> str:
    """The text with escapes for bytes of file names that are no UTF-8, so that it can be shown."""
    return text.encode("utf-8", "backslashreplace").decode()
