"""`focusseg inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_focusseg.cli import outputs


def inspect(
    image: Annotated[Path, typer.Argument(help="Picture.", show_default=False)],
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a preset, hf://owner/name, or a folder, as often as wanted; by default "
            "the best of each network.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Page to write.")] = Path("inspect.html"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Show what networks saw in a picture: importance, regions, offsets, gates, confidence.

    One page with all pictures inside. Pictures are taken whole.

    Example: focusseg inspect street.jpg --preset scrnet_mobilenet_v2_camvid
    """
    outputs.check_output(output, overwrite, ".html", ".htm")
    from keras_focusseg import presets
    from keras_focusseg.inference.procedure import Procedure
    from keras_focusseg.inference.segment import known_classes
    from keras_focusseg.pictures.readers import read_image
    from keras_focusseg.visualization.inspection import write_inspection

    pixels = read_image(image)
    networks = {}
    for name in preset or presets.best():
        networks[name] = presets.load(name)
        networks[name].label_space = known_classes(networks[name])
        Procedure(window=None).window_of(networks[name], pixels.shape[:2])  # refuses without room
    output.parent.mkdir(parents=True, exist_ok=True)
    write_inspection(output, image.name, pixels, networks)
    print(f"Written: {output}")
