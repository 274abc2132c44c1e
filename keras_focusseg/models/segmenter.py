"""What every network has in common: its arguments, masks as targets, its paper's loss, files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from keras_focusseg import presets
from keras_focusseg.label_spaces import LabelSpace, from_names
from keras_focusseg.losses import CrossEntropy
from keras_focusseg.models.batch_checks import check_image_shape, check_images
from keras_focusseg.models.mask_trainer import MaskTrainer
from keras_focusseg.models.panels import Panel
from keras_focusseg.models.predictors import Part, part_of, parts_of, predict
from keras_focusseg.presets import PresetRecord


class _Presets:
    """The shipped presets of a class by name, read from the class: `FoRNet.presets`."""

    def __get__(self, instance: Any, owner: type) -> dict[str, PresetRecord]:
        records = {name: presets.record(name) for name in presets.names()}
        return {
            name: record
            for name, record in records.items()
            if issubclass(presets.network_class(record.network), owner)
        }


class Segmenter(MaskTrainer):
    """A functional Keras model from images to a dict with `"logits"`, trained on integer masks.

    Subclasses build their graph, hand it to this constructor and say what their paper's loss is
    (`loss_terms`) and how its terms are weighted (`loss_term_weights`). What `ConfiguredModel`
    does with the constructor's arguments, `dtype` among them, holds for all.

    `model(images)` gives all outputs, `predict` the logits, `predict_labels` the classes. `fit`,
    `evaluate`, `save` and `export` are Keras' own.

    Args:
        inputs: Image tensor (B, H, W, 3): RGB, 0..255, any height and width.
        outputs: Dict of tensors; `"logits"` is (B, H, W, classes) in float32.
        signals: Named intermediate tensors that `inspect` returns.
        pyramid: Features of the backbone by level, where auxiliary heads can be put.
        num_classes: Number of classes.
        ignore_class: Mask value that no loss and no metric counts.
        name: Name of the model.
        **kwargs: Further arguments of `keras.Model`.

    Attributes:
        panels: How the signals of `inspect` are drawn.
        presets: The shipped presets of the class, name to record.
        label_space: Names and colours of the classes, `None` where they are not known. Presets and
            `.keras` files keep them.
        cross_entropy: The loss of the logits among the terms of the paper's loss. Another one in
            its place, such as one of hard pixels alone, holds for the training that follows.
    """

    panels: ClassVar[tuple[Panel, ...]] = ()
    cross_entropy: CrossEntropy
    presets = _Presets()

    def __init__(
        self,
        inputs: keras.KerasTensor,
        outputs: Mapping[str, keras.KerasTensor],
        *,
        signals: Mapping[str, keras.KerasTensor],
        pyramid: Mapping[str, keras.KerasTensor] | None = None,
        num_classes: int,
        ignore_class: int | None = 255,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            inputs,
            outputs,
            num_classes=num_classes,
            ignore_class=ignore_class,
            name=name,
            **kwargs,
        )
        self.input_spec = None  # `call` checks the images, and says what to do
        # Made at once, so that a distribution strategy around the constructor holds for them too.
        self._plain = _Untracked(
            signals=dict(signals),
            pyramid=dict(pyramid or {}),
            **parts_of(inputs, outputs["logits"], self.name),
        )

    def classifier_layers(self) -> list[str]:
        """Names of the layers whose shape depends on the number of classes."""
        return ["classifier"]

    @property
    def label_space(self) -> LabelSpace | None:
        """Names and colours of the classes; `None` where they are not known.

        Raises:
            ValueError: Another number of classes than the network has is set.
        """
        return self._plain.label_space

    @label_space.setter
    def label_space(self, space: LabelSpace | None) -> None:
        if space is not None and space.num_classes != self.num_classes:
            raise ValueError(
                f"The network has {self.num_classes} classes, label space {space.name!r} has "
                f"{space.num_classes}."
            )
        self._plain.label_space = space

    @property
    def pyramid(self) -> dict[str, keras.KerasTensor]:
        """Features of the backbone in the graph, "P2" (stride 4) to "P5"."""
        return self._plain.pyramid

    # Use -----------------------------------------------------------------------------------

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Images (B, H, W, 3) to the dict of outputs; refuses images below 16 pixels a side."""
        check_image_shape(tuple(inputs.shape))
        return super().call(inputs, training=training, mask=mask)

    @property
    def logits_model(self) -> Part:
        """Images to logits: the same layers and weights, without heads for training only."""
        return self._plain.logits_model

    @property
    def labels_model(self) -> Part:
        """Images to `{"labels", "confidence"}`, see `predict_labels`."""
        return self._plain.labels_model

    @property
    def probabilities_model(self) -> Part:
        """Images to what `labels_model` gives and `"probabilities"` (B, H, W, classes) float32."""
        return self._plain.probabilities_model

    @property
    def inspector(self) -> Part:
        """Images to what `inspect` gives: the signals by name, and the outputs."""
        plain = self._plain
        if plain.inspector is None:
            outputs = {**plain.signals, **self.output}
            plain.inspector = part_of(self.input, outputs, f"{self.name}_inspector")
        return plain.inspector

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """Logits of images; `model(images)` gives what the loss needs as well.

        Args:
            x: RGB images (B, H, W, 3) in 0..255, or batches of them in any form that Keras takes.
            *args: Further arguments of `keras.Model.predict`.
            **kwargs: Further arguments of `keras.Model.predict`.

        Returns:
            (B, H, W, classes) float32, before the softmax.

        Raises:
            ValueError: The first images are too small, have no 3 channels or are not in 0..255.

        Example:
            ```python
            labels = model.predict(images).argmax(-1)    # (B, H, W)
            ```
        """
        logits: np.ndarray = predict(self, self.logits_model, x, *args, **kwargs)
        return logits

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Logits (B, H, W, classes) of one batch of images (B, H, W, 3)."""
        check_images(x)
        logits: np.ndarray = self.logits_model.predict_on_batch(x)
        return logits

    def predict_labels(self, x: Any, *args: Any, **kwargs: Any) -> dict[str, np.ndarray]:
        """The class of each pixel, found on the device: a small part of what the logits weigh.

        Args:
            x: As for `predict`.
            *args: Further arguments of `keras.Model.predict`.
            **kwargs: Further arguments of `keras.Model.predict`.

        Returns:
            `"labels"` (B, H, W), uint8 (int32 with more than 256 classes), and `"confidence"`
            (B, H, W) float32, the softmax probability of that class.

        Raises:
            ValueError: As for `predict`.

        Example:
            ```python
            labels = model.predict_labels(images)["labels"]
            ```
        """
        found: dict[str, np.ndarray] = predict(self, self.labels_model, x, *args, **kwargs)
        return found

    def inspect(self, images: Any) -> dict[str, np.ndarray]:
        """Every named intermediate worth looking at, as NumPy arrays.

        Args:
            images: RGB images (B, H, W, 3) in 0..255.

        Returns:
            The signals of the network by name, and its outputs.

        Example:
            ```python
            importance = model.inspect(images)["importance"]    # (B, h, w, 1)
            ```
        """
        images = ops.convert_to_numpy(images).astype("float32")
        check_images(images)
        signals: dict[str, np.ndarray] = self.inspector.predict_on_batch(images)
        return signals

    # Files ---------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the frozen layers, and the label space if there is one."""
        space = None if self.label_space is None else self.label_space.to_config()
        return {**super().get_config(), **({"label_space": space} if space else {})}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Builds the network that `get_config` describes."""
        config = dict(config)
        space = config.pop("label_space", None)
        network = super().from_config(config, custom_objects)
        network.label_space = None if space is None else LabelSpace.from_config(space)
        return network

    def save(self, filepath: str | Path, *args: Any, **kwargs: Any) -> None:
        """Saves the whole network as `keras.Model.save` does, into a `.keras` file.

        Raises:
            ValueError: The file is to be `.h5`, from which Keras could not build the network again.
        """
        if Path(filepath).suffix in (".h5", ".hdf5"):
            raise ValueError(
                f"{filepath} could not be loaded: HDF5 files hold no registered classes. Save the "
                "network as a .keras file, or its weights alone: save_weights('name.weights.h5')."
            )
        super().save(filepath, *args, **kwargs)

    @classmethod
    def from_preset(cls, preset: str | Path, load_weights: bool = True, **changes: Any) -> Self:
        """Builds a network from a preset and gives it its weights.

        Args:
            preset: A name of `presets.names()`, a folder that `save_to_preset` or training
                wrote, or `hf://owner/name[@revision]`, see `presets.load`.
            load_weights: `False` builds the network with random weights, and only then.
            **changes: `num_classes`, `label_space`, `dtype` and `name`, see `presets.load`.

        Returns:
            The network. `Segmenter.from_preset` opens a preset of any network.

        Raises:
            ValueError: The preset is one of another class, or as for `presets.load`.

        Example:
            ```python
            model = models.FoRNet.from_preset("fornet_mobilenet_v2_camvid", num_classes=3)
            ```
        """
        found = presets.network_class(presets.record(preset).network)
        if not issubclass(found, cls):
            raise ValueError(
                f"{str(preset)!r} is a preset of {found.__name__}, not of {cls.__name__}: open it "
                f"with {found.__name__}.from_preset or presets.load. {cls.__name__} has "
                f"{', '.join(cls.presets) or 'none'}."
            )
        network: Self = presets.load(preset, load_weights=load_weights, **changes)
        return network

    def save_to_preset(self, folder: str | Path, **details: Any) -> PresetRecord:
        """Writes a folder that `from_preset` and `presets.load` take: arguments, classes, weights.

        Args:
            folder: Folder to write into; made if absent.
            **details: As for `presets.save`. By default the preset is called as the folder, and
                its classes are those of `label_space`, or "class 0", "class 1", ... without one.

        Returns:
            The record as written.

        Example:
            ```python
            model.save_to_preset("mine")
            model = models.Segmenter.from_preset("mine")
            ```
        """
        space = self.label_space or from_names([f"class {i}" for i in range(self.num_classes)])
        details = {"name": Path(folder).resolve().name, "label_space": space, **details}
        return presets.save(self, folder, **details)


class _Untracked:
    """Plain values of a model that Keras must neither track nor save."""

    def __init__(
        self,
        signals: dict[str, Any],
        pyramid: dict[str, Any],
        logits_model: Part,
        labels_model: Part,
        probabilities_model: Part,
    ) -> None:
        self.signals, self.pyramid = signals, pyramid
        self.logits_model, self.labels_model = logits_model, labels_model
        self.probabilities_model = probabilities_model
        self.inspector: Part | None = None
        self.label_space: LabelSpace | None = None
