"""`focusseg segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def segment(
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    preset: Annotated[
        str, typer.Option(help="Name of a preset, or a folder such as runs/x/best.")
    ] = "fornet_mobilenet_v2_camvid",
    output: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("segmented"),
    opacity: Annotated[float, typer.Option(help="Strength of the colours, 0..1.")] = 0.55,
) -> None:
    """Segment pictures of any size: writes NAME_overlay.png and NAME_labels.png of each.

    NAME_labels.png holds the class of each pixel as its value, with the classes' colours as
    palette.

    Example: focusseg segment street.jpg holiday/ --preset fornet_mobilenet_v2_camvid
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"--opacity must be in 0..1, got {opacity}.")
    from PIL import Image

    from keras_focusseg import files, inference, presets

    paths = _pictures(images)
    model = presets.load(preset)
    output.mkdir(parents=True, exist_ok=True)
    for path, result in zip(paths, inference.segment(model, paths), strict=True):
        labels = Image.fromarray(result.labels).convert("P")
        labels.putpalette(result.label_space.palette().tobytes())
        for kind, picture in (("overlay", result.overlay(opacity)), ("labels", labels)):
            with files.written(output / f"{path.stem}_{kind}.png") as temporary:
                picture.save(temporary)
        shares = list(result.shares().items())[:4]
        print(f"{path}: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares))
    print(f"Written: {2 * len(paths)} files in {output}")


def _pictures(images: list[Path]) -> list[Path]:
    from keras_focusseg.data.sources.readers import SUFFIXES

    paths: list[Path] = []
    for image in images:
        if image.is_dir():
            inside = sorted(p for p in image.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise ValueError(f"{image} holds no picture ({', '.join(SUFFIXES)}).")
            paths += inside
        else:
            paths.append(image)
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise ValueError(
                f"{seen[path.stem]} and {path} would both be written as {path.stem}_overlay.png; "
                "segment them into different --output folders."
            )
        seen[path.stem] = path
    return paths
