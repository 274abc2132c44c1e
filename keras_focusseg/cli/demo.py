"""`focusseg demo`."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from keras_focusseg import files

# A seed of its own: these scenes are neither in the training nor in the validation split.
DEMO_SEED = 2026


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the gallery.")] = Path("demo"),
    count: Annotated[int, typer.Option(help="Number of scenes.")] = 12,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a preset, hf://owner/name, or a folder such as runs/x/best; may be given "
            "again. By default the best of each network."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that holds other files.")
    ] = False,
) -> None:
    """Segment synthetic street scenes with the best presets and write an HTML gallery.

    The scenes come from a seed that no training saw. Nothing is downloaded, unless a preset is
    named by an address.

    Example: focusseg demo --out demo --preset fornet_mobilenet_v2_synthetic_streets
    """
    _check_folder(out, overwrite)
    from keras_focusseg import data, inference, presets
    from keras_focusseg.visualization import gallery

    console = Console(width=max(100, Console().width))
    source = data.Cached(data.SyntheticStreets(count, seed=DEMO_SEED, split="test"))
    places = preset or presets.best()
    records = [presets.record(place) for place in places]  # before any work: they may be mistyped
    start = time.perf_counter()
    table = Table("preset", "mIoU", "boundary F1", "ms per image", title="Synthetic street scenes")
    columns = []
    with Progress(console=console, transient=True) as progress:
        for place, record in zip(places, records, strict=True):
            task = progress.add_task(record.name, total=len(source))
            model = presets.load(place)
            procedure = inference.Procedure(window=None)
            procedure.class_maps(model, source.load(0).image[None])  # compiles outside the timing
            scores = inference.evaluate(
                model,
                source,
                on_image=functools.partial(_advance, progress, task),
                procedure=procedure,
            )
            columns.append(gallery.Column(record.name, model, scores))
            table.add_row(
                record.name,
                f"{100 * scores.mean_iou:.1f}",
                f"{100 * scores.boundary['boundary_f1']:.1f}",
                f"{1000 * scores.seconds_per_image:.0f}",
            )
        page = gallery.write(out, source, columns)
    console.print(table)
    console.print(
        "The CamVid presets learned from photographs: drawn scenes show how far that carries."
    )
    print(f"{len(source)} scenes in {time.perf_counter() - start:.0f} s. Gallery: {page}")


def _check_folder(out: Path, overwrite: bool) -> None:
    """Refuses a folder of somebody else's: it may hold pictures of the names of ours."""
    files.check_folder(out)
    page = out / "index.html"
    if not overwrite and out.is_dir() and any(out.iterdir()):
        if not (page.is_file() and files.is_result(page)):
            raise ValueError(
                f"{out} holds files, and is no gallery of focusseg. Name another --out, or give "
                "--overwrite to write among them."
            )


def _advance(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)
