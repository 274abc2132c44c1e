"""`focusseg data show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keras_focusseg.cli import data_source, outputs


def show(
    source: Annotated[
        str,
        typer.Argument(help="Name of a source, such as camvid, or a folder to be recognised."),
    ],
    data_root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Split to show; the first that is there by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("sheet.png"),
    count: Annotated[int, typer.Option(help="Samples on the sheet.")] = 12,
    seed: Annotated[int, typer.Option(help="Which samples; each seed has its own.")] = 0,
    recipe: Annotated[
        Path | None, typer.Option(help="Show the samples as this recipe augments them.")
    ] = None,
    label_table: Annotated[
        Path | None, typer.Option(help="Class table of your own masks, such as class_dict.csv.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the source as NAME=VALUE, such as grouping=segnet."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Draw a contact sheet: samples beside their classes, with names, a legend and shares.

    Example: focusseg data show synthetic_streets --out sheet.png --count 8
    """
    outputs.check_output(out, overwrite, ".png", ".jpg", ".jpeg")
    from keras_focusseg import data, files, training
    from keras_focusseg.data import checkup
    from keras_focusseg.errors import printable
    from keras_focusseg.visualization.contact_sheet import contact_sheet
    from keras_focusseg.visualization.pictures import png_mark

    name, root = data_source.place(source, data_root)
    chosen = split or next(iter(data.splits(name, root)), "train")
    options = data_source.options(option, label_table)
    opened = checkup.open_leniently(name, root, chosen, options)
    Console(width=max(100, Console().width)).print(repr(opened), markup=False, highlight=False)
    augment = None if recipe is None else data.augmentation(training.load_recipe(recipe).augment)
    sheet = contact_sheet(opened, count, seed, augment)
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.written(out) as temporary:
        kind = "PNG" if out.suffix.lower() in (".png", "") else "JPEG"
        # The mark of a result, as PNG and as JPEG have it.
        sheet.save(temporary, kind, pnginfo=png_mark(), comment=outputs.MARK)
    print(f"Written: {printable(str(out))}")
