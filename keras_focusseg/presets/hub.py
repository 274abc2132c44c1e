"""Files of presets on the Hugging Face Hub: fetched into its cache, within limits.

What lies there is by strangers. Two kinds of files are asked for, a record and the weights that it
names, each with a limit on its size; nothing is unpacked, and nothing read that runs code.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEME = "hf://"
RECORD = "preset.json"
LARGEST_RECORD = 1 << 20
"""A record of more bytes is refused; those of this package have 6 kB."""
LARGEST_WEIGHTS = 1 << 31
"""Weights of more bytes are refused: 2 GiB are ten times the largest network here."""

_ADDRESS = re.compile(r"hf://(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)
_COMMIT = re.compile("[0-9a-f]{40}")


def is_address(preset: object) -> bool:
    """Whether a preset is named by an address of the Hub."""
    return isinstance(preset, str) and preset.startswith(SCHEME)


def parse(address: str) -> tuple[str, str]:
    """An address as (repository, revision), the revision "main" where there is none.

    Raises:
        ValueError: It is not `hf://owner/name` or `hf://owner/name@revision`.

    Example:
        ```python
        parse("hf://owner/name@v1")  # ("owner/name", "v1")
        ```
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or ".." in address:
        raise ValueError(
            f"{address!r} is no address of a preset: expected hf://owner/name or "
            "hf://owner/name@revision, the revision a commit, a tag or a branch."
        )
    return match[1], match[2] or "main"


def fetch_record(address: str) -> Path:
    """The record of a preset, in the cache; its folder is called by the commit it is of.

    Raises:
        ValueError: The address is none, there is no such repository or revision, or it holds no
            record.
        ImportError: `huggingface_hub` is not installed.
        ConnectionError: The Hub cannot be reached, or must not be and the cache has no such file.
    """
    return _fetch(*parse(address), RECORD, LARGEST_RECORD)


def fetch_weights(address: str, commit: str, file: str, size: int) -> Path:
    """The weights that a record of this commit names, in the cache beside it.

    Args:
        address: Address of the preset; `commit` takes the place of its revision, so that both files
            belong together.
        commit: Where the record is from.
        file: Name of the file.
        size: Its size in bytes, as the record says.

    Raises:
        ValueError: There is no such file, or it has another size.
        ImportError: `huggingface_hub` is not installed.
        ConnectionError: The Hub cannot be reached, or must not be and the cache has no such file.
    """
    if size > LARGEST_WEIGHTS:
        raise ValueError(
            f"{address}: its record tells of weights with {size} bytes; more than "
            f"{LARGEST_WEIGHTS} are not fetched."
        )
    repository, _ = parse(address)
    path = _fetch(repository, commit, file, size)
    if path.stat().st_size != size:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, the record says {size}. If it was whole "
            "once, remove it, to fetch it anew."
        )
    return path


def library(address: str) -> Any:
    """The package `huggingface_hub`.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            f"{address} lies on the Hugging Face Hub, which needs a package: pip install "
            "huggingface_hub. Or download its files into a folder and name that."
        ) from error
    return huggingface_hub


def _fetch(repository: str, revision: str, file: str, largest: int) -> Path:
    """A file of a repository in the cache; asks the Hub unless the cache is known to be right."""
    where = f"{SCHEME}{repository}@{revision}"
    huggingface_hub = library(where)
    errors, constants = huggingface_hub.errors, huggingface_hub.constants
    api = huggingface_hub.HfApi()
    if constants.HF_HUB_OFFLINE or _COMMIT.fullmatch(revision):  # a commit never changes
        with contextlib.suppress(errors.LocalEntryNotFoundError):
            found = api.hf_hub_download(repository, file, revision=revision, local_files_only=True)
            return _checked(Path(found), largest, constants.HF_HUB_CACHE)
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError(
            f"{where}: {file} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
            "forbids to fetch it. Unset it once, while there is a network."
        )
    with _errors_told(where, file, huggingface_hub, api.endpoint):
        url = huggingface_hub.hf_hub_url(repository, file, revision=revision, endpoint=api.endpoint)
        size = api.get_hf_file_metadata(url=url).size
    _check_size(f"{where}, {file}", size, largest)
    with _errors_told(where, file, huggingface_hub, api.endpoint):
        found = api.hf_hub_download(repository, file, revision=revision)
    return _checked(Path(found), largest, constants.HF_HUB_CACHE)


@contextlib.contextmanager
def _errors_told(where: str, file: str, huggingface_hub: Any, endpoint: str) -> Iterator[None]:
    """Turns the errors of a request into what to do about them."""
    errors = huggingface_hub.errors
    repository, revision = parse(where)
    try:
        yield
    except errors.HFValidationError as error:
        raise ValueError(f"{where} is no address of the Hub: {error}") from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{SCHEME}{repository} has no revision {revision!r}.") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"There is no repository {repository} on the Hub at {endpoint}, or it is not public: "
            "`hf auth login` lets you in where you may see it."
        ) from error
    except Exception as error:  # the HTTP client and its errors change from version to version
        absent = isinstance(error, errors.EntryNotFoundError)
        if absent and not isinstance(error, errors.LocalEntryNotFoundError):
            what = "a preset of this library" if file == RECORD else "whole"
            raise ValueError(f"{where} is not {what}: it has no file {file}.") from error
        raise ConnectionError(
            f"{where}: {file} could not be fetched from {endpoint}: {error}. With "
            "HF_HUB_OFFLINE=1, what was fetched before is used."
        ) from error


def _check_size(what: str, size: int | None, largest: int) -> None:
    if size is None or size > largest:
        raise ValueError(f"{what} has {size} bytes; at most {largest} are fetched.")


def _checked(path: Path, largest: int, cache: str) -> Path:
    """The file, if it lies in the cache, links followed, and is not too large."""
    if not path.resolve().is_relative_to(Path(cache).resolve()):
        raise ValueError(f"{path} is a link that leads out of the cache, to {path.resolve()}.")
    _check_size(str(path), path.stat().st_size, largest)
    return path
