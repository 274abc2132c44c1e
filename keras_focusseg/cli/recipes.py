"""`focusseg recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def recipes(
    folder: Annotated[Path, typer.Argument(help="Folder with recipe files.")] = Path("recipes"),
) -> None:
    """List the recipes of a folder with the score that each reached, or what it needs.

    Example: focusseg recipes
    """
    from keras_focusseg.training import recipe_headers

    table = Table(show_lines=True)
    table.add_column("recipe", no_wrap=True)
    table.add_column("score")
    table.add_column("hours")
    found = recipe_headers(folder)
    for header in found:
        hours, score = header.hours or "not said", header.score or "not said"
        table.add_row(header.name, escape(score), escape(hours))
    Console(width=max(140, Console().width)).print(table)
    run = sum(header.score.startswith("mIoU") for header in found)
    names = {f"{header.name}.py" for header in found}
    if others := sorted(path.name for path in folder.glob("*.py") if path.name not in names):
        print(f"Passed over, being no Python that sets `recipe`: {', '.join(others)}")
    print(f"{len(found)} recipes in {folder.resolve()}, {run} of them with a score.")
