"""What a recipe says: plain data from which a run can be repeated."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run as plain values: network, data, schedule.

    Args:
        name: Name of the run and of the preset it makes.
        network: Name of a class of `keras_focusseg.models`, such as `"FoRNet"`.
        network_config: Its constructor arguments; `num_classes` comes from the data.
        dataset: Name that `data.open_source` knows: `"camvid"`, `"folder"`, `"synthetic_streets"`.
        dataset_options: Further arguments of the source, for both splits.
        train_options: Further arguments of the training source alone.
        val_options: Further arguments of the validation source alone.
        train_split: Split that is trained on.
        val_split: Split that picks the best checkpoint.
        augment: Arguments of `data.Augment`.
        batch_size: Images a training step.
        val_batch_size: Images a validation step; 1 where the images differ in size.
        epochs: Passes over the training split.
        learning_rate: Highest rate of AdamW.
        weight_decay: Decay of the kernels.
        clip_norm: Largest global gradient norm.
        warmup_steps: Steps of linear warm-up.
        power: Exponent of the polynomial decay.
        ema: Momentum of the moving average of the weights that is validated and kept; 0 for none.
        freeze_backbone_norm: Batch-norm statistics of the backbone stay as loaded; do this where
            a device sees fewer than 4 images.
        validate_every: Epochs between validations.
        seed: Seed of weights, order and augmentation.
        backbone_weights: What the backbone starts from: `"imagenet"`, a checkpoint that
            `backbones.load_weights` reads, or `None`.
        pretrained: Preset whose weights the run starts from (a new classifier where the classes
            differ), or `None`.

    Example:
        ```python
        recipe = Recipe(name="mine", network="FoRNet", dataset="camvid", epochs=60)
        ```
    """

    name: str
    network: str
    dataset: str
    network_config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dataset_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    val_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train_split: str = "train"
    val_split: str = "val"
    augment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: int = 8
    val_batch_size: int = 1
    epochs: int = 40
    learning_rate: float = 2e-4
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    warmup_steps: int = 0
    power: float = 0.9
    ema: float = 0.999
    freeze_backbone_norm: bool = False
    validate_every: int = 1
    seed: int = 0
    backbone_weights: str | None = None
    pretrained: str | None = None

    def to_config(self) -> dict[str, Any]:
        """The recipe as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some values changed.

        Raises:
            ValueError: A name is not a value of recipes, or a number has the wrong sign.
        """
        unknown = set(changes) - {field.name for field in dataclasses.fields(self)}
        if unknown:
            known = ", ".join(field.name for field in dataclasses.fields(self))
            raise ValueError(f"A recipe has no {sorted(unknown)}; it has {known}.")
        return dataclasses.replace(self, **changes)

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "validate_every", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}.")


def load_recipe(path: str | Path) -> Recipe:
    """Reads a recipe file: Python code that sets `recipe = Recipe(...)`.

    The file is run, as any script is; use only recipes whose code you trust.

    Raises:
        ValueError: There is no such file, or it sets no `recipe`.
    """
    path = Path(path)
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(f"{path} is not a recipe: expected a Python file such as recipes/*.py.")
    spec = importlib.util.spec_from_file_location(f"focusseg_recipe_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must set `recipe = Recipe(...)`; found {type(recipe).__name__}.")
    return recipe
