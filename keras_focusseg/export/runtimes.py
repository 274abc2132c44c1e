"""Opens exported files with the runtime that they are meant for."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_focusseg import files
from keras_focusseg.export.formats import FORMATS, PRECISIONS, check_installed
from keras_focusseg.models.batch_checks import SMALLEST_SIDE

Run = Callable[[np.ndarray], Sequence[np.ndarray]]
"""One image to what the file gives: logits or labels first, then the signals."""


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """An exported file, ready to run: `file(images)` with images (1, H, W, 3), RGB in 0..255.

    Args:
        path: The file, or folder.
        facts: What the JSON beside it says: format, precision, input, output, classes.
        run: The runtime.
    """

    path: Path
    facts: Mapping[str, Any]
    run: Run

    def __str__(self) -> str:
        height, width = self.size or ("any height", "any width")
        told = "{network} as {format} in {precision}".format(**self.facts)
        form = ", the chosen cells alone" if self.facts.get("sparse") else ""
        shares = [f"{100 * ratio:g} %" for ratio in self.facts.get("ratios", ())]
        cells = f", cells {', '.join(shares)}" if shares else ""
        return f"{self.path}, {told}, {height}x{width}{cells}{form}"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits (1, H, W, classes), or labels (1, H, W), as the file was exported.

        Raises:
            ValueError: It is not one RGB image of the size that the file takes, or a side has less
                than the 16 pixels (in OpenVINO 33) that a file of any size takes.
        """
        return self._outputs(images)[0]

    def signals(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The signals that the file was exported with, by name, each (1, h, w, channels)."""
        names = self.facts.get("signals", ())
        return dict(zip(names, self._outputs(images)[1:], strict=True))

    def _outputs(self, images: np.ndarray) -> Sequence[np.ndarray]:
        shape = np.shape(images)
        if len(shape) != 4 or shape != (1, *(self.size or shape[1:3]), 3):
            height, width = self.size or ("height", "width")
            raise ValueError(f"{self.path} takes images (1, {height}, {width}, 3), got {shape}.")
        least = self.facts["input"].get("least_side", SMALLEST_SIDE)
        if min(shape[1:3]) < least:
            raise ValueError(
                f"{self.path} takes images of {least} pixels a side or more, got {shape}."
            )
        return self.run(np.ascontiguousarray(images, dtype=self.facts["input"]["dtype"]))

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the images; `None` for any."""
        height, width = (self.facts["input"][side] for side in ("height", "width"))
        return None if height is None else (height, width)

    @property
    def bytes(self) -> int:
        """Size of all its files on disk, without the JSON."""
        return sum(file.stat().st_size for file in parts(self.path))


def facts_path(path: str | Path) -> Path:
    """Where the JSON of an exported file lies: beside it, its name and `.json`.

    Args:
        path: The exported file or folder.
    """
    return Path(f"{Path(path)}.json")


def parts(path: Path) -> list[Path]:
    """The files that an export is made of, without the JSON."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def digest(path: Path) -> str:
    """SHA-256 of an exported file; of several, that of their SHA-256s one after the other."""
    sums = [files.sha256(part) for part in parts(path)]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def is_exported(path: str | Path) -> bool:
    """Whether the JSON that `export` writes lies beside a file or folder.

    Args:
        path: The file or folder, which need not be there.
    """
    try:
        return _describes(files.read_json(facts_path(path)))
    except ValueError:
        return False


def _describes(facts: Any) -> bool:
    """Whether it is what `export` says of a file."""
    known = {"format": FORMATS, "precision": PRECISIONS}
    return (
        isinstance(facts, dict)
        and {"network", "output"} <= facts.keys()
        and isinstance(facts.get("sha256"), str)
        and isinstance(facts.get("classes"), list)
        and all(isinstance(found, dict) for found in facts["classes"])
        and all({"name", "color"} <= found.keys() for found in facts["classes"])
        and all(isinstance(facts.get(name), str) for name in known)
        and all(facts[name] in names for name, names in known.items())
        and isinstance(facts.get("input"), dict)
        and {"dtype", "height", "width"} <= facts["input"].keys()
        and facts["input"]["dtype"] in ("uint8", "float32")
        and _are_sides([facts["input"][side] for side in ("height", "width")])
        and type(facts["input"].get("least_side", SMALLEST_SIDE)) is int
        and isinstance(facts["output"], dict)
        and facts["output"].get("name") in ("logits", "labels")
    )


def _are_sides(sides: list[Any]) -> bool:
    """Whether they are a height and a width, or `None` twice, for any."""
    return sides == [None, None] or all(type(side) is int and side > 0 for side in sides)


def open_exported(path: str | Path) -> ExportedModel:
    """Opens an exported file with its own runtime; Keras takes no part.

    Args:
        path: A file, or folder, that `export` wrote, with its JSON beside it.

    Returns:
        The file, to be called with images.

    Raises:
        ValueError: There is no such file, it is not the one of its JSON, or its runtime does not
            open it.
        ImportError: Its runtime is not installed.

    Example:
        ```python
        from keras_focusseg.export import open_exported

        file = open_exported("street.onnx")
        logits = file(images)    # (1, H, W, classes)
        ```
    """
    path = Path(path)
    facts = files.read_json(facts_path(path))
    if not _describes(facts):
        raise ValueError(f"{facts_path(path)} does not describe an exported network.")
    for part in parts(path):
        if not part.exists():
            raise ValueError(f"{part} is missing, though {facts_path(path)} describes it.")
    if digest(path) != facts["sha256"]:
        raise ValueError(
            f"{path} is not the file that {facts_path(path)} describes: it is damaged or has been "
            "replaced. Export again."
        )
    try:
        run = open_runtime(path, facts["format"])
    except ImportError:
        raise
    except Exception as error:  # each runtime has its own
        runtime = FORMATS[facts["format"]].runtime
        raise ValueError(f"{path} cannot be opened by {runtime}: {error}") from error
    return ExportedModel(path, facts, run)


def open_runtime(path: Path, name: str) -> Run:
    """The runtime of a format with a file in it."""
    check_installed(name, [FORMATS[name].runtime])
    return _OPENERS[name](path)


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: [np.asarray(found) for found in session.run(None, {name: images})]


def _open_litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    # One thread by default; the other runtimes take all processors.
    interpreter = Interpreter(str(path), num_threads=os.cpu_count())
    place, result = (
        details[0]["index"]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )

    shape: tuple[int, ...] | None = None

    def run(images: np.ndarray) -> list[np.ndarray]:
        nonlocal shape
        if shape != images.shape:
            interpreter.resize_tensor_input(place, images.shape)
            interpreter.allocate_tensors()
            shape = images.shape
        interpreter.set_tensor(place, images)
        interpreter.invoke()
        return [np.asarray(interpreter.get_tensor(result))]

    return run


def _open_openvino(path: Path) -> Run:
    import openvino

    # Some processors would compute in bfloat16 otherwise.
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: [np.asarray(compiled(images)[0])]


def _open_saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: [np.asarray(loaded.serve(images))]


def _open_torch(path: Path) -> Run:
    import torch

    module = torch.export.load(path).module()
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [np.asarray(module(torch.from_numpy(images).to(device)).cpu())]

    return run


_OPENERS: dict[str, Callable[[Path], Run]] = {
    "onnx": _open_onnx,
    "litert": _open_litert,
    "openvino": _open_openvino,
    "saved_model": _open_saved_model,
    "torch": _open_torch,
}
