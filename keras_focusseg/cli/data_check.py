"""`focusseg data check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from keras_focusseg.cli import data_source, outputs

if TYPE_CHECKING:
    from keras_focusseg.data import checkup

_COLORS = {"error": "bold red", "warning": "yellow", "note": "blue"}
_LISTED = 3
_SIZES = 6


def check(
    source: Annotated[
        str,
        typer.Argument(help="Name of a source, such as camvid, or a folder to be recognised."),
    ],
    data_root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split to check; give it several times. All labelled ones by default."),
    ] = None,
    label_table: Annotated[
        Path | None, typer.Option(help="Class table of your own masks, such as class_dict.csv.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the source as NAME=VALUE, such as grouping=segnet."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="HTML page to write, with pictures.")] = None,
    output: Annotated[
        Path | None, typer.Option("--json", help="JSON file to write, with all figures.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read; all cores by default.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Read every image and mask of a dataset and say what is wrong with it.

    Ends with 1 if something would break training, with 0 if not, with 2 if it was asked wrongly.

    Example: focusseg data check camvid --data-root CamVid --html report.html
    """
    outputs.check_output(output, overwrite, ".json")
    outputs.check_output(html, overwrite, ".html", ".htm")
    from keras_focusseg.data import checkup
    from keras_focusseg.errors import printable
    from keras_focusseg.visualization import checkup_page

    name, root = data_source.place(source, data_root)
    console = Console(width=max(100, Console().width))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Reading", total=None)
        report = checkup.check(
            name,
            root,
            split,
            lambda done, total: progress.update(task, completed=done, total=total),
            workers,
            **data_source.options(option, label_table),
        )
    for summary in report.splits:
        said = "; ".join(text for text in (summary.layout, summary.note) if text)
        said = f" ({said})" if said else ""
        console.print(
            f"{report.name} {summary.split}: {summary.samples} samples{said}",
            markup=False,
            highlight=False,
        )
    for table in (_findings(report), _classes(report), _sizes(report)):
        if table.row_count:
            console.print(table)
    console.print(report.verdict(), style="bold red" if report.exit_code else "bold green")
    if output is not None:
        outputs.write_json(output, report.to_dict())
    if html is not None:
        print(f"Written: {printable(str(checkup_page.write(html, report)))}")
    raise typer.Exit(report.exit_code)


def _findings(report: checkup.Report) -> Table:
    table = Table("", title="Findings", show_lines=True, expand=True)
    table.add_column("finding", max_width=22)
    table.add_column("where and what", ratio=3, overflow="fold")
    table.add_column("what to do", ratio=2, overflow="fold")
    for found in report.findings:
        color = _COLORS[found.severity]
        where = f" [dim]({escape(found.split)})[/]" if found.split else ""
        table.add_row(
            f"[{color}]{found.severity}[/]",
            f"{escape(found.kind)}{where}",
            _listed(found),
            escape(found.fix),
        )
    return table


def _listed(found: checkup.Finding) -> str:
    """The first cases; files of which the same has to be said, together."""
    words: dict[str, list[str]] = {}
    for example in found.examples[:_LISTED]:
        words.setdefault(example.value, []).append(example.file)
    lines = [",\n".join(files) + f":\n  {value}" for value, files in words.items()]
    if found.count > _LISTED:
        lines.append(f"... {found.count} in all")
    return escape("\n".join(lines))


def _classes(report: checkup.Report) -> Table:
    table = Table("class", title="Classes", caption="share of the pixels that are not ignored")
    if report.label_space is None:
        return table
    for summary in report.splits:
        table.add_column(escape(summary.split), justify="right")
        table.add_column("images", justify="right")
    for i, name in enumerate(report.label_space.classes):
        cells = []
        for summary in report.splits:
            images = summary.images[i] if i < len(summary.images) else 0
            share = f"{100 * summary.share(i):.2f} %" if images else "none"
            cells += [share, str(images)] if images else [f"[red]{share}[/]", "[red]0[/]"]
        table.add_row(escape(name), *cells)
    table.add_section()
    ignored = [[f"{100 * summary.ignored_share():.2f} %", ""] for summary in report.splits]
    name = escape(report.label_space.ignore_name)
    table.add_row(f"{name} (ignored, of all)", *(cell for cells in ignored for cell in cells))
    return table


def _sizes(report: checkup.Report) -> Table:
    table = Table("split", "width x height", "images", title="Sizes")
    for summary in report.splits:
        for (height, width), count in list(summary.sizes.items())[:_SIZES]:
            table.add_row(escape(summary.split), f"{width} x {height}", str(count))
        if len(summary.sizes) > _SIZES:
            rest = sum(list(summary.sizes.values())[_SIZES:])
            others = len(summary.sizes) - _SIZES
            table.add_row(escape(summary.split), f"{others} other sizes", str(rest))
    return table
