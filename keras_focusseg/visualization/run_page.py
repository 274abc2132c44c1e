"""A training run as one HTML file: curves, classes, confusions, pictures, recipe, machine."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_focusseg import files, metrics
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.visualization import plots

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="generator" content="written by focusseg"><title>{name}: run</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px;
  padding: 0 1rem; color: #1c2430; background: #fafbfc; }}
h1 {{ font-size: 1.6rem; margin: 0 0 .2rem; }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .6rem; }}
p {{ margin: .3rem 0; }} .pale {{ color: #5b6676; }}
img {{ max-width: 100%; border-radius: 3px; }} figure {{ margin: 0 0 .8rem; }}
figcaption {{ font-size: .85rem; color: #5b6676; }}
table {{ border-collapse: collapse; background: white; display: block; overflow-x: auto; }}
th, td {{ padding: .25rem .7rem; border: 1px solid #dde3ea; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }} th {{ background: #f2f5f8; }}
pre {{ background: white; border: 1px solid #dde3ea; padding: .7rem; overflow-x: auto;
  font-size: .82rem; }}
</style></head><body>
<h1>{name}</h1>
<p>{state}</p>
{note}
<h2>Curves</h2>
{curves}
{classes}
{pictures}
<h2>Recipe</h2>
<pre>{recipe}</pre>
<h2>Machine</h2>
<pre>{machine}</pre>
</body></html>
"""
_LAST = 12  # epochs in the table that stands where there are no plots


@dataclasses.dataclass(frozen=True)
class RunPage:
    """What a page says of a run.

    Args:
        name: Name of the run.
        state: One sentence: how far it is, and the best score.
        history: The rows of `log.csv`.
        recipe: The recipe, plain values.
        machine: Where and how it runs, plain values.
        label_space: The classes.
        confusion: Pixels of the last validation, (C, C), rows are truth; `None` before the first.
        pictures: Heading, and below it captions with pictures.
    """

    name: str
    state: str
    history: Sequence[Mapping[str, float]]
    recipe: Mapping[str, Any]
    machine: Mapping[str, Any]
    label_space: LabelSpace
    confusion: np.ndarray | None = None
    pictures: Mapping[str, Sequence[tuple[str, Image.Image]]] = dataclasses.field(
        default_factory=dict
    )


def write(path: str | Path, page: RunPage) -> Path:
    """Writes the page; all is in the one file, and nothing is fetched from anywhere.

    Without matplotlib it has tables where plots would be, and says so.

    Args:
        path: The file; its folder is there.
        page: What it says.

    Returns:
        The path.
    """
    plotted = plots.can_plot()
    files.write_text(
        path,
        _PAGE.format(
            name=html.escape(page.name),
            state=html.escape(page.state),
            note="" if plotted else f'<p class="pale">{html.escape(plots.WITHOUT)}</p>',
            curves=_plot(plots.curves({page.name: page.history}), "Loss and mean IoU")
            if plotted
            else _epochs(page.history),
            classes=_classes(page, plotted),
            pictures="\n".join(_pictures(page)),
            recipe=html.escape(json.dumps(page.recipe, indent=1, default=str)),
            machine=html.escape(json.dumps(page.machine, indent=1, default=str)),
        ),
    )
    return Path(path)


def _plot(figure: Any, caption: str) -> str:
    return _image(plots.png(figure), "png", caption)


def _image(content: bytes, kind: str, caption: str) -> str:
    text = html.escape(caption)
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _epochs(history: Sequence[Mapping[str, float]]) -> str:
    """The last epochs as a table."""
    names = list(dict.fromkeys(name for row in history for name in row))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_number(row.get(name))}</td>" for name in names) + "</tr>"
        for row in history[-_LAST:]
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _classes(page: RunPage, plotted: bool) -> str:
    if page.confusion is None:
        return ""
    names, colors = page.label_space.classes, page.label_space.colors
    table = html.escape(metrics.per_class_table(page.confusion, names))
    parts = ["<h2>Classes in the last validation</h2>", f"<pre>{table}</pre>"]
    if plotted:
        shares = metrics.iou_per_class(page.confusion)
        parts.append(_plot(plots.bars(names, shares, colors), "IoU of each class"))
        caption = "Confusion matrix: the share of each class' pixels that became another"
        parts.append(_plot(plots.matrix(page.confusion, names), caption))
    return "\n".join(parts)


def _pictures(page: RunPage) -> list[str]:
    parts = []
    for heading, pictures in page.pictures.items():
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        for caption, picture in pictures:
            stream = io.BytesIO()
            picture.convert("RGB").save(stream, "JPEG", quality=85)
            parts.append(_image(stream.getvalue(), "jpeg", caption))
    return parts
