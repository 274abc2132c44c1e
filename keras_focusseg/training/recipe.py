"""What a recipe says: plain data from which a run can be repeated."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, Literal

from keras_focusseg import data, presets
from keras_focusseg.training.checkpoints import SaveEvery

CHOICES: dict[str, tuple[Any, ...]] = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("poly", "cosine", "step"),
    "class_weights": ("median_frequency", "inverse_log", "effective_number", None),
    "cache": ("memory", None),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "jit_compile": ("auto", True, False),
}
TEXTS = ("name", "network", "dataset", "train_split", "val_split")
TEXTS_OR_NONE = ("backbone_weights", "pretrained")
BOOLS = ("freeze_backbone", "freeze_backbone_norm", "worker_processes")
OBJECTS = ("network_config", "dataset_options", "train_options", "val_options", "auxiliary")
NONE_TOO = ("steps", "warmup_start", "patience", "ohem_threshold", "workers")
WHOLE = (
    "batch_size",
    "val_batch_size",
    "epochs",
    "steps",
    "warmup_steps",
    "step_epochs",
    "validate_every",
    "patience",
    "workers",
    "steps_per_execution",
    "seed",
)
NUMBERS = (
    "class_uniform",
    "momentum",
    "learning_rate",
    "head_learning_rate_factor",
    "stage_learning_rate_factor",
    "weight_decay",
    "clip_norm",
    "warmup_start",
    "power",
    "step_factor",
    "ohem_threshold",
    "ohem_min_kept",
    "distillation_weight",
    "distillation_temperature",
    "ema",
)
LEVELS = ("P2", "P3", "P4", "P5")
ABOVE_0 = (
    "batch_size",
    "val_batch_size",
    "epochs",
    "steps",
    "validate_every",
    "patience",
    "learning_rate",
    "head_learning_rate_factor",
    "step_epochs",
    "distillation_weight",
    "distillation_temperature",
    "workers",
    "steps_per_execution",
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run as plain values: network, data, schedule.

    Args:
        name: Name of the run and of the preset it makes.
        network: Name of a class of `keras_focusseg.models`, such as `"FoRNet"`.
        dataset: Name that `data.open_source` knows, such as `"camvid"`, `"cityscapes"`, `"folder"`.
        network_config: Constructor arguments of the network; `num_classes` comes from the data,
            and with `pretrained` all come from the preset: what stands here must be the same.
        dataset_options: Further arguments of the source, for both splits.
        train_options: Further arguments of the training source alone.
        val_options: Further arguments of the validation source alone.
        train_split: Split that is trained on.
        val_split: Split that picks the best checkpoint.
        augment: The augmentation as `{"steps": [{"step": "Flip", "probability": 0.5}, ...]}`, see
            `data.augmentation`; `data.Augment(...).to_config()` makes it. By default that of
            `data.Augment()`. Stored with every argument written out.
        class_uniform: Share of an epoch's samples that are drawn by class, each class as often
            as any other, cropped around one of its pixels; see `data.batches`.
        batch_size: Images a training step.
        val_batch_size: Images a validation step; 1 where the images differ in size.
        epochs: Passes over the training split.
        steps: Training steps in all, in place of `epochs`; rounded up to whole epochs.
        optimizer: `"adamw"` (`optimizers.AdamW`) or `"sgd"` (`optimizers.SGD`, not Nesterov's).
        momentum: Momentum of SGD.
        learning_rate: Highest rate.
        head_learning_rate_factor: What is not in the backbone learns at this multiple of the rate.
        stage_learning_rate_factor: Each stage of the backbone learns at this multiple of the next
            one's rate, in (0, 1]; the last one learns at the plain rate.
        weight_decay: Decay of the kernels; norms and biases are spared. Decoupled in AdamW, an L2
            penalty in SGD; either way as strong as the same number is in PyTorch.
        clip_norm: Largest global gradient norm; 0 for any.
        schedule: `"poly"`, the polynomial decay of `WarmupPoly`; `"cosine"`, half a cosine of
            `WarmupCosine`; or `"step"`, the drops of `WarmupStep`.
        warmup_steps: Steps of linear warm-up.
        warmup_start: Share 0..1 of the rate that the warm-up starts from; by default one over
            `warmup_steps`.
        power: Exponent of the polynomial decay, 0 or more.
        step_epochs: Epochs between two drops of schedule `"step"`.
        step_factor: What the rate is multiplied by at a drop, in (0, 1].
        class_weights: Gives the network the `class_weights` that `data.class_weights` finds on
            the training split by this method: `"median_frequency"`, `"inverse_log"` or
            `"effective_number"`; `None` leaves it to `network_config`.
        ohem_threshold: Hard pixels alone count in the cross-entropy: those whose class has at most
            this probability, see `losses.CrossEntropy`; `None` for all pixels.
        ohem_min_kept: Least share of the pixels that counts then.
        auxiliary: Weights of auxiliary heads by level of the backbone, such as `{"P4": 0.4}`: a
            3x3 convolution and a classifier on that level learn the masks too (PSPNet, arXiv
            1612.01105), and are thrown away after training.
        teacher: A preset, by name or folder, whose logits the network learns beside the masks
            (`losses.ChannelDistillation`); it has the same classes. Several are a list: the
            mean of their logits is learned, and each runs in every step. `None` for none.
        distillation_weight: Weight of that loss; 3 in its paper for logits.
        distillation_temperature: Its temperature; 4 in its paper.
        ema: Momentum of the moving average of the weights that is validated and kept; 0 for none.
        freeze_backbone: The backbone stays as loaded, its batch-norm statistics too.
        freeze_backbone_norm: Batch-norm statistics of the backbone stay as loaded; do this where
            a device sees fewer than 4 images.
        validate_every: Epochs between validations; the last epoch is validated as well.
        patience: Epochs without a better validation mIoU after which the run ends early, at a
            validation; `None` trains all epochs. The schedule is that of all epochs either way.
        save_every: Checkpoints inside an epoch, beside that at its end: every so many steps of the
            run (`500`) or minutes (`"10min"`). Changes nothing of what is trained, so a run may be
            resumed with another value.
        cache: `"memory"` keeps the decoded samples of both splits (`data.Cached` says how much
            that takes), `None` reads them in each epoch.
        workers: Threads that read and augment for each process that trains; `None` for one a core.
            Like `save_every` it may differ when a run is resumed.
        worker_processes: Whether those of training are processes, where threads do not keep up;
            needs `cache=None`, since they would not see what is kept. See `data.batches`. It may
            differ as well.
        precision: What the network computes in: `"float32"`; `"mixed_bfloat16"`, for TPUs and
            recent GPUs; `"mixed_float16"`, for older GPUs, with a scaled loss. Weights, losses,
            ranking and the resize to the image stay float32.
        steps_per_execution: Steps that are compiled into one call, which spares the host work
            between short steps; 1 on PyTorch. It may differ when a run is resumed.
        jit_compile: Whether XLA (on PyTorch `torch.compile`) compiles the step: `"auto"` as Keras
            decides, which is yes on JAX and on a GPU of TensorFlow. It may differ as well.
        seed: Seed of weights, order and augmentation.
        backbone_weights: What the backbone starts from: `"imagenet"`, a checkpoint that
            `backbones.load_weights` reads, or `None`.
        pretrained: Preset of the same network whose weights the run starts from, as `presets.load`
            takes it, or `None`. Where its classes are not those of the data, in name or order, the
            classifier starts anew, and its class weights are left out.

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
    augment: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: data.Augment().to_config()
    )
    class_uniform: float = 0.0
    batch_size: int = 8
    val_batch_size: int = 1
    epochs: int = 40
    steps: int | None = None
    optimizer: str = "adamw"
    momentum: float = 0.9
    learning_rate: float = 2e-4
    head_learning_rate_factor: float = 1.0
    stage_learning_rate_factor: float = 1.0
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    schedule: str = "poly"
    warmup_steps: int = 0
    warmup_start: float | None = None
    power: float = 0.9
    step_epochs: int = 10
    step_factor: float = 0.3
    class_weights: str | None = None
    ohem_threshold: float | None = None
    ohem_min_kept: float = 0.1
    auxiliary: Mapping[str, float] = dataclasses.field(default_factory=dict)
    teacher: str | Path | Sequence[str | Path] | None = None
    distillation_weight: float = 3.0
    distillation_temperature: float = 4.0
    ema: float = 0.999
    freeze_backbone: bool = False
    freeze_backbone_norm: bool = False
    validate_every: int = 1
    patience: int | None = None
    save_every: int | str | None = None
    cache: Literal["memory"] | None = "memory"
    workers: int | None = None
    worker_processes: bool = False
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    steps_per_execution: int = 1
    jit_compile: bool | Literal["auto"] = "auto"
    seed: int = 0
    backbone_weights: str | None = None
    pretrained: str | None = None

    def to_config(self) -> dict[str, Any]:
        """The recipe as a dict, from which `files.json_text` makes JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_config` described, as run folders and presets store it.

        What a recipe of an earlier version did not say yet was done by the default; its `augment`
        held arguments of `data.Augment`, or a bare list of steps.
        """
        values, augment = dict(config), config.get("augment")
        if isinstance(augment, Sequence):
            values["augment"] = {"steps": augment}
        elif augment is not None and "steps" not in augment:
            values["augment"] = data.Augment(**augment).to_config()
        return cls(**values)

    def teachers(self) -> tuple[str | Path, ...]:
        """The presets that `teacher` names."""
        if self.teacher is None:
            return ()
        return (self.teacher,) if isinstance(self.teacher, (str, Path)) else tuple(self.teacher)

    def num_epochs(self, steps_per_epoch: int) -> int:
        """Passes over a training split that makes so many steps."""
        return self.epochs if self.steps is None else -(-self.steps // steps_per_epoch)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some values changed; `epochs` alone also takes the place of `steps`.

        Raises:
            ValueError: A name is not a value of recipes, or a number has the wrong sign.
        """
        unknown = set(changes) - {field.name for field in dataclasses.fields(self)}
        if unknown:
            known = ", ".join(field.name for field in dataclasses.fields(self))
            raise ValueError(f"A recipe has no {sorted(unknown)}; it has {known}.")
        if "epochs" in changes:
            changes = {"steps": None, **changes}
        return dataclasses.replace(self, **changes)

    def __post_init__(self) -> None:
        self._check_types()
        presets.check_name(self.name)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                known = " or ".join(repr(choice) for choice in choices)
                raise ValueError(f"{name} must be {known}, got {getattr(self, name)!r}.")
        for name in ABOVE_0:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}.")
        for name in ("clip_norm", "weight_decay", "warmup_steps", "power", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        if self.seed >= 2**32:  # NumPy takes no larger ones
            raise ValueError(f"seed must be below 2**32, got {self.seed}.")
        SaveEvery.from_text(self.save_every)
        for name in ("class_uniform", "warmup_start"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be a share 0..1, got {value}.")
        shares = ("stage_learning_rate_factor", "step_factor", "ohem_threshold", "ohem_min_kept")
        for name in shares:
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}.")
        for level, weight in self.auxiliary.items():
            number = isinstance(weight, (int, float)) and math.isfinite(weight)
            if level not in LEVELS or not number or weight <= 0:
                raise ValueError(
                    f"auxiliary must give levels of {', '.join(LEVELS)} weights above 0, such as "
                    f'{{"P4": 0.4}}; got {dict(self.auxiliary)!r}.'
                )
        for name in ("ema", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        if self.class_weights and (self.pretrained or "class_weights" in self.network_config):
            raise ValueError(
                f"class_weights={self.class_weights!r} cannot be had: network_config has "
                "class_weights of its own, or the network comes from a preset. Leave out one."
            )
        object.__setattr__(self, "augment", data.augmentation(self.augment).to_config())

    def _check_types(self) -> None:
        kinds: tuple[tuple[tuple[str, ...], Any, str], ...] = (
            (TEXTS, str, "text"),
            (TEXTS_OR_NONE, (str, Path, NoneType), "text or None"),
            (OBJECTS, Mapping, "a dict"),
            (WHOLE, int, "a whole number"),
            (NUMBERS, (int, float), "a number"),
            (BOOLS, bool, "True or False"),
        )
        for names, kind, expected in kinds:
            for name in names:
                value = getattr(self, name)
                if value is None and name in NONE_TOO:
                    continue
                if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
                    raise ValueError(f"{name} must be {expected}, got {value!r}.")
                if isinstance(value, float) and not math.isfinite(value):
                    raise ValueError(f"{name} must be finite, got {value!r}.")
        named = isinstance(self.teacher, (str, Path, Sequence, NoneType))
        if not named or not all(isinstance(each, (str, Path)) for each in self.teachers()):
            raise ValueError(
                f"teacher must be text, a list of texts or None, got {self.teacher!r}."
            )


def load_recipe(path: str | Path) -> Recipe:
    """Reads a recipe file: Python code that sets `recipe = Recipe(...)`.

    The file is run, as any script is; use only recipes whose code you trust.

    Args:
        path: A Python file.

    Raises:
        ValueError: There is no such file, it cannot be run, or it sets no `recipe`; names the line.
    """
    path = Path(path)
    if not path.is_file() or path.suffix != ".py":
        there = "" if path.exists() else "there is no such file; "
        raise ValueError(
            f"{path} is not a recipe: {there}expected a Python file such as recipes/*.py."
        )
    module = ModuleType(f"focusseg_recipe_{path.stem}")
    module.__file__ = str(path)
    try:
        # Not by an import, which would leave a folder __pycache__ beside the recipe.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except Exception as error:  # of somebody's code
        raise ValueError(_where_it_failed(path, error)) from error
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must set `recipe = Recipe(...)`; found {type(recipe).__name__}.")
    return recipe


def _where_it_failed(path: Path, error: Exception) -> str:
    """One sentence for what went wrong in a recipe file."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}: is not Python: {error.msg}."
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    known = ", ".join(field.name for field in dataclasses.fields(Recipe))
    hint = f". A recipe takes {known}." if "Recipe.__init__" in str(error) else ""
    said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return f"{where}: {said}{hint}"
