"""`focusseg average`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def average(
    sources: Annotated[
        list[str], typer.Argument(help="Two or more: folders of runs, presets, or their names.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the averaged preset.")],
) -> None:
    """Average the weights of runs or presets of one network into a new preset.

    They must have started from the same weights to be worth it. Batch-norm statistics are averaged
    like weights. Measure the result with focusseg evaluate.

    Example: focusseg average runs/seed0 runs/seed1 runs/seed2 --output averaged
    """
    from keras_focusseg import training

    training.average(sources, output)
    print(f"Averaged {len(sources)} presets: {output}")
    print(f"Measure it: focusseg evaluate {output} ...")
