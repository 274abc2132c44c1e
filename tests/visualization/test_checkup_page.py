"""The page of a checkup: one file, whole, with pictures, and safe with any name."""

from __future__ import annotations

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from keras_focusseg import label_spaces
from keras_focusseg.data import Folder, checkup
from keras_focusseg.visualization import checkup_page

SPACE = label_spaces.from_names(["road", "<b>sky</b>"], colors=[(128, 64, 128), (10, 120, 200)])


def tree(root: Path) -> None:
    """Two splits of three pictures: a broken one, an unknown id, a copy in the other split."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(3):
            for folder, array in (
                ("images", rng.integers(0, 256, (24, 32, 3), "uint8")),
                ("masks", rng.integers(0, 2, (24, 32), "uint8")),
            ):
                path = root / folder / split / f"a & <i>{number}</i>.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    names = [root / "masks" / "train" / f"a & <i>{number}</i>.png" for number in range(2)]
    names[0].write_bytes(b"nothing")
    mask = np.array(Image.open(names[1]))
    mask[:12] = 9
    Image.fromarray(mask).save(names[1])
    shutil.copy(*(root / "images" / split / "a & <i>2</i>.png" for split in ("train", "val")))


class Reader(HTMLParser):
    """Sources of pictures, and whether each tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.sources.append(dict(attrs)["src"] or "")
        elif tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append(text)


def test_page_is_one_whole_file_with_pictures(tmp_path: Path) -> None:
    tree(tmp_path / "data")
    report = checkup.check("folder", tmp_path / "data", label_space=SPACE)
    path = checkup_page.write(tmp_path / "new" / "report.html", report)
    page = path.read_text("utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    read = Reader(page)
    assert read.open == [] and not re.search(r"https?://|src=\"(?!data:)|<script|@import", page)
    text = " ".join(read.texts)
    for found in report.findings:
        assert found.kind in text and found.fix in text
        assert all(e.file in text and e.value in text for e in found.examples)
    assert "<b>sky</b>" in text and "i" not in read.tags and "Not fit for training" in text
    # Broken mask: the image; unknown id: image and mask; a copy in two splits: two pairs.
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        for source in read.sources
    ]
    assert len(pictures) == 1 + 2 + 4
    # Unknown ids, the upper half of that mask, are magenta.
    (unknown,) = [p for p in pictures if np.allclose(p.getpixel((60, 40)), (255, 0, 255), atol=12)]
    assert not np.allclose(unknown.getpixel((60, 150)), (255, 0, 255), atol=12)


def test_page_of_nothing_and_of_names_that_are_no_utf8(tmp_path: Path) -> None:
    tree(tmp_path / "data")
    report = checkup.check("folder", tmp_path / "data", ["test"], label_space=SPACE)
    page = checkup_page.write(tmp_path / "empty.html", report).read_text("utf-8")
    assert "split that cannot be opened" in page and "Classes" not in page
    source = Folder(
        tmp_path / "data" / "images" / "val", tmp_path / "data" / "masks" / "val", SPACE
    )
    source.layout = source.split = "val \udcff"
    report = checkup.check_sources([source])
    page = checkup_page.write(tmp_path / "odd.html", report).read_text("utf-8")
    assert "val \\udcff" in page and "Nothing was found" in page
