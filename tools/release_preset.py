"""Turns the best weights of a run into a preset of the package, measured as shipped.

    python tools/release_preset.py runs/fornet_mobilenet_v2_camvid --data-root CamVid \
        --notes recipes/notes/fornet_mobilenet_v2_camvid.json

Writes the weights in float16, reads them back, scores them on the validation split with what was
read back, and writes the record with the figures and the command that measures them again. Where
the validation split was trained on, nothing is scored: the figure would say nothing. With
--shift-classes, the logits are first shifted class by class for the best mean IoU on the training
split (`inference.class_shifts`).
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from rich.progress import track

from keras_focusseg import data, files, inference, presets, training
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.presets.record import CATALOG, WEIGHTS, write_record


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder that `focusseg train` wrote")
    parser.add_argument("--data-root", type=Path, help="folder of the dataset")
    parser.add_argument(
        "--notes", type=Path, required=True, help="JSON: description, license, training, paper"
    )
    parser.add_argument(
        "--shift-classes", type=int, metavar="N", help="find shifts on every N-th training image"
    )
    arguments = parser.parse_args()

    notes = json.loads(arguments.notes.read_text())
    trained = presets.record(arguments.run / "best")
    recipe = training.Recipe.from_config(dict(trained.recipe)).to_config()
    model = presets.load(arguments.run / "best", dtype="float32")  # whatever it was trained in
    shifts = {}
    if arguments.shift_classes:
        shifts = {"class_shifts": shift(model, recipe, arguments)}
    staging = Path(tempfile.mkdtemp(dir=arguments.run, prefix="release_"))
    released = presets.save(
        model,
        staging,
        name=trained.name,
        label_space=trained.classes(),
        dtype="float16",
        description=notes["description"],
        recipe={**recipe, **starts(recipe)},
        license=notes["license"],
        paper=notes["paper"],
    )

    seen = recipe["val_split"] in recipe["train_split"].split("+")
    scores = () if seen else (measured(staging, trained.name, recipe, arguments.data_root),)
    where = f"mIoU on {recipe['dataset']} {recipe['val_split']}"
    with open(arguments.run / "log.csv") as file:
        epochs = len(list(csv.reader(file))) - 1
    record = dataclasses.replace(
        released,
        training={
            **notes["training"],
            **shifts,
            "epochs": epochs,
            "best_epoch": trained.training["epochs_done"],
            "chosen_by": "nothing: the weights after the last epoch" if seen else where,
            "software": f"keras {keras.__version__} on {keras.backend.backend()}, "
            f"Python {platform.python_version()}",
        },
        scores=scores,
    )
    WEIGHTS.mkdir(exist_ok=True)
    with files.written(WEIGHTS / record.weights["file"]) as temporary:
        shutil.copyfile(staging / record.weights["file"], temporary)
    write_record(record, CATALOG / f"{record.name}.json")
    shutil.rmtree(staging)
    print(record, file=sys.stdout)


def measured(
    folder: Path, name: str, recipe: Mapping[str, Any], root: Path | None
) -> dict[str, Any]:
    """The score of a preset on the validation split, and the command that measures it again."""
    options = {**recipe["dataset_options"], **recipe["val_options"]}
    source = data.open_source(recipe["dataset"], root, recipe["val_split"], **options)
    steps = iter(track(range(len(source)), description=f"{source.name} {source.split}"))
    scores = inference.evaluate(
        presets.load(folder), source, on_image=lambda done: next(steps, None)
    )
    where = [] if root is None else ["--data-root", recipe["dataset"]]
    command = ["focusseg", "evaluate", name, *where, "--split", recipe["val_split"]]
    return {**scores.to_score(), "command": shlex.join(command)}


def starts(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the run began and learned from, by name: folders are of one machine."""
    teacher = recipe.get("teacher")
    return {
        "backbone_weights": _named(recipe.get("backbone_weights")),
        "pretrained": _named(recipe.get("pretrained")),
        "teacher": [_named(each) for each in teacher]
        if isinstance(teacher, (list, tuple))
        else _named(teacher),
    }


def _named(source: str | Path | None) -> str | None:
    """Of a file or a run its name; names and addresses stay."""
    if source is None or str(source).startswith("hf://"):
        return None if source is None else str(source)
    path = Path(source)
    return (path.parent if path.name == "best" else path).name


def shift(model: Segmenter, recipe: Mapping[str, Any], arguments: argparse.Namespace) -> str:
    """Shifts the logits for mean IoU on training images; tells by how much."""
    options = {**recipe["dataset_options"], **recipe["train_options"]}
    source = data.open_source(
        recipe["dataset"], arguments.data_root, recipe["train_split"], **options
    )
    every = arguments.shift_classes
    steps = iter(track(range(0, len(source), every), description=f"{source.name} {source.split}"))
    found = inference.class_shifts(
        model, source, every=every, on_image=lambda done: next(steps, None)
    )
    inference.shift_classes(model, found)
    told = ", ".join(
        f"{name} {value:+.1f}"
        for name, value in zip(source.label_space.classes, found, strict=True)
    )
    return f"for mIoU on one in {every} images of {source.name} {source.split}: {told}"


if __name__ == "__main__":
    main()
