"""What a checkup found as one HTML file, with pictures of the samples it is about."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_focusseg import files
from keras_focusseg.data.checkup import Example, Finding, Report
from keras_focusseg.data.sources.base import Source
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.pictures.readers import FORMATS, MAX_PIXELS, open_mask, read_image
from keras_focusseg.visualization.contact_sheet import fitted, thumbnails

_BOX = (232, 174)
_PICTURED = 4  # examples of a finding that have pictures
_LISTED = 25  # examples of a finding that are listed
_UNKNOWN = (255, 0, 255)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="generator" content="written by focusseg"><title>{name}: checkup</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px;
  padding: 0 1rem; color: #1c2430; background: #fafbfc; }}
h1 {{ font-size: 1.6rem; margin: 0 0 .2rem; }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .6rem; }}
h3 {{ font-size: 1rem; margin: 0; display: inline; }}
p {{ margin: .3rem 0; }} .pale {{ color: #5b6676; }} code {{ overflow-wrap: anywhere; }}
.verdict {{ padding: .6rem .9rem; border-radius: 6px; font-weight: 600; margin: .8rem 0; }}
.good {{ background: #e3f4e8; color: #14592c; }} .bad {{ background: #fbe3e1; color: #8a1c14; }}
.finding {{ background: white; border: 1px solid #dde3ea; border-left-width: 6px;
  border-radius: 6px; padding: .7rem 1rem; margin: .7rem 0; }}
.error {{ border-left-color: #c5372c; }} .warning {{ border-left-color: #d99a16; }}
.note {{ border-left-color: #7d8da1; }}
.tag {{ font-size: .78rem; font-weight: 600; padding: .1rem .5rem; border-radius: 9px;
  margin-right: .4rem; color: white; }}
.error .tag {{ background: #c5372c; }} .warning .tag {{ background: #a87408; }}
.note .tag {{ background: #66758a; }}
.example {{ display: flex; flex-wrap: wrap; gap: .4rem .9rem; margin: .7rem 0;
  align-items: flex-start; }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 4px; }}
.words {{ flex: 1 1 18rem; min-width: 0; overflow-wrap: anywhere; }}
figure {{ margin: 0; }} figure img {{ display: block; border-radius: 3px; }}
figcaption {{ font-size: .74rem; color: #5b6676; }}
ul {{ margin: .4rem 0; padding-left: 1.2rem; }} li {{ overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; background: white; }}
th, td {{ padding: .25rem .7rem; border: 1px solid #dde3ea; text-align: right; }}
th {{ font-weight: 600; background: #f2f5f8; }}
th:first-child, td:first-child {{ text-align: left; }}
.swatch {{ display: inline-block; width: 1.1rem; height: .8rem; border: 1px solid #66758a;
  margin-right: .5rem; vertical-align: -1px; }}
td {{ font-variant-numeric: tabular-nums; }}
.bar {{ float: left; width: 110px; height: .7rem; margin: .42rem .7rem 0 0; background: #edf1f5; }}
.bar span {{ display: block; height: 100%; }} .none {{ color: #b3261e; font-weight: 600; }}
</style></head><body>
<h1>{name}</h1>
<p class="pale"><code>{root}</code></p>
<p class="verdict {mood}">{verdict}</p>
{splits}
<h2>Findings</h2>
{findings}
{classes}
{sizes}
</body></html>
"""


def write(path: str | Path, report: Report) -> Path:
    """Writes the page: verdict, findings with pictures, classes and sizes of each split.

    All is in the one file, and nothing is fetched from anywhere.

    Args:
        path: The file to write; its folder is made if absent.
        report: What `data.checkup.check` gave.

    Returns:
        The path.

    Example:
        ```python
        write("report.html", data.check("camvid", "CamVid"))
        ```
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _PAGE.format(
        name=_text(report.name),
        root=_text(report.root),
        mood="bad" if report.exit_code else "good",
        verdict=_text(report.verdict()),
        splits="\n".join(_split_lines(report)),
        findings="\n".join(_finding(found, report.sources) for found in report.findings)
        or "<p>Nothing was found.</p>",
        classes=_classes(report),
        sizes=_sizes(report),
    )
    files.write_text(path, page)
    return path


def _text(text: str) -> str:
    return html.escape(text)


def _split_lines(report: Report) -> list[str]:
    lines = []
    for summary in report.splits:
        said = "; ".join(part for part in (summary.layout, summary.note) if part)
        broken = summary.samples - summary.readable
        lines.append(
            f"<p><b>{_text(summary.split)}</b>: {summary.samples} samples"
            + (f', <span class="none">{broken} of them broken</span>' if broken else "")
            + (f' <span class="pale">({_text(said)})</span>' if said else "")
            + "</p>"
        )
    return lines


def _finding(found: Finding, sources: Sequence[Source]) -> str:
    by_split = {source.split: source for source in sources}
    pictured = [example for example in found.examples if example.samples][:_PICTURED]
    listed = [example for example in found.examples if example not in pictured]
    parts = [_example(example, by_split) for example in pictured]
    if listed:
        items = "".join(
            f"<li><code>{_text(example.file)}</code>: {_text(example.value)}</li>"
            for example in listed[:_LISTED]
        )
        parts.append(f"<ul>{items}</ul>")
    more = len(found.examples) - len(pictured) - min(len(listed), _LISTED)
    if more > 0:
        parts.append(f'<p class="pale">and {more} more; the JSON report lists up to 100.</p>')
    where = f' <span class="pale">in {_text(found.split)}</span>' if found.split else ""
    times = f' <span class="pale">&times; {found.count}</span>' if found.count > 1 else ""
    return (
        f'<div class="finding {found.severity}"><span class="tag">{found.severity}</span>'
        f"<h3>{_text(found.kind)}</h3>{times}{where}<p>{_text(found.fix)}</p>{''.join(parts)}</div>"
    )


def _example(example: Example, sources: dict[str, Source]) -> str:
    pictures = []
    for split, index in example.samples:
        if split in sources:
            pictures += _pictures(sources[split], index, len(example.samples) > 1)
    figures = "".join(
        f"<figure>{_embedded(picture, caption)}<figcaption>{_text(caption)}</figcaption></figure>"
        for caption, picture in pictures
    )
    return (
        f'<div class="example"><div class="pictures">{figures}</div>'
        f'<p class="words"><code>{_text(example.file)}</code><br>{_text(example.value)}</p></div>'
    )


def _pictures(source: Source, index: int, named: bool) -> list[tuple[str, Image.Image]]:
    """Image and classes of a sample, or what of them can be read."""
    prefix = f"{source.split}: " if named else ""
    # Whatever is wrong with a sample has been found before; the page shows what there is.
    try:
        image, mask, _ = source.load(index)
        pair = thumbnails(image, mask, source.label_space, _BOX)
        return list(zip((f"{prefix}image", f"{prefix}classes"), pair, strict=True))
    except Exception:
        files = source.files(index)
    found = []
    for role, path, read in (("image", files[:1], _image), ("mask", files[1:], _mask)):
        try:
            picture = read(path[0], source)
        except Exception:
            continue
        size = f"{picture.width} x {picture.height}"
        picture = picture.resize(fitted(picture.size, _BOX), Image.Resampling.NEAREST)
        found.append((f"{prefix}{role}, {size}", picture))
    return found


def _image(path: Path, source: Source) -> Image.Image:
    try:
        return Image.fromarray(read_image(path))
    except ValueError:
        return _opened(path).convert("RGB")


def _opened(path: Path) -> Image.Image:
    """A picture of a kind that training cannot take, but eyes can."""
    with Image.open(path, formats=FORMATS) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{path} is too large to be shown.")
        picture.load()
        return ImageOps.exif_transpose(picture)


def _mask(path: Path, source: Source) -> Image.Image:
    """A mask on its own: ids in the colours of their classes, unknown ones in magenta."""
    try:
        picture = open_mask(path)
    except ValueError:
        picture = _opened(path)
    encoding = getattr(source, "encoding", None)
    if picture.mode in ("RGB", "RGBA", "P") or not isinstance(encoding, LabelSpace):
        return picture.convert("RGB")
    ids = np.asarray(picture).astype("int64")
    colors = np.empty((*ids.shape, 3), "uint8")
    colors[:] = _UNKNOWN
    for number, color in zip(encoding.ids, encoding.colors, strict=True):
        colors[ids == number] = color
    colors[np.isin(ids, encoding.ignored_ids)] = encoding.ignore_color
    return Image.fromarray(colors)


def _embedded(picture: Image.Image, caption: str) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=82)
    content = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{content}" width="{picture.width}" '
        f'height="{picture.height}" alt="{_text(caption)}">'
    )


def _classes(report: Report) -> str:
    space = report.label_space
    if space is None or not report.splits:
        return ""
    largest = max(
        (summary.share(i) for summary in report.splits for i in range(len(summary.pixels))),
        default=0.0,
    )
    head = "".join(f"<th>{_text(s.split)}</th><th>images</th>" for s in report.splits)
    rows = []
    for i, (name, color) in enumerate(zip(space.classes, space.colors, strict=True)):
        cells = [
            _share_cell(summary.share(i), largest, color)
            + f"<td>{_count(summary.images[i], summary.readable)}</td>"
            for summary in report.splits
            if i < len(summary.pixels)  # splits with other classes are a finding
        ]
        rows.append(f"<tr><td>{_swatch(color)}{_text(name)}</td>{''.join(cells)}</tr>")
    ignored = "".join(
        _share_cell(s.ignored_share(), max(largest, s.ignored_share()), (150, 158, 168))
        + "<td></td>"
        for s in report.splits
    )
    rows.append(
        f"<tr><td>{_swatch(space.ignore_color)}{_text(space.ignore_name)} (ignored, of all)</td>"
        f"{ignored}</tr>"
    )
    return (
        '<h2>Classes</h2><p class="pale">Share of the pixels that are not ignored, and masks that '
        f'hold the class.</p><div class="wide"><table><tr><th>class</th>{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def _swatch(color: Sequence[int]) -> str:
    return f'<span class="swatch" style="background: rgb({color[0]},{color[1]},{color[2]})"></span>'


def _share_cell(share: float, largest: float, color: Sequence[int]) -> str:
    width = 100 * share / largest if largest else 0.0
    bar = (
        f'<span class="bar"><span style="width: {width:.1f}%; '
        f'background: rgb({color[0]},{color[1]},{color[2]})"></span></span>'
    )
    return f"<td>{bar}{100 * share:.2f} %</td>"


def _count(images: int, of: int) -> str:
    return f"{images}" if images or not of else '<span class="none">none</span>'


def _sizes(report: Report) -> str:
    rows = [
        f"<tr><td>{_text(summary.split)}</td><td>{width} x {height}</td><td>{count}</td></tr>"
        for summary in report.splits
        for (height, width), count in list(summary.sizes.items())[:20]
    ]
    if not rows:
        return ""
    return (
        '<h2>Sizes</h2><p class="pale">Width x height; the 20 most frequent of each split.</p>'
        '<div class="wide"><table><tr><th>split</th><th>size</th><th>images</th></tr>'
        f"{''.join(rows)}</table></div>"
    )
