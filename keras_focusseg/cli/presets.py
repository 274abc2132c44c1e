"""`focusseg presets`."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table


def presets(
    pattern: Annotated[
        str, typer.Argument(help="Name, folder, hf://owner/name, or wildcard: 'fornet*'.")
    ] = "*",
) -> None:
    """List the presets; with the name of one, or its place, print its whole card.

    Example: focusseg presets fornet_mobilenet_v2_camvid
    """
    from keras_focusseg import presets as library

    found = library.names(pattern)
    if not found and glob.has_magic(pattern):
        raise ValueError(f"No preset matches {pattern!r}; there are {', '.join(library.names())}.")
    if found in ([], [pattern]):
        print(library.record(pattern))
        return
    table = Table()
    table.add_column("preset", no_wrap=True, min_width=max(map(len, found)))  # to be copied
    for heading in ("network", "classes", "weights", "mIoU", "measured on"):
        table.add_column(heading)
    for name in found:
        record = library.record(name)
        score = record.scores[0] if record.scores else None
        table.add_row(
            name,
            record.network,
            str(record.classes().num_classes),
            _weights(record.weights),
            "" if score is None else f"{100 * score['mean_iou']:.2f}",
            "" if score is None else f"{score['dataset']} {score['split']}, {score['resolution']}",
        )
    Console(width=max(120, Console().width)).print(table)


def _weights(weights: Mapping[str, Any] | None) -> str:
    """How large they are, and whether they come with the package."""
    if weights is None:
        return "none public"
    return f"{weights['bytes'] / 1e6:.1f} MB{', on the Hub' if 'address' in weights else ''}"
