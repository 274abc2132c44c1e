"""`focusseg evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from keras_focusseg.cli import outputs


def evaluate(
    preset: Annotated[
        str,
        typer.Argument(help="Name of a preset, hf://owner/name, or a folder such as runs/x/best."),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="ade20k, bdd100k, camvid, camvid720, cityscapes, folder or synthetic_streets; "
            "by default its own.",
        ),
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    count: Annotated[
        int | None, typer.Option(help="Number of scenes, for synthetic_streets.")
    ] = None,
    tolerance: Annotated[int, typer.Option(help="Pixels of slack of the boundary F1.")] = 2,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Score a preset on labelled images: mIoU, accuracies, boundary IoU and F1, per class.

    Each image at its own size, single scale, no flip; one confusion matrix over all pixels. What
    cannot be read is named and left out, and the end is 1.

    Example: focusseg evaluate fornet_mobilenet_v2_camvid --data-root CamVid --split val
    """
    from keras_focusseg import data, inference, metrics, presets

    outputs.check_output(output, overwrite)
    record = presets.record(preset)
    recipe = record.recipe
    name = dataset or recipe.get("dataset")
    if name is None:
        raise ValueError(f"The record of {preset} names no dataset; give --data.")
    options = {}
    if name == recipe.get("dataset"):
        options = {**recipe.get("dataset_options", {}), **recipe.get("val_options", {})}
    if count is not None:
        options["count"] = count
    source = data.open_source(name, data_root, split, **options)
    model = presets.load(preset)
    console = Console(width=max(100, Console().width))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{name} {split}", total=len(source))
        scores = inference.evaluate(
            model,
            source,
            tolerance,
            lambda done: progress.update(task, completed=done),
            on_error=lambda name, error: progress.console.print(
                f"focusseg: left out: {error}", markup=False, highlight=False
            ),
        )
    print(f"{scores.dataset} {scores.split}, {scores.frames} images of {scores.resolution}")
    print("single scale, no flip, void ignored" + (scores.note and f"; {scores.note}"))
    names = scores.label_space.classes
    print(metrics.per_class_table(scores.matrix, names, scores.boundary, scores.ignore_class))
    print(f"{1000 * scores.seconds_per_image:.0f} ms an image")
    if output is not None:
        outputs.write_json(output, scores.to_score())
    if scores.left_out:
        count = len(scores.left_out)
        print(f"{count} of {count + scores.frames} images left out: the figures are of the rest.")
        raise typer.Exit(1)
