"""`focusseg data prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from keras_focusseg import files
from keras_focusseg.cli import data_source


def prepare(
    source: Annotated[
        str,
        typer.Argument(help="Name of a source, such as camvid, or a folder to be recognised."),
    ] = "auto",
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the dataset as it was unpacked.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write below.")] = Path("prepared"),
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split to write; give it several times. All labelled ones by default."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Option of the source as NAME=VALUE, such as grouping=mathworks or strict=false."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of what is written; SOURCE_records by default.")
    ] = None,
    format: Annotated[str, typer.Option(help="array_record, or tfrecord.")] = "array_record",
    shards: Annotated[
        int | None, typer.Option(help="Files a split; chosen by size by default.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what was written before.")
    ] = False,
) -> None:
    """Write a dataset as a few large files with checksums, for TensorFlow Datasets and for us.

    Images and masks are checked as they are read. The dataset is there when all of it is there:
    stopped with Ctrl-C, nothing is left. Records are opened as source 'records'.

    Example: focusseg data prepare camvid --data-root CamVid --out prepared
    """
    files.check_folder(out)
    from keras_focusseg import data
    from keras_focusseg.data.records import tfds_builders
    from keras_focusseg.errors import printable

    console = Console(width=max(100, Console().width))
    options = data_source.options(option)
    source, root = data_source.place(source, data_root)
    names = split or list(data.splits(source, root))
    sources = [data.open_source(source, root, each, **options) for each in names]
    for opened in sources:
        console.print(repr(opened), markup=False, highlight=False)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Writing", total=sum(len(opened) for opened in sources))

        def advance(done: int, total: int) -> None:
            what = "Writing" if done < total else "Writing shards and checksums"
            progress.update(task, completed=done, description=what)

        prepared = tfds_builders.prepare(
            sources,
            out,
            file_format=format,  # type: ignore[arg-type]
            shards=shards,
            name=name,
            overwrite=overwrite,
            progress=advance,
        )
    table = Table("split", "images", "files", "MB", title=f"{prepared.file_format} records")
    for each, count in prepared.counts.items():
        size = f"{prepared.sizes[each] / 1e6:,.1f}"
        table.add_row(each, str(count), str(prepared.shards[each]), size)
    console.print(table)
    print(f"Written: {printable(str(prepared.folder))}")
    print("Open it:")
    for line in prepared.how_to_open():
        print(f"  {line}")
