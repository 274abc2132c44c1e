"""Presets by name: a network with its weights, its classes and its measured score."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_focusseg.files import check_folder, sha256
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.label_spaces.label_space import check_label_space
from keras_focusseg.presets import hub
from keras_focusseg.presets.record import (
    CATALOG,
    WEIGHTS,
    PresetRecord,
    check_name,
    check_record,
    record_path,
    write_record,
)
from keras_focusseg.presets.weights_file import load_weights as read_weights
from keras_focusseg.presets.weights_file import save_weights, weight_shapes

PACKAGE = "keras_focusseg"  # under which this library registers its classes with Keras
WIDEST, LARGEST_KERNEL = 2048, 7
"""That many channels, and kernels of that side, are believed without a look at the weights."""
ALPHA_CHANNELS = 864
"""Channels of MobileNetV2's widest layer at an `alpha` of 1: 960, a tenth less where rounded."""


def load(
    preset: str | Path,
    num_classes: int | None = None,
    load_weights: bool = True,
    *,
    label_space: LabelSpace | None = None,
    dtype: str | keras.DTypePolicy | None = None,
    name: str | None = None,
) -> Any:
    """Builds the network of a preset and gives it its weights.

    Args:
        preset: A name of `names()`, a folder with `preset.json`, as training and
            `save_to_preset` write it, or `hf://owner/name[@revision]` for one on the Hugging Face
            Hub: a revision, a commit at best, makes it the same one tomorrow.
        num_classes: Number of classes of your own: all weights but those of the classifier are
            loaded, for fine-tuning. By default the preset's classes, which the network also keeps
            where yours are as many: give `label_space` if they are others.
        load_weights: `False` builds the network with random weights, and only then.
        label_space: Classes of your own, in place of `num_classes`; the network knows them
            afterwards. The classifier starts anew unless they are the preset's, in its order.
        dtype: Dtype policy; by default the one of the record, or the one in force.
        name: Name of the model, such as where two presets stand in one functional model.

    Returns:
        The network, a `Segmenter`, ready to segment; `label_space` has its classes.

    Raises:
        ValueError: There is no such preset, it has no public weights, the weights file is
            missing or is not the one of the record, or `num_classes` is no number above 0 or not
            that of `label_space`.
        ImportError: The preset lies on the Hub, and `huggingface_hub` is not installed.
        ConnectionError: The Hub cannot be reached; `HF_HUB_OFFLINE=1` uses what was fetched before.

    Example:
        ```python
        model = presets.load("fornet_mobilenet_v2_synthetic_streets")
        mine = presets.load("fornet_mobilenet_v2_synthetic_streets", num_classes=3)
        ```
    """
    num_classes = _wanted_classes(num_classes, label_space)
    path = record_path(preset)
    found = PresetRecord.from_file(path)
    if load_weights and found.weights is None:
        raise ValueError(
            f"No public weights exist for {found.name!r}. "
            f"presets.load({found.name!r}, load_weights=False) builds the network with random "
            f"weights; presets.names() lists what else there is."
        )
    if load_weights and hub.is_address(preset):
        _fetch_weights(str(preset), found, path)
    weights = checked_weights(found, path) if load_weights else None
    if weights is not None:
        _check_sizes(found.config, weight_shapes(weights), path)
    config = dict(found.config)
    own = found.classes()
    other_classes = num_classes not in (None, config["num_classes"])
    if label_space is not None:
        other_classes = own.first_difference(label_space) is not None
    if other_classes:
        config.update(num_classes=num_classes, class_weights=None)
    asked = {"dtype": dtype, "name": name}
    given = {key: value for key, value in asked.items() if value is not None}
    config.update(given)
    try:
        network = network_class(found.network)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        model = network.from_config(config)
    except Exception as error:  # a constructor that is given just anything
        told = "".join(f", {key}={value!r}" for key, value in given.items())
        raise ValueError(
            f"{path}: {found.network} cannot be built from field 'config'{told}: {error}"
        ) from error
    model.label_space = label_space or (None if other_classes else own)
    if weights is not None:
        skip = model.classifier_layers() if other_classes else []
        read_weights(model, weights, skip_layers=skip)
    return model


def _wanted_classes(num_classes: int | None, label_space: LabelSpace | None) -> int | None:
    """The number of classes that the caller of `load` asks for, if he does."""
    if num_classes is not None:
        whole = isinstance(num_classes, (int, np.integer)) and not isinstance(num_classes, bool)
        if not whole or num_classes < 1:
            raise ValueError(f"num_classes must be a whole number above 0, got {num_classes!r}.")
    if label_space is None:
        return None if num_classes is None else int(num_classes)
    check_label_space(label_space)
    if num_classes not in (None, label_space.num_classes):
        raise ValueError(
            f"num_classes={num_classes}, but label space {label_space.name!r} has "
            f"{label_space.num_classes} classes: leave out num_classes."
        )
    return label_space.num_classes


def network_class(name: str) -> Any:
    """The class that a record or a recipe calls a network.

    Args:
        name: The name under which the class is registered with Keras, "package>name"; this
            library's own package may be left out, as in "FoRNet".

    Raises:
        ValueError: No network is registered under that name.
    """
    found = keras.saving.get_registered_object(name if ">" in name else f"{PACKAGE}>{name}")
    if not _is_network(found):
        known = sorted(
            other.removeprefix(f"{PACKAGE}>")
            for other, thing in keras.saving.get_custom_objects().items()
            if _is_network(thing)
        )
        raise ValueError(f"There is no network {name!r}; there are {', '.join(known)}.")
    return found


def _is_network(thing: Any) -> bool:
    """Whether it is a model that says what presets have to know: this room imports no network."""
    return (
        isinstance(thing, type)
        and issubclass(thing, keras.Model)
        and hasattr(thing, "classifier_layers")
    )


def save(
    model: Any,
    folder: str | Path,
    *,
    name: str,
    label_space: LabelSpace,
    dtype: str = "float32",
    description: str = "Trained with keras_focusseg.",
    recipe: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    scores: tuple[Mapping[str, Any], ...] = (),
    license: Mapping[str, str] | None = None,
    paper: str = "",
    licence: Mapping[str, str] | None = None,
) -> PresetRecord:
    """Writes a folder that `load` takes: `preset.json` and `<name>.safetensors`.

    Over an earlier preset of that name the weights are `<name>.2.safetensors` and
    `<name>.safetensors` in turn: whenever the process is killed, the folder holds one whole preset.

    Args:
        model: The network, a `Segmenter`.
        folder: Folder to write into; made if absent.
        name: Name of the preset.
        label_space: Its classes.
        dtype: `"float32"`, or `"float16"` for half the size.
        description: One sentence.
        recipe: How it was trained.
        training: What was done, where, for how long.
        scores: Measurements.
        license: Terms.
        paper: Publication of the network.
        licence: The old name of `license`; goes with 0.3.

    Returns:
        The record as written.

    Raises:
        ValueError: The network has another number of classes, `label_space` is none, `name` is no
            name of a file, `dtype` is neither of those, or what is told of the preset is of another
            kind than a record holds.

    Example:
        ```python
        presets.save(model, "my_preset", name="mine", label_space=source.label_space)
        model = presets.load("my_preset")
        ```
    """
    check_label_space(label_space)
    if label_space.num_classes != model.num_classes:
        raise ValueError(
            f"The network has {model.num_classes} classes, label space {label_space.name!r} has "
            f"{label_space.num_classes}."
        )
    check_name(name)
    folder = Path(folder)
    check_folder(folder)
    preset = PresetRecord(
        name=name,
        description=description,
        network=keras.saving.get_registered_name(type(model)).removeprefix(f"{PACKAGE}>"),
        config={k: v for k, v in model.constructor_config().items() if k != "name"},
        label_space=label_space.to_config(),
        recipe=dict(recipe or {}),
        training=dict(training or {}),
        scores=tuple(scores),
        license=dict(license or licence or {}),
        paper=paper,
    )
    # Before the weights are written: `load` would refuse what is no record.
    check_record(json.loads(preset.to_json()), folder / "preset.json")
    folder.mkdir(parents=True, exist_ok=True)
    # The record is what says which weights count: they come under a name that the present record
    # does not use, so that it stays true until the new one is in its place.
    present = _present_weights(folder)
    weights = folder / f"{name}.safetensors"
    if present == weights.name:
        weights = folder / f"{name}.2.safetensors"
    digest = save_weights(model, weights, dtype)
    preset = dataclasses.replace(
        preset,
        weights={
            "file": weights.name,
            "sha256": digest,
            "bytes": weights.stat().st_size,
            "dtype": dtype,
        },
    )
    write_record(preset, folder / "preset.json")
    if present in (f"{name}.safetensors", f"{name}.2.safetensors"):
        (folder / present).unlink(missing_ok=True)
    return preset


def checked_weights(preset: PresetRecord, record_path: Path) -> Path:
    """The file of a preset's weights, if it is the one of the record.

    Args:
        preset: A preset with weights.
        record_path: Where its record was read.

    Raises:
        ValueError: The file is missing, damaged, or another one.
        ImportError: It lies on the Hub, and `huggingface_hub` is not installed.
        ConnectionError: It lies on the Hub, which cannot be reached.
    """
    assert preset.weights is not None  # the caller looked
    folder = WEIGHTS if record_path.parent == CATALOG else record_path.parent
    path = folder / preset.weights["file"]
    if not path.is_file() and "address" in preset.weights:
        address = preset.weights["address"]
        _, revision = hub.parse(address)
        path = hub.fetch_weights(address, revision, path.name, preset.weights["bytes"])
    if not path.is_file():
        raise ValueError(f"The weights of {preset.name!r} are missing: no file {path}.")
    found = sha256(path)
    if found != preset.weights["sha256"]:
        raise ValueError(
            f"{path} is not the file of {preset.name!r}: its SHA-256 is {found[:16]}..., the "
            f"record says {preset.weights['sha256'][:16]}.... It is damaged or has been replaced; "
            "install the package anew, train again, or remove what was fetched, to fetch it anew."
        )
    return path


def _fetch_weights(address: str, preset: PresetRecord, record_path: Path) -> None:
    """Brings the weights beside a record of the Hub, from the same commit."""
    assert preset.weights is not None  # the caller looked
    if "address" not in preset.weights:
        commit = record_path.parent.name
        hub.fetch_weights(address, commit, preset.weights["file"], preset.weights["bytes"])


def _present_weights(folder: Path) -> str | None:
    """The weights that the record in a folder names, if there is one."""
    try:
        weights = PresetRecord.from_file(folder / "preset.json").weights
    except ValueError:
        return None
    return None if weights is None else str(weights["file"])


def _check_sizes(config: Any, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Refuses sizes that the weights cannot have, before a network is allocated by them."""
    widest = max(WIDEST, *(side for shape in shapes.values() for side in shape), 0)
    kernels = (shape for shape in shapes.values() if len(shape) == 4)
    largest = max(LARGEST_KERNEL, *(side for shape in kernels for side in shape[:2]), 0)

    def check(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                check(key, each)
        elif isinstance(value, list):
            for each in value:
                check(name, each)
        elif isinstance(value, (int, float)):
            most = largest if "kernel" in name else widest
            channels = value * ALPHA_CHANNELS if name == "alpha" else value
            if channels > most and _is_size(name):
                raise ValueError(
                    f"{path}: field 'config', {name} is {value:g}; no weight of the preset has a "
                    f"side above {most}."
                )

    check("config", config)


def _is_size(name: str) -> bool:
    parts = ("filters", "channels", "kernel")
    return name in ("alpha", "units") or any(part in name for part in parts)
