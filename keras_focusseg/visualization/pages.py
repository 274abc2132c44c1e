"""Pages of HTML that are one file: pictures lie inside, nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from keras_focusseg import files

WIDEST = 960
"""Pixels to which wider pictures are scaled down."""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="generator" content="{mark}"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px;
  padding: 0 1rem; color: #1c2430; background: #fafbfc; }}
h1 {{ font-size: 1.6rem; margin-bottom: .2rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
p {{ max-width: 60rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; background: white; }}
th, td {{ padding: .25rem .8rem; border: 1px solid #dde3ea; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
.row {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 8px; }}
figure {{ margin: 0 0 .6rem; }} figure img {{ width: 100%; display: block; border-radius: 4px; }}
figcaption {{ font-size: .8rem; color: #556; padding: .2rem 0 .3rem; }}
.chart {{ max-width: 100%; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def write_page(path: str | Path, title: str, parts: Iterable[str]) -> None:
    """Writes a page, whole or not at all.

    Args:
        path: File to write.
        title: Its title, plain text.
        parts: Its content, HTML as the functions below give it.
    """
    body = "\n".join(parts)
    files.write_text(path, _PAGE.format(mark=files.MARK, title=html.escape(title), body=body))


def heading(text: str) -> str:
    """A heading, from plain text."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph, from plain text."""
    return f"<p>{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, from plain text.

    Args:
        head: Names of the columns.
        rows: Their cells, as text or HTML.
    """

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(cells, "td") for cells in rows) + "</table>"


def row_of_pictures(pictures: Mapping[str, Image.Image]) -> str:
    """Pictures side by side under their captions."""
    figures = []
    for caption, picture in pictures.items():
        text = html.escape(caption)
        figures.append(
            f"<figure><figcaption>{text}</figcaption>"
            f'<img src="{data_uri(picture)}" alt="{text}"></figure>'
        )
    return '<div class="row">' + "".join(figures) + "</div>"


def chart(picture: bytes, text: str) -> str:
    """A PNG as it is, with a text for those who cannot see it."""
    return f'<img class="chart" src="{_uri(picture)}" alt="{html.escape(text)}">'


def data_uri(picture: Image.Image) -> str:
    """A picture as an address that holds it, at most `WIDEST` pixels wide."""
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, max(1, round(picture.height * WIDEST / picture.width))))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return _uri(buffer.getvalue())


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
