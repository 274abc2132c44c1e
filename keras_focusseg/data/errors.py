"""The one error of the data room."""

from __future__ import annotations


class DataError(ValueError):
    """Something on disk, or in a source, is not what training needs.

    The message names the file, the value that was found, what was expected and what to do.
    """

    def __init__(self, message: str) -> None:
        # Names of files that are not UTF-8 hold surrogates, which no terminal or page can take.
        super().__init__(message.encode("utf-8", "backslashreplace").decode())
