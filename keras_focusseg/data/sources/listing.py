"""What lies in a folder: entries, pictures by name, the lines of a list."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from keras_focusseg.data.sources.base import inside, unreadable
from keras_focusseg.errors import DataError
from keras_focusseg.label_spaces.text import composed, decoded
from keras_focusseg.pictures.readers import SUFFIXES


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name; hidden files do not count."""
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise unreadable(folder, "the folder", error) from error
    return sorted(visible, key=lambda entry: entry.name)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def folders_in(folder: Path) -> dict[str, Path]:
    """The folders in a folder by name, without what is hidden or a Mac's archive adds."""
    return {
        composed(entry.name): Path(entry.path)
        for entry in entries(folder)
        if entry.name != "__MACOSX" and is_folder(entry)
    }


def files_ending(folder: Path, root: Path, ending: str, deep: bool = False) -> dict[str, Path]:
    """The files of a folder whose names have an ending, by name without it.

    Upper or lower case does not matter, and `.jpeg` is `.jpg`; ".*" is the suffix of any picture.
    If `deep`, those in the folders in the folder, and only there, as "city/name".
    """
    inside(folder, root)
    found: dict[str, Path] = {}
    for entry in entries(folder):
        if deep and is_folder(entry):
            inner = files_ending(Path(entry.path), root, ending)
            found |= {f"{composed(entry.name)}/{name}": path for name, path in inner.items()}
        elif not deep and (length := _ends_in(entry.name, ending)) and not is_folder(entry):
            _add(found, entry.name[:-length], entry, root)
    return found


def pictures_below(folder: Path, root: Path, skip: Sequence[Path] = ()) -> dict[str, Path]:
    """Pictures below a folder by their path without suffix, sorted, without folders in `skip`."""
    found: dict[str, Path] = {}
    for entry in walk(folder, root, SUFFIXES, skip):
        name = Path(entry.path).relative_to(folder).with_suffix("").as_posix()
        _add(found, name, entry, root)
    return dict(sorted(found.items()))


def walk(
    folder: Path, root: Path, suffixes: Sequence[str], skip: Sequence[Path] = ()
) -> Iterator[os.DirEntry[str]]:
    """The files below a folder that have one of the suffixes, folder by folder.

    Raises:
        DataError: A folder is a link, or a file a link out of the root.
    """
    for entry in entries(folder):
        path = Path(entry.path)
        if is_folder(entry):
            if path in skip:
                continue
            if entry.is_symlink():
                inside(path, root)
                raise DataError(
                    f"is a link to another folder of {root}, whose files would count twice",
                    kind="link to a folder",
                    file=path,
                    fix="Remove the link, or copy the folder.",
                )
            yield from walk(path, root, suffixes, skip)
        elif path.suffix.lower() in suffixes:
            if entry.is_symlink():
                inside(path, root)
            yield entry


def text_lines(list_file: Path) -> list[tuple[int, str]]:
    """The lines of a list that hold something, stripped, with their numbers from 1.

    Raises:
        DataError: The list is empty, or cannot be read as text.
    """
    try:
        lines = decoded(list_file.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the list cannot be read ({error})",
            kind="list that cannot be read",
            file=list_file,
            fix="Restore it, or save it as UTF-8 text.",
        ) from error
    found = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError("the list is empty", kind="list that cannot be read", file=list_file)
    return found


def _add(found: dict[str, Path], name: str, entry: os.DirEntry[str], root: Path) -> None:
    """Notes a file by the composed form of its name, which must be free."""
    path, name = Path(entry.path), composed(name)
    if name in found:
        raise DataError(
            f"has the same name as {found[name].name!r} but for the suffix or the form of its "
            "accents, so pairs are not defined",
            kind="two files of one name",
            file=path,
            fix="Rename or move one of them.",
        )
    # Only links can lead out: the folder itself has been looked at.
    found[name] = inside(path, root) if entry.is_symlink() else path


def _ends_in(name: str, ending: str) -> int:
    """How many characters of the name are the ending; 0 if it has another one."""
    endings = [ending]
    if ending.endswith(".jpg"):
        endings.append(f"{ending[:-4]}.jpeg")
    elif ending == ".*":
        endings = list(SUFFIXES)
    return next((len(e) for e in endings if name.casefold().endswith(e.casefold())), 0)


class Names:
    """Finds files by their names, whatever form their accents have.

    It remembers the folders that it has listed.

    Args:
        root: Resolved folder that nothing may be read outside of.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[Path, dict[str, os.DirEntry[str]]] = {}
        self._stems: dict[Path, dict[str, list[Path]]] = {}

    def find(self, folder: Path, name: PurePosixPath | str) -> Path | None:
        """The file of that name, or of that path, below a folder; None if there is none.

        Raises:
            DataError: If it is a link out of the root, or a folder cannot be read.
        """
        path, parts = folder, PurePosixPath(composed(str(name))).parts
        for number, part in enumerate(parts, 1):
            entry = self._listed(path).get(part)
            if entry is None or is_folder(entry) != (number < len(parts)):
                return None
            path = Path(entry.path)
            if entry.is_symlink():
                inside(path, self.root)
        return path

    def folders(self, folder: Path) -> dict[str, Path]:
        """The folders in a folder, by name."""
        return {
            name: Path(entry.path)
            for name, entry in self._listed(folder).items()
            if is_folder(entry) and not entry.is_symlink()
        }

    def alike(self, folder: Path, stem: str) -> Path | None:
        """The only picture in a folder that is called so but for case and suffix, if any is."""
        if folder not in self._stems:
            stems: dict[str, list[Path]] = defaultdict(list)
            for path in self._pictures(folder):
                stems[composed(path.stem).casefold()].append(path)
            self._stems[folder] = stems
        found = self._stems[folder].get(composed(stem).casefold(), [])
        return inside(found[0], self.root) if len(found) == 1 else None

    def pictures(self) -> list[Path]:
        """The pictures in the folders that were listed."""
        return [path for folder in self._folders for path in self._pictures(folder)]

    def _pictures(self, folder: Path) -> list[Path]:
        return [
            Path(entry.path)
            for entry in self._listed(folder).values()
            if entry.name.lower().endswith(SUFFIXES) and not is_folder(entry)
        ]

    def _listed(self, folder: Path) -> dict[str, os.DirEntry[str]]:
        if folder not in self._folders:
            found = entries(folder) if folder.is_dir() else []
            self._folders[folder] = {composed(entry.name): entry for entry in found}
        return self._folders[folder]
