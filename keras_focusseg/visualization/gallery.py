"""A page that shows, scene by scene, what networks saw and where they looked."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_focusseg import files
from keras_focusseg.models.panels import Panel
from keras_focusseg.visualization.flow import flow_wheel
from keras_focusseg.visualization.pictures import (
    colorize,
    error_map,
    legend,
    overlay,
)
from keras_focusseg.visualization.signals import drawings_of, signal_notes, signal_pictures

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="generator" content="written by focusseg"><title>keras_focusseg: demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px;
  padding: 0 1rem; color: #1c2430; background: #fafbfc; }}
h1 {{ font-size: 1.6rem; margin-bottom: .2rem; }}
h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem; }}
table.scores {{ border-collapse: collapse; margin: 1rem 0; background: white; }}
.scores th, .scores td {{ padding: .35rem .9rem; border: 1px solid #dde3ea; text-align: right; }}
.scores th:first-child, .scores td:first-child {{ text-align: left; }}
.row {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; margin-bottom: 8px; }}
figure {{ margin: 0; }} figure img {{ width: 100%; display: block; border-radius: 4px; }}
figcaption {{ font-size: .8rem; color: #556; padding: .2rem 0 .3rem; }}
p {{ max-width: 60rem; }}
.legends {{ display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: center; max-width: none; }}
</style></head><body>
<h1>Street scenes, segmented</h1>
<p>{intro}</p>
{table}
<p class="legends"><img src="legend.png" alt="Colours of the classes">{wheel}</p>
{scenes}
</body></html>
"""

_INTRO = "The scenes were drawn by the synthetic source from a seed that no training saw."
_REST = "Of a network with more signals, four are shown; <code>model.inspect</code> gives all."
_MOST_SIGNALS = 4
"""With the prediction and the errors, six pictures a network and scene: more is not looked at."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One network of the gallery.

    Args:
        name: Its name.
        model: The network.
        scores: Its scores on the scenes: `mean_iou`, `boundary`, `seconds_per_image`.
    """

    name: str
    model: Any
    scores: Any


def write(folder: str | Path, source: Any, columns: Sequence[Column]) -> Path:
    """Writes `index.html` and its pictures: scene by scene and network by network.

    Args:
        folder: Folder to write into; made if absent.
        source: Images with their masks.
        columns: The networks.

    Returns:
        Path of the page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    space = source.label_space
    legend(space, columns=6).save(folder / "legend.png")
    scenes = []
    panels: dict[Panel, None] = {}  # those shown of all networks, in order
    signals: set[str] = set()
    for i in range(len(source)):
        sample = source.load(i)
        truth = Image.fromarray(colorize(sample.mask, space))
        rows = [
            _row(
                folder,
                f"scene{i:02d}",
                {"image": Image.fromarray(sample.image), "truth": truth},
            )
        ]
        for number, column in enumerate(columns):
            seen = column.model.inspect(sample.image[None])
            labels = seen["logits"][0].argmax(-1).astype("uint8")
            wrong = (labels != sample.mask) & (sample.mask != 255)
            pictures = {
                f"{column.name}: prediction": overlay(sample.image, labels, space, 0.75),
                f"errors ({100 * wrong.mean():.1f} % of the pixels)": error_map(
                    sample.image, wrong
                ),
            }
            shown = _few(column.model.panels, seen)
            pictures |= signal_pictures(sample.image, seen, shown)
            panels |= dict.fromkeys(shown)
            signals |= set(seen)
            rows.append(_row(folder, f"scene{i:02d}_network{number}", pictures))
        scenes.append(f"<h2>Scene {i + 1}</h2>\n" + "\n".join(rows))
    notes = [f"<b>{title}</b> {html.escape(text)}" for title, text in signal_notes(signals, panels)]
    wheel = ""
    if any(drawing.kind == "offsets" for drawing in drawings_of(signals, panels)):
        flow_wheel().save(folder / "wheel.png")
        wheel = '<img src="wheel.png" alt="Colours of the directions">'
    page = folder / "index.html"
    files.write_text(
        page,
        _PAGE.format(
            intro=" ".join([_INTRO, *notes, _REST]),
            table=_table(columns),
            wheel=wheel,
            scenes="\n".join(scenes),
        ),
    )
    return page


def _few(panels: Sequence[Panel], seen: Collection[str]) -> list[Panel]:
    """The panels with few of the drawings that are there, spread over all of them."""
    there = list(drawings_of(seen, panels))
    places = np.linspace(0, len(there) - 1, min(_MOST_SIGNALS, len(there))).round().astype(int)
    kept = {there[place] for place in places}
    few = (
        dataclasses.replace(panel, drawings=tuple(d for d in panel.drawings if d in kept))
        for panel in panels
    )
    return [panel for panel in few if panel.drawings]


def _row(folder: Path, stem: str, pictures: dict[str, Image.Image]) -> str:
    figures = []
    for number, (caption, picture) in enumerate(pictures.items()):
        file = f"{stem}_{number}.png"
        picture.save(folder / file)
        text = html.escape(caption)
        figures.append(
            f'<figure><figcaption>{text}</figcaption><img loading="lazy" src="{file}" '
            f'alt="{text}"></figure>'
        )
    return '<div class="row">' + "".join(figures) + "</div>"


def _table(columns: Sequence[Column]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(c.name)}</td><td>{100 * c.scores.mean_iou:.1f}</td>"
        f"<td>{100 * c.scores.boundary['boundary_f1']:.1f}</td>"
        f"<td>{1000 * c.scores.seconds_per_image:.0f}</td></tr>"
        for c in columns
    )
    head = "<tr><th>preset</th><th>mIoU</th><th>boundary F1</th><th>ms per image</th></tr>"
    return f'<table class="scores">{head}{rows}</table>'
