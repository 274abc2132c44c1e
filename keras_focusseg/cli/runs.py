"""`focusseg runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from keras_focusseg.cli import outputs


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder with the folders of runs.")] = Path("runs"),
    plot: Annotated[
        Path | None, typer.Option(help="Draw the curves side by side into this .png file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """List the runs of a folder: how far each is, and its best validated mean IoU.

    Example: focusseg runs runs --plot curves.png
    """
    outputs.check_output(plot, overwrite, ".png")
    from keras_focusseg import training
    from keras_focusseg.visualization import plots

    if plot is not None and not plots.can_plot():
        raise ValueError(plots.WITHOUT)
    found = training.find_runs(folder)
    table = Table("run", "state", "epochs", "best mIoU", "after epoch")
    for run in found:
        best = run.best
        table.add_row(
            escape(str(run.folder)),
            run.state,
            f"{len(run.history)} of {run.epochs or '?'}",
            "" if best is None else f"{100 * best[0]:.2f}",
            "" if best is None else str(best[1]),
        )
    Console(width=max(110, Console().width)).print(table)
    if plot is not None:
        figure = plots.curves({str(run.folder): run.history for run in found})
        plots.save(figure, plot)
        print(f"Written: {plot}")
