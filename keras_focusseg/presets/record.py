"""What is known of a preset: network, classes, weights, training, scores, terms.

Reading it needs neither Keras nor a backend.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_focusseg.files import json_text, write_text
from keras_focusseg.label_spaces import LabelSpace

HERE = Path(__file__).resolve().parent
CATALOG = HERE / "catalog"
WEIGHTS = HERE / "weights"


@dataclasses.dataclass(frozen=True)
class PresetRecord:
    """A preset's card as plain data; `str(record)` prints it.

    Args:
        name: `network_backbone_dataset[_size]`.
        description: One sentence.
        network: Name of a class of `keras_focusseg.models`.
        config: Its constructor arguments.
        label_space: Classes, ids and colours, as `LabelSpace.to_config` gives them.
        weights: `{"file", "sha256", "bytes", "dtype"}`, or `None` where no public weights exist.
        recipe: The recipe it was trained with.
        training: What was done: data, epochs, hours, machine.
        scores: One dict a measurement, with split, resolution, classes, void rule, test-time
            settings, figures and the command that measures them; where it was not us who
            measured, `measured_by`.
        licence: Terms of the weights and of the data behind them.
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
    licence: Mapping[str, str] = dataclasses.field(default_factory=dict)
    paper: str = ""

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
            ValueError: The file is not JSON, or not a record.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            values["scores"] = tuple(values.get("scores", ()))
            return cls(**values)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is not a preset record: {error}") from error

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
        for score in self.scores:
            settings = ", ".join(
                str(score[key])
                for key in ("split", "frames", "resolution", "void", "test_time")
                if key in score
            )
            lines.append(f"  score     mIoU {100 * score['mean_iou']:.1f} ({settings})")
            if "measured_by" in score:
                lines.append(f"            measured by {score['measured_by']}")
        for title, values in (("training", self.training), ("licence", self.licence)):
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


def record(name: str | Path) -> PresetRecord:
    """The record of a preset: what it is, what it scored, its terms.

    Args:
        name: A name of `names()`, or a folder with `preset.json`, as training writes it.

    Raises:
        ValueError: There is no such preset.

    Example:
        ```python
        print(presets.record("fornet_mobilenet_v2_synthetic_streets"))
        ```
    """
    return PresetRecord.from_file(record_path(name))


def record_path(name: str | Path) -> Path:
    """The file of a record: that of a folder, or that of a name of the package.

    Raises:
        ValueError: There is no such preset.
    """
    folder = Path(name)
    if (folder / "preset.json").is_file():
        return folder / "preset.json"
    if str(name) in names():
        return CATALOG / f"{name}.json"
    raise ValueError(
        f"There is no preset {str(name)!r}: neither one of {', '.join(names())} nor a folder with "
        "preset.json."
    )


def write_record(preset: PresetRecord, path: Path) -> None:
    """Writes a record, whole or not at all."""
    write_text(path, preset.to_json())


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
