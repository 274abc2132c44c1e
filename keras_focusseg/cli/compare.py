"""`focusseg compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from keras_focusseg.cli import outputs
from keras_focusseg.cli.evaluate import open_source, with_progress
from keras_focusseg.cli.segment import parsed_scales, parsed_window


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="PRESET PRESET...",
            help="Presets or folders; the first is what others are compared with.",
            show_default=False,
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option("--data", help="Source; by default that of the first preset.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    count: Annotated[
        int | None, typer.Option(help="Number of scenes, for synthetic_streets.")
    ] = None,
    window: Annotated[
        str, typer.Option(help="Windows of this side or HEIGHTxWIDTH; none for whole images.")
    ] = "none",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    scales: Annotated[
        str, typer.Option(help="Average over these multiples of the size, with commas.")
    ] = "1",
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Score presets side by side on the same images, with intervals of their differences.

    The intervals hold 95 % of 1000 draws of the images with replacement, the same for all presets.
    A star marks a difference whose interval does not hold 0.

    Example: focusseg compare fornet_mobilenet_v2_camvid scrnet_mobilenet_v2_camvid
    --data-root CamVid
    """
    outputs.check_output(output, overwrite, ".json")
    if len(set(names)) < 2:
        raise ValueError("Name two presets or more that differ.")
    from keras_focusseg import inference, presets
    from keras_focusseg.inference.report import title_of
    from keras_focusseg.metrics import percent

    procedure = inference.Procedure(parsed_window(window), 0.25, flip, parsed_scales(scales))
    source = open_source(names[0], dataset, data_root, split, count)
    records = [presets.record(name) for name in names]  # a wrong name ends it before the work
    scores = {}
    for name, _ in zip(names, records, strict=True):
        scores[name] = with_progress(presets.load(name), source, name, procedure=procedure)
    found = inference.compare(scores)
    console = Console(width=max(120, Console().width))
    print(f"{source.name} {source.split}, {len(found.images)} images; {procedure.told()}; in %")
    for heading, values, differences in (
        ("", found.figures, found.differences),
        ("IoU", found.classes, found.class_differences),
    ):
        table = Table(heading or "figure")
        table.add_column(names[0], justify="right", overflow="fold")
        for name in names[1:]:
            table.add_column(name, justify="right", overflow="fold")
            table.add_column(f"minus {names[0]}", justify="right", overflow="fold")
        for key in values[names[0]]:
            cells = [percent(values[names[0]][key])]
            for name in names[1:]:
                difference = differences[name][key]
                ends = f"{percent(difference.low)} to {percent(difference.high)}"
                star = "*" if difference.clear else " "
                cells += [percent(values[name][key]), f"{percent(difference.value)} ({ends}){star}"]
            table.add_row(key if heading else title_of(key), *cells)
        console.print(table)
    print("Images on which they differ most, mIoU in %:")
    for image, each in found.most_different(10):
        print(f"  {image}: " + ", ".join(f"{name} {percent(x)}" for name, x in each.items()))
    for name, one in scores.items():
        print(f"{name}: {1000 * one.seconds_per_image:.0f} ms an image")
    if output is not None:
        outputs.write_json(output, found.to_dict())
    left_out = {image for one in scores.values() for image in one.left_out}
    if left_out:
        print(f"{len(left_out)} images left out: the figures are of the rest.")
        raise typer.Exit(1)
