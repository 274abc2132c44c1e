"""Takes a network out of Keras, and keeps the file only if it says what the network says."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import operator
import shutil
import statistics
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_focusseg import files
from keras_focusseg.data import DataError, Source, SyntheticStreets
from keras_focusseg.export import comparing, writing
from keras_focusseg.export.comparing import Comparison, ExportDiffers
from keras_focusseg.export.formats import FORMATS, check_possible
from keras_focusseg.export.runtimes import (
    ExportedModel,
    digest,
    facts_path,
    open_exported,
    open_runtime,
    parts,
)
from keras_focusseg.inference.evaluate import check_same_classes
from keras_focusseg.label_spaces import IGNORE, distinct_colors
from keras_focusseg.models.batch_checks import check_image_shape
from keras_focusseg.models.segmenter import Segmenter

Size = tuple[int, int] | None


@dataclasses.dataclass(frozen=True)
class Export:
    """A file that was written and compared; `str()` tells it.

    Args:
        path: The file, or folder.
        bytes: Size of all that was written, without the JSON.
        comparison: What Keras and the file said to the same images.
    """

    path: Path
    bytes: int
    comparison: Comparison

    def __str__(self) -> str:
        return f"{self.comparison}\nWritten: {self.path}, {self.bytes / 1e6:.2f} MB"


def export(
    model: Any,
    path: str | Path,
    format: str = "onnx",
    size: Size = None,
    *,
    precision: str = "float32",
    labels: bool = False,
    uint8: bool = False,
    signals: Sequence[str] = (),
    source: Source | None = None,
    calibration: Source | None = None,
    calibration_count: int = 32,
    notes: Mapping[str, Any] | None = None,
) -> Export:
    """Writes a network as a file that runs without Keras, and proves it.

    The file is written aside, run by its own runtime and compared with Keras, on drawn streets or
    on `source`. It comes to `path` only if both agree within `comparing.BOUNDS`. The JSON beside
    it (`street.onnx.json`) says classes, colours, input, output and what was compared. It takes
    one image, RGB in 0..255; normalisation is inside.

    Args:
        model: A `Segmenter`, in float32.
        path: File to write, with the suffix of the format: `.onnx`, `.tflite`, `.xml` (with a
            `.bin` beside it), `.pt2`; a folder for `"saved_model"`.
        format: `"onnx"`, `"litert"`, `"openvino"`, `"saved_model"` or `"torch"`.
        size: Height and width of the images; `None` for any, where the format can.
        precision: `"float32"`; `"float16"` halves the weights on disk; `"int8"` quantises weights
            and activations after training.
        labels: Gives the class of each pixel, (1, H, W) uint8 (int32 with more than 256 classes),
            in place of logits (1, H, W, classes).
        uint8: Takes uint8 in place of float32.
        signals: Names of what `inspect` gives that the file gives as well, after logits or labels,
            such as FoR-Net's `"importance"`; in ONNX. They are compared too. The network is then
            written in its dense form.
        source: Labelled images on which Keras and the file are scored side by side.
        calibration: For `"int8"`, images from which the range of every activation is learned, of
            the kind that the file will see; drawn streets by default.
        calibration_count: How many of them.
        notes: Further entries, the first of the JSON.

    Returns:
        Where it is, how large, and how it compared.

    Raises:
        ValueError: What was asked for cannot be written: with the nearest thing that can; or
            `source` has other classes or sizes.
        ImportError: A package is missing.
        ExportDiffers: The file does not say what Keras says, its runtime does not open it, or the
            converter fails; nothing is written.

    Example:
        ```python
        from keras_focusseg import presets
        from keras_focusseg.export import export

        model = presets.load("fornet_mobilenet_v2_camvid")
        print(export(model, "street.onnx", "onnx", (360, 480)))
        ```
    """
    path, size = Path(path), _pair(size)
    _check_network(model)
    form = check_possible(format, size, precision, keras.backend.backend())
    _check_signals(model, format, signals)
    if path.suffix != form.suffix and form.suffix:
        raise ValueError(f"A file of {format} ends with {form.suffix}; got {path.name}.")
    if model.compute_dtype != "float32":
        raise ValueError(
            f"The network computes in {model.compute_dtype}: load it with dtype='float32', and "
            "say precision='float16' for a file of half the size."
        )
    if size is not None:
        check_image_shape((1, *size, 3))
    if source is not None:
        check_same_classes(model, source)
    (files.check_file if form.suffix else files.check_folder)(path)
    files.check_files([facts_path(path), *(parts(path) if form.suffix else [])])
    if type(calibration_count) is not int or calibration_count < 1:
        raise ValueError(
            f"calibration_count must be a whole number of images above 0, got "
            f"{calibration_count!r}."
        )
    calibrated = calibration
    if calibrated is None:
        drawn = comparing.drawn_size(size or (360, 480))
        calibrated = SyntheticStreets(calibration_count, size=drawn)
    for images in (source, calibrated):
        _check_filled(images)
    with tempfile.TemporaryDirectory(prefix="focusseg-export-") as folder:
        aside = Path(folder, f"network{form.suffix}")
        try:
            writing.write(
                model,
                form,
                aside,
                size,
                precision=precision,
                uint8=uint8,
                labels=labels,
                signals=signals,
                calibration=writing.calibration_images(calibrated, calibration_count, size, uint8),
            )
        except (OSError, DataError):  # of the disk, or of the images for calibration
            raise
        except Exception as error:  # each converter has its own
            raise ExportDiffers(
                f"This network cannot be written as {format} on {keras.backend.backend()}: "
                f"{_shortened(error)}"
            ) from error
        facts = {
            **(notes or {}),
            **_facts(model, format, size, precision, labels, uint8),
            **({"signals": list(signals)} if signals else {}),
            "sha256": digest(aside),
        }
        if precision == "int8":
            facts["calibration"] = f"{calibrated.name} {calibrated.split}"
        try:
            run = open_runtime(aside, format)
        except Exception as error:  # each runtime has its own
            raise ExportDiffers(
                f"What was written as {format} on {keras.backend.backend()} cannot be opened by "
                f"{form.runtime}, and was not kept: {_shortened(error)}"
            ) from error
        file = ExportedModel(aside, facts, run)
        comparison = _agreeing(model, file, source)
        facts["comparison"] = dataclasses.asdict(comparison)
        _put(aside, path, facts)
    return Export(path, sum(part.stat().st_size for part in parts(path)), comparison)


def verify(model: Any, path: str | Path, source: Source | None = None) -> Comparison:
    """Compares a file that `export` wrote with a network, as `export` does.

    Args:
        model: The network, a `Segmenter`.
        path: The file or folder, with its JSON beside it.
        source: As for `export`.

    Returns:
        How they compared.

    Raises:
        ValueError: The file is missing, damaged or another one than its JSON describes; or the
            JSON describes another network or other classes; or `source` has others, or other sizes.
        ExportDiffers: It does not say what Keras says.
    """
    _check_network(model)
    file = open_exported(path)
    _check_described(model, file)
    _check_filled(source)
    if source is not None:
        check_same_classes(model, source)
    return _agreeing(model, file, source)


def latency(path: str | Path, size: Size = None, runs: int = 10) -> tuple[float, int]:
    """Median seconds of one image in an exported file, and the bytes of the file.

    Args:
        path: A file, or folder, that `export` wrote.
        size: Height and width of the image, where the file takes any.
        runs: Timed runs, after two to warm up.

    Raises:
        ValueError: As for `open_exported`; no runs, no size, or another size than the file's.
    """
    if runs < 1:
        raise ValueError(f"Expected 1 run or more, got {runs}.")
    file = open_exported(path)
    size = _pair(size) or file.size
    if size is None:
        raise ValueError(f"{path} takes images of any size; say which.")
    if file.size is not None and file.size != size:
        raise ValueError("{}: takes images of {}x{}, not of {}x{}.".format(path, *file.size, *size))
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype("uint8")
    seconds = []
    for _ in range(2 + runs):
        start = time.perf_counter()
        file(image)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:]), file.bytes


def _pair(size: Any) -> Size:
    """Height and width as a tuple, in whatever sequence they came; `None` stays.

    Raises:
        ValueError: They are not two whole numbers.
    """
    if size is None:
        return None
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        raise ValueError(
            f"size must be (height, width), two whole numbers, or None for any; got {size!r}."
        ) from None
    return height, width


def _check_network(model: Any) -> None:
    """Refuses what is no network of this library."""
    if not isinstance(model, Segmenter):
        raise ValueError(
            f"Expected a network of this library, a Segmenter; got {type(model).__name__}. Other "
            "Keras models have model.export(path, format=...)."
        )


def _check_described(model: Any, file: ExportedModel) -> None:
    """Refuses a JSON that describes another network; its hash is that of the file alone."""
    about, network = facts_path(file.path), type(model).__name__
    if file.facts["network"] != network:
        raise ValueError(f"{about} describes {file.facts['network']}, the network is {network}.")
    told, known = file.facts["classes"], _classes(model)
    if len(told) != len(known):
        raise ValueError(f"{about} has {len(told)} classes, the network has {len(known)}.")
    for there, here in zip(told, known, strict=True):
        # Files that were written earlier do not say the dataset's ids.
        if model.label_space is not None and here | there != here:
            says, knows = (
                "{name} in {color}, in the dataset {dataset_id}".format(**here | facts)
                for facts in (there, here)
            )
            raise ValueError(
                f"{about} says {says} of class {here['id']}, the network {knows}. Export again."
            )


def _check_filled(source: Source | None) -> None:
    """Refuses a source without images."""
    if source is not None and not len(source):
        raise ValueError(f"{source.name} {source.split} has no images.")


def _check_signals(model: Any, format: str, signals: Sequence[str]) -> None:
    """Refuses signals that a file cannot give."""
    if isinstance(signals, str):
        raise ValueError(f"signals must be a list of names, got the single text {signals!r}.")
    if len(set(signals)) < len(signals):
        raise ValueError(f"Each signal is given once; got {', '.join(signals)}.")
    if signals and format != "onnx":
        raise ValueError(f"Signals are written in onnx, not in {format}.")
    there = [name for name in model.inspector.output if name != "logits"] if signals else []
    for name in signals:
        if name not in there:
            raise ValueError(
                f"{type(model).__name__} has no signal {name!r}; it has {', '.join(there)}."
            )


def _agreeing(model: Any, file: ExportedModel, source: Source | None) -> Comparison:
    """The comparison, if it is within the bound of the file's precision."""
    comparison = comparing.compare(model, file, source)
    faults = comparison.faults(comparing.BOUNDS[file.facts["precision"]])
    if faults:
        raise ExportDiffers(
            f"The {file.facts['format']} file in {file.facts['precision']} does not say what "
            f"Keras says on {comparison.images} {comparison.of}: {'; '.join(faults)}."
        )
    return comparison


def _facts(
    model: Any, format: str, size: Size, precision: str, labels: bool, uint8: bool
) -> dict[str, Any]:
    """What one has to know to use the file."""
    height, width = size or (None, None)
    return {
        "network": type(model).__name__,
        "format": format,
        "precision": precision,
        "written_by": f"Keras {keras.__version__} on {keras.backend.backend()}",
        "input": {
            "name": "images",
            "dtype": "uint8" if uint8 else "float32",
            "layout": "1, height, width, 3",
            "height": height,
            "width": width,
            **({} if size else {"least_side": FORMATS[format].least_side}),
            "values": "RGB, 0..255; normalisation is inside",
        },
        "output": {
            "name": "labels" if labels else "logits",
            "dtype": writing.labels_dtype(model) if labels else "float32",
            "values": "class of each pixel" if labels else "logits; the largest is the class",
            "layout": "1, height, width" if labels else "1, height, width, classes",
        },
        "classes": _classes(model),
    }


def _classes(model: Any) -> list[dict[str, Any]]:
    """Names, colours and ids in the dataset's masks, in the order of the logits."""
    space, count = model.label_space, model.num_classes
    names = space.classes if space else [f"class {i}" for i in range(count)]
    # There are 255 colours that differ well; masks have no more classes, but a network may.
    colors = space.colors if space else distinct_colors(min(count, IGNORE))
    return [
        {
            "id": i,
            "name": name,
            "color": list(color),
            **({"dataset_id": space.ids[i]} if space else {}),
        }
        for i, (name, color) in enumerate(zip(names, itertools.cycle(colors), strict=False))
    ]


def _shortened(error: Exception) -> str:
    """What it says, in some lines: converters can tell a whole graph."""
    return textwrap.shorten(str(error), 500, placeholder=" ...") or type(error).__name__


def _put(aside: Path, path: Path, facts: Mapping[str, Any]) -> None:
    """Brings what was written and its JSON to their places, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # All is on the disk before the first of them comes to its place, the JSON as the last.
        about = stack.enter_context(files.written(facts_path(path)))
        files.write_json(about, facts)
        if aside.is_dir():
            folder = stack.enter_context(files.written_folder(path))
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            return
        for part in parts(aside):
            target = stack.enter_context(files.written(path.with_suffix(part.suffix)))
            shutil.copyfile(part, target)
