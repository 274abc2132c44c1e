"""`focusseg segment`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from keras_focusseg import files
from keras_focusseg.cli import outputs

_KINDS = ("overlay", "labels")


def segment(
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    preset: Annotated[
        str,
        typer.Option(help="Name of a preset, hf://owner/name, or a folder such as runs/x/best."),
    ] = "fornet_mobilenet_v2_camvid",
    output: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("segmented"),
    opacity: Annotated[float, typer.Option(help="Strength of the colours, 0..1.")] = 0.55,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that focusseg did not write.")
    ] = False,
) -> None:
    """Segment pictures of any size: writes NAME_overlay.png and NAME_labels.png of each.

    NAME_labels.png holds the class of each pixel as its value, with the classes' colours as
    palette. A picture that cannot be read is named and left out, and the end is 1. In a folder,
    results of an earlier run are left out.

    Example: focusseg segment street.jpg holiday/ --preset fornet_mobilenet_v2_camvid
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"--opacity must be in 0..1, got {opacity}.")
    paths = _pictures(images)
    files.check_folder(output)
    _check_results(paths, output, overwrite)
    from PIL import Image

    from keras_focusseg import inference, presets

    model = presets.load(preset)
    written = 0
    for path in paths:
        try:
            result = next(inference.segment(model, path))
        except (ValueError, OSError) as error:
            print(f"focusseg: left out: {error}", file=sys.stderr)
            continue
        labels = Image.fromarray(result.labels).convert("P")
        labels.putpalette(result.label_space.palette().tobytes())
        output.mkdir(parents=True, exist_ok=True)
        pictures = (result.overlay(opacity), labels)
        for place, picture in zip(_results(path, output), pictures, strict=True):
            with files.written(place) as temporary:
                picture.save(temporary, "PNG", pnginfo=outputs.png_mark())
            written += 1
        shares = list(result.shares().items())[:4]
        print(f"{path}: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares))
    print(f"Written: {written} files in {output}")
    left_out = len(paths) - written // len(_KINDS)
    if left_out:
        print(f"{left_out} of {len(paths)} pictures left out.", file=sys.stderr)
        raise typer.Exit(1)


def _results(path: Path, output: Path) -> list[Path]:
    """The files that are written for a picture."""
    return [output / f"{path.stem}_{kind}.png" for kind in _KINDS]


def _pictures(images: list[Path]) -> list[Path]:
    """The pictures that were named, and those in folders that are no results of ours."""
    from keras_focusseg.label_spaces.text import as_on_disk
    from keras_focusseg.pictures.readers import SUFFIXES

    paths: list[Path] = []
    for image in map(as_on_disk, images):
        if image.is_dir():
            inside = sorted(p for p in image.iterdir() if p.suffix.lower() in SUFFIXES)
            own = [p for p in inside if p.stem.endswith(_KINDS) and outputs.is_result(p)]
            inside = [p for p in inside if p not in own]
            if own:
                print(f"{image}: {len(own)} results of an earlier run are left out.")
            if not inside:
                raise ValueError(f"{image} holds no picture ({', '.join(SUFFIXES)}).")
            paths += inside
        elif image.exists():
            paths.append(image)
        else:
            raise ValueError(f"There is no picture {image}.")
    return paths


def _check_results(paths: Sequence[Path], output: Path, overwrite: bool) -> None:
    """Refuses to write over a picture of this run, another result of it, or a foreign file."""
    inputs = {path.resolve() for path in paths}
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise ValueError(
                f"{seen[path.stem]} and {path} would both be written as {path.stem}_overlay.png; "
                "segment them into different --output folders."
            )
        seen[path.stem] = path
        for place in _results(path, output):
            if place.resolve() in inputs:
                raise ValueError(
                    f"The result of {path} would be written over {place}, which is to be segmented "
                    "too. Name another --output."
                )
            outputs.check_output(place, overwrite)
