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
from keras_focusseg.export.formats import FORMATS, check_installed

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
        """Logits (1, H, W, classes), or labels (1, H, W), as the file was exported."""
        return self._outputs(images)[0]

    def signals(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The signals that the file was exported with, by name, each (1, h, w, channels)."""
        names = self.facts.get("signals", ())
        return dict(zip(names, self._outputs(images)[1:], strict=True))

    def _outputs(self, images: np.ndarray) -> Sequence[np.ndarray]:
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
    """SHA-256 over all files of an export."""
    return hashlib.sha256("".join(map(files.sha256, parts(path))).encode()).hexdigest()


def open_exported(path: str | Path) -> ExportedModel:
    """Opens an exported file with its own runtime; Keras takes no part.

    Args:
        path: A file, or folder, that `export` wrote, with its JSON beside it.

    Returns:
        The file, to be called with images.

    Raises:
        ValueError: There is no such file, or it is not the one of its JSON.
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
    needed = {"format", "precision", "network", "input", "sha256"}
    if not isinstance(facts, dict) or not needed <= facts.keys() or facts["format"] not in FORMATS:
        raise ValueError(f"{facts_path(path)} does not describe an exported network.")
    if not all(part.exists() for part in parts(path)):
        raise ValueError(f"{path} is missing, though {facts_path(path)} describes it.")
    if digest(path) != facts["sha256"]:
        raise ValueError(
            f"{path} is not the file that {facts_path(path)} describes: it is damaged or has been "
            "replaced. Export again."
        )
    return ExportedModel(path, facts, open_runtime(path, facts["format"]))


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
