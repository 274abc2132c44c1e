"""Exported files of the shipped networks on CamVid: mIoU and boundary F1 beside Keras', size, time.

    export KERAS_BACKEND=tensorflow    # and torch, for what it alone writes
    python benchmarks/exports.py write --data-root CamVid --files exported
    python benchmarks/exports.py score --data-root CamVid --files exported

`write` writes each preset in each form that this backend writes into a folder. int8 learns its
ranges from 32 frames of the split train. `export` holds each file beside Keras on 3 frames of val;
what it refuses is a row with its reason. `score` runs Keras and the files of that folder in turns
on the frames of val, 360x480, one at a time: mIoU, boundary F1, share of labels as Keras', and the
median processor time of a frame, of all threads, which is the same on a busy machine.

Each replaces its columns of these rows in `benchmarks/results/exports.csv`.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from result_tables import write_rows
from rich.progress import track

from keras_focusseg import data, export, metrics, presets

RESULTS = Path(__file__).resolve().parent / "results" / "exports.csv"
PRESETS = (
    "fornet_mobilenet_edgetpu_camvid",
    "scrnet_mobilenet_edgetpu_camvid",
    "sernet_former_mobilenet_edgetpu_camvid",
)
SIZE = (360, 480)
CHECKED = 3
"""Frames on which `export` compares."""
FORMS = {
    "tensorflow": (
        *(("onnx", precision) for precision in export.PRECISIONS),
        *(("litert", precision) for precision in export.PRECISIONS),
        *(("openvino", precision) for precision in export.PRECISIONS),
        ("saved_model", "float32"),
    ),
    "torch": (("torch", "float32"), ("onnx", "float32"), ("openvino", "float32")),
}
KEY = ("preset", "format", "precision", "backend")
COLUMNS = (
    *KEY,
    *("mb", "frames", "miou_keras", "miou", "boundary_f1_keras", "boundary_f1"),
    *("equal_labels_percent", "processor_ms_keras", "processor_ms", "refused"),
)
Form = tuple[str, str]
"""Format and precision."""
Run = Callable[[np.ndarray], np.ndarray]
"""Images (1, H, W, 3) to logits (1, H, W, classes)."""


class Spread(data.Source):
    """So many samples of a source, evenly taken from all."""

    def __init__(self, source: data.Source, count: int) -> None:
        self.name, self.split, self.label_space = source.name, source.split, source.label_space
        self.source = source
        self.places = np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)

    def __len__(self) -> int:
        return len(self.places)

    def load(self, index: int) -> data.Sample:
        """The source's sample of that place."""
        return self.source.load(int(self.places[index]))


class Tally:
    """What one of them says to the frames, and how long it takes."""

    def __init__(self, run: Run, classes: int) -> None:
        self.run = run
        self.matrix = metrics.ConfusionMatrix(classes)
        self.boundary = metrics.BoundaryScores(classes)
        self.equal: list[float] = []
        self.seconds: list[float] = []

    def take(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The labels of a frame, timed and counted."""
        start = time.process_time()
        logits = self.run(image[None])
        self.seconds.append(time.process_time() - start)
        labels: np.ndarray = logits[0].argmax(-1)
        self.matrix.update(mask, labels)
        self.boundary.update(mask, labels)
        return labels

    def figures(self) -> dict[str, str]:
        """Scores in percent, and medians of the times, without those of the first two frames."""
        return {
            "miou": f"{100 * metrics.mean_iou(self.matrix.matrix):.2f}",
            "boundary_f1": f"{100 * self.boundary.result()['boundary_f1']:.2f}",
            "processor_ms": f"{1000 * statistics.median(self.seconds[2:]):.0f}",
        }


def place(folder: Path, preset: str, form: Form) -> Path:
    """Where the file of a preset lies."""
    backend, suffix = keras.backend.backend(), export.FORMATS[form[0]].suffix
    return folder / f"{preset}_{'_'.join(form)}_{backend}{suffix}"


def key(preset: str, form: Form) -> dict[str, str]:
    """What tells a row from the others."""
    return dict(zip(KEY, (preset, *form, keras.backend.backend()), strict=True))


def refused_rows(preset: str, forms: list[Form], given: Any) -> Iterator[dict[str, str]]:
    """Writes the files of a preset that are not there yet; a row for each that is refused."""
    source = Spread(data.open_source("camvid", given.data_root, "val"), CHECKED)
    calibration = data.open_source("camvid", given.data_root, "train")
    model = presets.load(preset, dtype="float32")
    for form in forms:
        path = place(given.files, preset, form)
        if path.exists():
            continue
        options = {"precision": form[1], "source": source, "calibration": calibration}
        try:
            print(export.export(model, path, form[0], SIZE, **options), flush=True)
        except (export.ExportDiffers, ValueError) as error:
            print(preset, *form, error, flush=True)
            yield dict.fromkeys(COLUMNS, "") | key(preset, form) | {"refused": str(error)}


def score_rows(preset: str, forms: list[Form], given: Any) -> Iterator[dict[str, str]]:
    """Lets Keras and the files of a preset label the same frames in turns."""
    source = data.open_source("camvid", given.data_root, "val")
    frames = Spread(source, given.frames or len(source))
    model = presets.load(preset, dtype="float32")
    paths = {form: place(given.files, preset, form) for form in forms}
    opened = {form: export.open_exported(path) for form, path in paths.items() if path.exists()}
    of_keras = Tally(model.logits_model.predict_on_batch, model.num_classes)
    tallies = {form: Tally(file, model.num_classes) for form, file in opened.items()}
    for image, mask, _ in track(frames, description=preset):
        wanted = of_keras.take(image, mask)
        for tally in tallies.values():
            tally.equal.append(float((tally.take(image, mask) == wanted).mean()))
    beside = {f"{name}_keras": value for name, value in of_keras.figures().items()}
    for form, tally in tallies.items():
        equal = f"{100 * statistics.mean(tally.equal):.3f}"
        yield {
            **key(preset, form),
            "mb": f"{opened[form].bytes / 1e6:.2f}",
            "frames": str(len(frames)),
            "equal_labels_percent": equal,
            "refused": "",
            **beside,
            **tally.figures(),
        }


def save(rows: list[dict[str, str]]) -> None:
    """Puts what was measured into the rows that are there, and new rows beside them."""
    old: list[dict[str, str]] = []
    if RESULTS.exists():
        with open(RESULTS, newline="", encoding="utf-8") as file:
            old = list(csv.DictReader(file))
    merged: dict[tuple[str, ...], dict[str, str]] = {}
    for row in [*old, *rows]:
        merged.setdefault(tuple(row[column] for column in KEY), {}).update(row)
    write_rows(RESULTS, COLUMNS, [merged[name] for name in sorted(merged)])


def main() -> None:
    """Does what is asked for and writes its columns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("write", "score"))
    parser.add_argument("--data-root", type=Path, required=True, help="folder of CamVid")
    parser.add_argument("--files", type=Path, required=True, help="folder of the exported files")
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--forms", nargs="+", help="such as onnx/int8; by default all")
    parser.add_argument("--frames", type=int, help="of val, evenly taken; by default all")
    given = parser.parse_args()
    forms = list(FORMS[keras.backend.backend()])
    if given.forms:
        forms = [form for form in forms if "/".join(form) in given.forms]
    for preset in given.presets:
        rows = {"write": refused_rows, "score": score_rows}[given.what]
        save(list(rows(preset, forms, given)))


if __name__ == "__main__":
    main()
