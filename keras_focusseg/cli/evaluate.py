"""`focusseg evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from keras_focusseg.cli import outputs
from keras_focusseg.cli.segment import parsed_scales, parsed_window


def evaluate(
    preset: Annotated[
        str,
        typer.Argument(help="Name of a preset, hf://owner/name, or a folder such as runs/x/best."),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="ade20k, bdd100k, camvid, camvid720, cityscapes, coco, folder, labelme, "
            "pascal_voc, records, synthetic_streets, or auto to find out; by default its own.",
        ),
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    count: Annotated[
        int | None, typer.Option(help="Number of scenes, for synthetic_streets.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Pixels of slack of the boundary F1 in the table.")
    ] = 2,
    window: Annotated[
        str, typer.Option(help="Windows of this side or HEIGHTxWIDTH; none for whole images.")
    ] = "none",
    overlap: Annotated[float, typer.Option(help="Share that neighbouring windows share.")] = 0.25,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored image.")] = False,
    scales: Annotated[
        str, typer.Option(help="Average over these multiples of the size, with commas.")
    ] = "1",
    precision: Annotated[
        str | None, typer.Option(help="mixed_bfloat16, mixed_float16 or float32.")
    ] = None,
    average: Annotated[
        str,
        typer.Option(help="Mean IoU of the whole split, or the mean over images: split, image."),
    ] = "split",
    absent: Annotated[
        str, typer.Option(help="What classes that occur nowhere count: 'left out', zero, one.")
    ] = "left out",
    void: Annotated[
        str, typer.Option(help="Predictions on void pixels: ignored, or 'false positive'.")
    ] = "ignored",
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file, a line a class.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Page with charts and the worst images (matplotlib).")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Score a preset on labelled images: mIoU, accuracies, boundaries, calibration, per class.

    Each image whole and at its own size, one confusion matrix over all pixels, unless asked
    otherwise; 95 % intervals by drawing images with replacement. What cannot be read is named and
    left out, and the end is 1.

    Example: focusseg evaluate fornet_mobilenet_v2_camvid --data-root CamVid --split val
    """
    outputs.check_output(output, overwrite, ".json")
    outputs.check_output(csv, overwrite, ".csv")
    outputs.check_output(html, overwrite, ".html", ".htm")
    from keras_focusseg import inference, metrics, presets
    from keras_focusseg.inference import report

    convention = {"average": average, "absent": absent, "void": void}
    _check_convention(convention)
    procedure = inference.Procedure(parsed_window(window), overlap, flip, parsed_scales(scales))
    source = open_source(preset, dataset, data_root, split, count)
    model = presets.load(preset, dtype=precision)
    scores = with_progress(model, source, tolerance=tolerance, procedure=procedure)
    print(f"{scores.dataset} {scores.split}, {scores.frames} images of {scores.resolution}")
    print(f"{procedure.told()}, void ignored" + (scores.note and f"; {scores.note}"))
    names = scores.label_space.classes
    print(metrics.per_class_table(scores.matrix, names, scores.boundary, scores.ignore_class))
    for title, value, low, high in report.rows_of_figures(scores):
        print(f"{title:<27} {metrics.percent(value):>6}  95 % {_range(low, high)}")
    chosen = scores.mean_iou_under(**convention)
    if (average, absent, void) != ("split", "left out", "ignored"):
        print(
            f"mIoU {metrics.percent(chosen)} as mean over the {average}, absent classes {absent}, "
            f"predictions on void {void}"
        )
    print(f"{1000 * scores.seconds_per_image:.0f} ms an image")
    if output is not None:
        figures = {"preset": preset, "convention": convention}
        figures |= {"mean_iou_under_convention": round(chosen, 6)}
        outputs.write_json(output, {**scores.to_dict(), **figures})
    for path, write in (
        (csv, lambda path: report.write_csv(path, scores)),
        (html, lambda path: inference.write_report(path, scores, model, source, name=preset)),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
            print(f"Written: {path}")
    if scores.left_out:
        left = len(scores.left_out)
        print(f"{left} of {left + scores.frames} images left out: the figures are of the rest.")
        raise typer.Exit(1)


def open_source(
    preset: str,
    dataset: str | None,
    data_root: Path | None,
    split: str,
    count: int | None,
) -> Any:
    """The labelled images that a preset is to be scored on, its own where none are named.

    Raises:
        ValueError: Its record names none, or they cannot be opened.
    """
    from keras_focusseg import data, presets
    from keras_focusseg.data.opening import SYNTHETIC

    recipe = presets.record(preset).recipe
    name = dataset or recipe.get("dataset")
    if name is None:
        raise ValueError(f"The record of {preset} names no dataset; give --data.")
    if name == SYNTHETIC and data_root is not None:  # drawn streets, where a folder was meant
        raise ValueError(
            f"The dataset is {name}, which lies in no folder: name that of {data_root} by --data, "
            "such as --data auto, or leave --data-root out."
        )
    options = {}
    if name == recipe.get("dataset"):
        options = {**recipe.get("dataset_options", {}), **recipe.get("val_options", {})}
    if count is not None:
        options["count"] = count
    return data.open_source(name, data_root, split, **options)


def with_progress(model: Any, source: Any, title: str = "", **options: Any) -> Any:
    """`inference.evaluate` with a bar, naming what is left out."""
    from keras_focusseg import inference

    console = Console(width=max(100, Console().width))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(title or f"{source.name} {source.split}", total=len(source))
        return inference.evaluate(
            model,
            source,
            on_image=lambda done: progress.update(task, completed=done),
            on_error=lambda name, error: progress.console.print(
                f"focusseg: left out: {error}", markup=False, highlight=False
            ),
            **options,
        )


def _check_convention(convention: dict[str, str]) -> None:
    from keras_focusseg.inference.evaluate import CONVENTIONS

    for name, value in convention.items():
        if value not in CONVENTIONS[name]:
            known = ", ".join(map(repr, CONVENTIONS[name]))
            raise ValueError(f"--{name} must be one of {known}; got {value!r}.")


def _range(low: float, high: float) -> str:
    from keras_focusseg.metrics import percent

    return f"{percent(low)} to {percent(high)}"
