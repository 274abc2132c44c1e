"""PyTorch checkpoints as plain arrays: where they come from, how they are read, how they fit.

No code stored in a checkpoint is ever run: safetensors files hold none, and pickled files are read
by PyTorch's restricted reader, which knows tensors and containers only.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

_HUB = re.compile(r"hf://([^/@]+/[^/@]+)(?:/([^@]+))?(?:@(.+))?")
_DEFAULT_HUB_FILE = "model.safetensors"
_PICKLED = (".pth", ".pt", ".bin", ".pth.tar")
# Training loops wrap the state dict, beside the epoch, the optimizer and the like.
_WRAPPER = "state_dict"
# Before 2.6 the restricted reader could be made to run code (CVE-2025-32434).
_SAFE_TORCH = (2, 6)


def fetch(source: str | os.PathLike[str]) -> Path:
    """Returns the local path of a checkpoint, downloading it if it is on the Hugging Face Hub.

    Args:
        source: A path, or `hf://owner/repo[/file][@revision]`. The file defaults to
            `model.safetensors`; a revision (a commit at best) makes the result reproducible.

    Returns:
        Path of an existing file.

    Raises:
        ValueError: If an `hf://` source is malformed.
        FileNotFoundError: If there is no file at the path.
        ImportError: If the source is on the Hub and `huggingface_hub` is not installed.
        ConnectionError: If the download fails.

    Example:
        >>> fetch("hf://timm/resnet50.a1_in1k")  # doctest: +SKIP
    """
    source = os.fspath(source)
    if source.startswith("hf://"):
        return _fetch_from_hub(source)
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"No weights file at {source}.")
    return path


def _fetch_from_hub(source: str) -> Path:
    match = _HUB.fullmatch(source)
    if match is None:
        raise ValueError(f"Expected hf://owner/repo[/file][@revision], received {source!r}.")
    repository, file, revision = match.groups()
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ImportError(
            f"Loading {source} needs the package huggingface_hub: pip install huggingface_hub, or "
            "download the file and pass its path."
        ) from error
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                repository, file or _DEFAULT_HUB_FILE, revision=revision
            )
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ConnectionError(
            f"Could not fetch {file or _DEFAULT_HUB_FILE} of {repository} (revision "
            f"{revision or 'main'}) from the Hugging Face Hub: {error}"
        ) from error


def read_state_dict(path: str | os.PathLike[str], at_least_bytes: int = 1) -> dict[str, np.ndarray]:
    """Reads a checkpoint as {key: array} without running any code it may hold.

    Args:
        path: A `.safetensors` file, or a state dict saved by PyTorch as `.pth`, `.pth.tar`,
            `.pt` or `.bin`, by itself or as `"state_dict"` of a training run's checkpoint.
            PyTorch's need PyTorch 2.6 or newer, whatever the Keras backend.
        at_least_bytes: A smaller file is refused as incomplete.

    Returns:
        The arrays; floating point ones as float32.

    Raises:
        ValueError: If the file is too small, of an unknown kind, damaged, or holds anything but
            named tensors.
        ImportError: If the file is PyTorch's and PyTorch is absent, or too old to be safe.

    Example:
        >>> read_state_dict("resnet50.safetensors")  # doctest: +SKIP
    """
    path = Path(path)
    safetensors = path.suffix == ".safetensors"
    if not safetensors and not path.name.endswith(_PICKLED):
        raise ValueError(
            f"{path} is of an unknown kind: expected .safetensors or {', '.join(_PICKLED)}."
        )
    size = path.stat().st_size
    if size < at_least_bytes:
        raise ValueError(
            f"{path} has {size} bytes, at least {at_least_bytes} are needed: is the download "
            "incomplete, or the file a pointer to the real one, or of a smaller network?"
        )
    return _read_safetensors(path) if safetensors else _read_pickled(path)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    return {key: _as_float32(array) for key, array in arrays.items()}


def _read_pickled(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is a PyTorch checkpoint; without PyTorch it cannot be read safely. Install "
            "torch, or convert the file to .safetensors where torch is installed."
        ) from error
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _SAFE_TORCH:
        raise ImportError(
            f"Reading {path} safely needs PyTorch 2.6 or newer, {torch.__version__} is installed. "
            "Update it, or convert the file to .safetensors."
        )
    try:
        # Plain attributes, in which many training loops keep the options of their command line.
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # The restricted reader raises many kinds, its own pickle's too.
        raise ValueError(
            f"{path} was refused: it is damaged, or holds more than tensors. Expected a plain "
            f"state dict. PyTorch said: {error}"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get(_WRAPPER), Mapping):
        state = state[_WRAPPER] or state
    if not isinstance(state, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise ValueError(
            f"{path} holds {_describe(state)}, expected a plain state dict: names to tensors."
        )
    arrays = {}
    for key, value in state.items():
        # Older files hold parameters, which refuse numpy() while they ask for gradients; and
        # NumPy has no bfloat16.
        tensor = value.detach()
        arrays[key] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return arrays


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a dict with keys {sorted(map(str, value))[:5]}"
    return f"a {type(value).__name__}"


def _as_float32(array: np.ndarray) -> np.ndarray:
    is_integer = np.issubdtype(array.dtype, np.integer) or array.dtype == bool
    return array if is_integer else array.astype("float32")


def assign(
    plan: Mapping[str, keras.Variable],
    state: Mapping[str, np.ndarray],
    left_aside: re.Pattern[str],
    where: str,
) -> None:
    """Sets every variable of `plan` from `state`, or raises and sets none.

    Four-dimensional arrays are kernels and are turned from PyTorch's (out, in, h, w) to Keras's
    (h, w, in, out).

    Args:
        plan: {key in the checkpoint: variable to set}.
        state: The checkpoint.
        left_aside: Keys that match may be left over.
        where: What goes where, for the error message.

    Raises:
        ValueError: If a key is missing or left over, a shape differs, or a value is not finite.
    """
    values = {
        key: state[key].transpose(2, 3, 1, 0) if state[key].ndim == 4 else state[key]
        for key in plan
        if key in state
    }
    problems = {
        "missing": [key for key in plan if key not in state],
        "left over": [key for key in state if key not in plan and not left_aside.fullmatch(key)],
        "of another shape": [
            f"{key} {value.shape} for {tuple(plan[key].shape)}"
            for key, value in values.items()
            if value.shape != tuple(plan[key].shape)
        ],
        "not finite": [key for key, value in values.items() if not np.all(np.isfinite(value))],
    }
    if any(problems.values()):
        told = "; ".join(f"{what}: {_first(keys)}" for what, keys in problems.items() if keys)
        raise ValueError(f"The checkpoint does not fit ({where}). Keys {told}.")
    for key, variable in plan.items():
        variable.assign(values[key])


def _first(keys: list[str], count: int = 8) -> str:
    more = len(keys) - count
    return ", ".join(keys[:count]) + (f" and {more} more" if more > 0 else "")
