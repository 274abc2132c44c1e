"""Which formats there are, which backend writes them, and what runs them."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping

from keras_focusseg.models.batch_checks import SMALLEST_SIDE

PRECISIONS = ("float32", "float16", "int8")


@dataclasses.dataclass(frozen=True)
class Format:
    """One format of files that run without Keras.

    Args:
        suffix: What the name of the file ends with; empty for a folder.
        keras_name: What `keras.Model.export` calls it.
        writers: Backends that write it for one size of images, and the packages that takes.
        any_size: Those of them that write it for images of any size.
        precisions: Of `PRECISIONS`, what it can hold.
        runtime: The package that runs it.
        quantizer: The package that brings it to int8, on top.
        least_side: Pixels that each side of an image has at least, in a file of any size.
    """

    suffix: str
    keras_name: str
    writers: Mapping[str, tuple[str, ...]]
    any_size: tuple[str, ...]
    precisions: tuple[str, ...]
    runtime: str
    quantizer: str | None = None
    least_side: int = SMALLEST_SIDE


# docs/guides/export.md says what was tried. PyTorch's tracer writes the size of its example into
# ONNX and OpenVINO files that say they take any.
FORMATS = {
    "onnx": Format(
        ".onnx",
        "onnx",
        {"tensorflow": ("onnx", "tf2onnx"), "torch": ("onnx", "onnxscript")},
        ("tensorflow",),
        PRECISIONS,
        "onnxruntime",
    ),
    "litert": Format(
        ".tflite", "litert", {"tensorflow": ()}, ("tensorflow",), PRECISIONS, "ai-edge-litert"
    ),
    "openvino": Format(
        ".xml",
        "openvino",
        {"tensorflow": (), "torch": ()},
        ("tensorflow",),
        PRECISIONS,
        "openvino",
        "nncf",
        # An image of 32 pixels a side, which is one cell at stride 32, leaves code in OpenVINO
        # 2026.4 by which SCRNet labels up to a twentieth of later, larger images otherwise.
        least_side=33,
    ),
    "saved_model": Format(
        "",
        "tf_saved_model",
        {"tensorflow": (), "jax": ()},
        ("tensorflow",),
        ("float32",),
        "tensorflow",
    ),
    "torch": Format(".pt2", "torch", {"torch": ()}, (), ("float32",), "torch"),
}


def check_possible(name: str, size: tuple[int, int] | None, precision: str, backend: str) -> Format:
    """The format of that name, if this process can write it so.

    Args:
        name: A name of `FORMATS`.
        size: Height and width of the images; `None` for any.
        precision: One of `PRECISIONS`.
        backend: The Keras backend of this process.

    Raises:
        ValueError: There is no such format, or it cannot be written so: with what can be.
        ImportError: A package is missing.
    """
    if name not in FORMATS:
        raise ValueError(f"There is no format {name!r}; there are {', '.join(FORMATS)}.")
    if precision not in PRECISIONS:
        raise ValueError(f"There is no precision {precision!r}; there are {', '.join(PRECISIONS)}.")
    found = FORMATS[name]
    if precision not in found.precisions:
        able = [other for other, form in FORMATS.items() if precision in form.precisions]
        raise ValueError(f"{name} is not written in {precision}; {', '.join(able)} are.")
    if size is None and not found.any_size:
        able = [other for other, form in FORMATS.items() if form.any_size]
        raise ValueError(
            f"{name} holds one size of images: give height and width. {', '.join(able)} take any."
        )
    writers = tuple(found.writers) if size else found.any_size
    if backend not in writers:
        nearest = ""
        if backend in found.writers:
            nearest = f"On {backend} it holds one size: give height and width. Or "
        raise ValueError(
            f"{name} for images of {'this' if size else 'any'} size is written on "
            f"{' or '.join(writers)}, not on {backend}. {nearest}set KERAS_BACKEND={writers[0]}: "
            "the weights are the same on every backend."
        )
    quantizer = [found.quantizer] if found.quantizer and precision == "int8" else []
    check_installed(name, [*found.writers[backend], found.runtime, *quantizer])
    return found


def check_installed(name: str, packages: list[str]) -> None:
    """Says which packages a format lacks.

    Raises:
        ImportError: One is not installed.
    """
    missing = [p for p in packages if importlib.util.find_spec(p.replace("-", "_")) is None]
    if missing:
        raise ImportError(
            f"{name} needs {' and '.join(missing)}: pip install {' '.join(missing)}, or "
            "pip install 'keras-focusseg[export]' for all formats."
        )
