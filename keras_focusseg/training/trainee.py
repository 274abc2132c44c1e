"""A network in training beside what only training needs: auxiliary heads and teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_focusseg import backbones, data, presets
from keras_focusseg.layers import ConvNormAct, CropLike, conv2d
from keras_focusseg.losses import ChannelDistillation
from keras_focusseg.models.mask_trainer import MaskTrainer
from keras_focusseg.models.segmenter import Segmenter
from keras_focusseg.training.recipe import Recipe


def with_helpers(recipe: Recipe, network: Segmenter, source: data.Source) -> MaskTrainer:
    """What is to be trained: the network itself, or a `Trainee` if the recipe asks for helpers.

    Args:
        recipe: Says which, by `auxiliary` and `teacher`.
        network: The network that is to learn.
        source: What it is trained on, for its classes.

    Raises:
        ValueError: A teacher knows other classes.
    """
    if not recipe.auxiliary and not recipe.teachers():
        return network
    return Trainee(
        network,
        recipe.auxiliary,
        [_teacher(preset, recipe, source) for preset in recipe.teachers()],
        recipe.distillation_weight,
        recipe.distillation_temperature,
        dtype=network.dtype_policy,
    )


def _teacher(preset: str | Path, recipe: Recipe, source: data.Source) -> Segmenter:
    """A preset that knows the classes of `source`."""
    teacher = presets.load(preset, dtype=recipe.precision)
    theirs, ours = teacher.label_space.classes, source.label_space.classes
    if theirs != ours:
        raise ValueError(
            f"teacher {str(preset)!r} has the classes {', '.join(theirs)}, and {source.name} has "
            f"{', '.join(ours)}: a teacher must know the same ones, in the same order."
        )
    return teacher


class Trainee(MaskTrainer):
    """A network with heads on levels of its backbone and frozen teachers beside it.

    The weights of the network are its own, so that it is trained when this is. Heads and teachers
    run in steps of training alone: validated is the network, and `network` is what is saved.

    Args:
        network: The network that is to learn.
        auxiliary: Weight of the cross-entropy of a head, by level.
        teachers: Networks of the same classes; the mean of their logits is learned.
        distillation_weight: Weight of `losses.ChannelDistillation`.
        temperature: Its temperature.
        dtype: Dtype policy of the heads.

    Example:
        ```python
        trainee = Trainee(network, {"P4": 0.4}, [presets.load("fornet_mobilenet_v2_camvid")])
        trainee.compile()
        trainee.fit(train, validation_data=val)
        network.save_to_preset("mine")
        ```
    """

    def __init__(
        self,
        network: Segmenter,
        auxiliary: Mapping[str, float] | None = None,
        teachers: Sequence[Segmenter] = (),
        distillation_weight: float = 3.0,
        temperature: float = 4.0,
        dtype: Any = None,
    ) -> None:
        weights = {f"auxiliary_{k.lower()}": w for k, w in (auxiliary or {}).items()}
        heads = {name: _head(network, name.split("_")[1].upper(), name) for name in weights}
        for teacher in teachers:
            teacher.trainable = False  # its batch-norm statistics stay too
            weights["distillation"] = distillation_weight
        super().__init__(
            network.input,
            {**network.output, **heads},
            num_classes=network.num_classes,
            ignore_class=network.ignore_class,
            name=f"{network.name}_trainee",
        )
        self.input_spec = None  # images of any size
        self.network, self.backbone = network, network.backbone
        self.teachers, self._weights_of_help = list(teachers), weights
        self._distillation = ChannelDistillation(temperature)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """All outputs, the teachers' logits among them, in training; else the network's."""
        if not training:
            return self.network(inputs, training=False)
        outputs = super().call(inputs, training=training, mask=mask)
        if not self.teachers:
            return outputs
        logits = [teacher.logits_model(inputs, training=False) for teacher in self.teachers]
        mean = sum(logits[1:], logits[0]) / len(logits)  # (B, H, W, classes)
        return {**outputs, "teacher_logits": ops.stop_gradient(mean)}

    def loss_terms(self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None) -> dict:
        """The network's terms and, of outputs in training, those of its helpers."""
        terms = self.network.loss_terms(y, y_pred, sample_weight)
        for name in self._weights_of_help:
            if name in y_pred:
                terms[name] = self.network.cross_entropy(y, y_pred[name], sample_weight)
        if "teacher_logits" in y_pred:
            terms["distillation"] = self._distillation(y_pred["teacher_logits"], y_pred["logits"])
        return terms

    def loss_term_weights(self) -> dict[str, float]:
        """Those of the network, and of its helpers."""
        return {**self.network.loss_term_weights(), **self._weights_of_help}

    def count_step(self) -> None:
        """Lets the network count its step."""
        self.network.count_step()

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Loss and metrics of the network."""
        found = super().evaluate(x, y, *args, **kwargs)
        if isinstance(found, dict):  # what did not run there has no value
            return {k: v for k, v in found.items() if k not in self._weights_of_help}
        return found


def _head(network: Segmenter, level: str, name: str) -> keras.KerasTensor:
    """Logits (B, H, W, classes) from one level of the backbone."""
    features = network.pyramid[level]
    stride = backbones.pyramid_stride(network.backbone, level)
    y = ConvNormAct(max(features.shape[-1] // 4, 8), 3, name=f"{name}_conv")(features)
    y = conv2d(network.num_classes, name=f"{name}_classifier")(y)  # (B, h, w, classes)
    y = keras.layers.UpSampling2D(
        stride, data_format="channels_last", interpolation="bilinear", dtype="float32"
    )(y)
    return CropLike(dtype="float32", name=name)(y, network.input)
