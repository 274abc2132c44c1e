"""What is known of a preset: network, classes, weights, training, scores, terms.

Reading it needs neither Keras nor a backend.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_focusseg.files import json_text, read_json, write_text
from keras_focusseg.label_spaces import LabelSpace
from keras_focusseg.presets import hub
from keras_focusseg.presets.retired import RETIRED

HERE = Path(__file__).resolve().parent
CATALOG = HERE / "catalog"
WEIGHTS = HERE / "weights"


@dataclasses.dataclass(frozen=True)
class PresetRecord:
    """A preset's card as plain data; `str(record)` prints it.

    Args:
        name: `network_backbone_dataset[_size]`.
        description: One sentence.
        network: Name under which its class is registered with Keras; "keras_focusseg>" is left out.
        config: Its constructor arguments.
        label_space: Classes, ids and colours, as `LabelSpace.to_config` gives them.
        weights: `{"file", "sha256", "bytes", "dtype"}`, or `None` where no public weights exist.
            With `"address"`, a pinned `hf://owner/name@revision`, the file lies there.
        recipe: The recipe it was trained with.
        training: What was done: data, epochs, hours, machine.
        scores: One dict a measurement, with split, resolution, classes, void rule, test-time
            settings, figures and the command that measures them; where it was not us who
            measured, `measured_by`.
        license: Terms of the weights and of the data behind them.
        paper: Where the network was published.
    """

    name: str
    description: str
    network: str
    config: Mapping[str, Any]
    label_space: Mapping[str, Any]
    weights: Mapping[str, Any] | None = None
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scores: tuple[Mapping[str, Any], ...] = ()
    license: Mapping[str, str] = dataclasses.field(default_factory=dict)
    paper: str = ""

    @property
    def licence(self) -> Mapping[str, str]:
        """The old name of `license`; goes with 0.3."""
        return self.license

    def classes(self) -> LabelSpace:
        """Names, ids and colours of the classes."""
        return LabelSpace.from_config(dict(self.label_space))

    def to_json(self) -> str:
        """The record as the text of its file."""
        return json_text(dataclasses.asdict(self))

    @classmethod
    def from_file(cls, path: str | Path) -> PresetRecord:
        """Reads a record.

        Raises:
            ValueError: The file is not JSON, or not a record; the message names the field.
        """
        try:
            values = read_json(path)
        except ValueError as error:
            raise ValueError(f"{path} is not a preset record: {error}") from error
        if isinstance(values, dict) and "licence" in values:  # its name until 0.1; goes with 0.3
            values["license"] = values.pop("licence")
        check_record(values, path)
        return cls(**{**values, "scores": tuple(values.get("scores", ()))})

    def __str__(self) -> str:
        classes = self.classes()
        lines = [
            self.name,
            f"  {self.description}",
            f"  network   {self.network}: {_pairs(self.config)}",
            f"  classes   {classes.num_classes}: {', '.join(classes.classes)}",
        ]
        if self.weights is None:
            lines.append("  weights   none are public; build it with load_weights=False")
        else:
            size = self.weights["bytes"] / 1e6
            lines.append(
                f"  weights   {self.weights['file']}, {size:.1f} MB {self.weights['dtype']}, "
                f"SHA-256 {self.weights['sha256'][:16]}..."
            )
            if "address" in self.weights:
                lines.append(f"            at {self.weights['address']}")
        for score in self.scores:
            settings = ", ".join(
                str(score[key])
                for key in ("split", "frames", "resolution", "void", "test_time")
                if key in score
            )
            lines.append(f"  score     mIoU {100 * score['mean_iou']:.1f} ({settings})")
            if "measured_by" in score:
                lines.append(f"            measured by {score['measured_by']}")
        for title, values in (("training", self.training), ("licence", self.license)):
            lines += [f"  {title:<9} {key}: {value}" for key, value in values.items()]
        if self.paper:
            lines.append(f"  paper     {self.paper}")
        return "\n".join(lines)


def names(pattern: str = "*") -> list[str]:
    """Names of the presets that come with the package.

    Args:
        pattern: Shell-style wildcard.

    Returns:
        The names that match, sorted.

    Example:
        ```python
        from keras_focusseg import presets

        presets.names("fornet*")
        ```
    """
    return sorted(fnmatch.filter((path.stem for path in CATALOG.glob("*.json")), pattern))


def best() -> list[str]:
    """Of each network, the preset whose first score has the highest mean IoU.

    Only those count whose weights come with the package. Scores on different data are not
    comparable; this is a choice of what to look at first.

    Example:
        ```python
        from keras_focusseg import presets

        models = [presets.load(name) for name in presets.best()]
        ```
    """
    found: dict[str, PresetRecord] = {}
    for name in names():
        preset = record(name)
        if preset.weights is not None and "address" not in preset.weights and preset.scores:
            other = found.get(preset.network)
            if other is None or preset.scores[0]["mean_iou"] > other.scores[0]["mean_iou"]:
                found[preset.network] = preset
    return [preset.name for preset in found.values()]


def record(name: str | Path) -> PresetRecord:
    """The record of a preset: what it is, what it scored, its terms.

    Args:
        name: A name of `names()`, a folder with `preset.json`, as training writes it, or
            `hf://owner/name[@revision]` for one on the Hugging Face Hub.

    Raises:
        ValueError: There is no such preset.
        ImportError: It lies on the Hub, and `huggingface_hub` is not installed.
        ConnectionError: It lies on the Hub, which cannot be reached.

    Example:
        ```python
        print(presets.record("fornet_mobilenet_v2_synthetic_streets"))
        ```
    """
    return PresetRecord.from_file(record_path(name))


def record_path(name: str | Path) -> Path:
    """The file of a record: that of a folder, of a name of the package, or of an address.

    Raises:
        ValueError: There is no such preset.
        ImportError: It lies on the Hub, and `huggingface_hub` is not installed.
        ConnectionError: It lies on the Hub, which cannot be reached.
    """
    if hub.is_address(name):
        return hub.fetch_record(str(name))
    folder = Path(name)
    if (folder / "preset.json").is_file():
        return folder / "preset.json"
    if str(name) in names():
        return CATALOG / f"{name}.json"
    if str(name) in RETIRED:
        successor, version = RETIRED[str(name)]
        raise ValueError(
            f"The preset {str(name)!r} is not shipped since version {version}: {successor!r} took "
            "its place and scores higher. An earlier version of the package still has it."
        )
    best = folder / "best"
    if (best / "preset.json").is_file():
        raise ValueError(f"{folder} is the folder of a run, not a preset; its best weights: {best}")
    if folder.is_file():
        raise ValueError(
            f"{folder} is a file; a preset is a folder with preset.json and its weights: name that."
        )
    raise ValueError(
        f"There is no preset {str(name)!r}: neither one of {', '.join(names())} nor a folder with "
        "preset.json, nor an address hf://owner/name."
    )


def write_record(preset: PresetRecord, path: Path) -> None:
    """Writes a record, whole or not at all."""
    write_text(path, preset.to_json())


def check_name(name: str) -> None:
    """Refuses a name that no file could be called by.

    Args:
        name: What a preset is to be called.

    Raises:
        ValueError: It is empty, too long, or holds something but letters, digits, "_", "-", ".".
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]{0,199}", name):
        raise ValueError(
            f"{_short(name)} is no name of a preset: files are called by it, so it is made of up "
            "to 200 letters, digits, '_', '-' and '.', and starts with a letter or digit."
        )


_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "name": (str, "text"),
    "description": (str, "text"),
    "network": (str, "text"),
    "config": (dict, "an object"),
    "label_space": (dict, "an object"),
    "weights": ((dict, type(None)), "an object or null"),
    "recipe": (dict, "an object"),
    "training": (dict, "an object"),
    "scores": (list, "a list"),
    "license": (dict, "an object"),
    "paper": (str, "text"),
}
_REQUIRED = ("name", "description", "network", "config", "label_space")
_SCORE = ("dataset", "split", "resolution")


def check_record(values: Any, path: str | Path) -> None:
    """Refuses what is no record, with the file, the field, what it is, and what was expected.

    Args:
        values: What the file holds, or is to hold.
        path: The file, for the message.

    Raises:
        ValueError: It is no record.
    """

    def expect(holds: bool, field: str, value: Any, expected: str) -> None:
        if not holds:
            raise ValueError(
                f"{path} is not a preset record: {field} is {_short(value)}; expected {expected}."
            )

    expect(isinstance(values, dict), "its content", values, "an object")
    for field in _REQUIRED:
        if field not in values:
            raise ValueError(f"{path} is not a preset record: it has no field {field!r}.")
    for field, value in values.items():
        known = ", ".join(_KINDS)
        if field not in _KINDS:
            raise ValueError(
                f"{path} is not a preset record: it has a field {field!r}; known are {known}. If a "
                "newer version of keras_focusseg wrote it, it takes that to read it."
            )
        kind, expected = _KINDS[field]
        expect(isinstance(value, kind), f"field {field!r}", value, expected)
    try:
        check_name(values["name"])
    except ValueError as error:
        raise ValueError(f"{path}: field 'name': {error}") from error
    weights = values.get("weights")
    if weights is not None:
        file, digest, size = (weights.get(key) for key in ("file", "sha256", "bytes"))
        plain = isinstance(file, str) and re.fullmatch(r"\w[\w.-]{0,229}\.safetensors", file)
        expected = "a name without folders, *.safetensors"
        expect(bool(plain), "field 'weights.file'", file, expected)
        hexadecimal = isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)
        expect(bool(hexadecimal), "field 'weights.sha256'", digest, "64 hexadecimal digits")
        expect(_is_whole(size) and size > 0, "field 'weights.bytes'", size, "a number above 0")
        dtype = weights.get("dtype")
        expect(isinstance(dtype, str), "field 'weights.dtype'", dtype, "text")
        address = weights.get("address", "hf://o/n@r")
        pinned = isinstance(address, str) and re.fullmatch(r"hf://[^@]+@[^@]+", address)
        expect(bool(pinned), "field 'weights.address'", address, "hf://owner/name@revision")
    recipe = values.get("recipe", {})
    for key, kind, expected in (
        ("dataset", str, "text"),
        ("dataset_options", dict, "an object"),
        ("val_options", dict, "an object"),
    ):
        if key in recipe:
            expect(isinstance(recipe[key], kind), f"field 'recipe.{key}'", recipe[key], expected)
    for number, score in enumerate(values.get("scores", ())):
        where = f"field 'scores[{number}]'"
        expect(isinstance(score, dict), where, score, "an object")
        for key in _SCORE:
            expect(isinstance(score.get(key), str), f"{where}, {key}", score.get(key), "text")
        iou = score.get("mean_iou")
        share = isinstance(iou, (int, float)) and 0 <= iou <= 1
        expect(share, f"{where}, mean_iou", iou, "a number 0..1")
    count = values["config"].get("num_classes")
    expect(_is_whole(count), "field 'config.num_classes'", count, "a whole number")
    try:
        space = LabelSpace.from_config(values["label_space"])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path} is not a preset record: field 'label_space' describes no classes: {error}"
        ) from error
    expect(
        space.num_classes == count,
        "field 'config.num_classes'",
        count,
        f"{space.num_classes}, as many as label_space has",
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    """The value for a message, cut off where it gets long."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
