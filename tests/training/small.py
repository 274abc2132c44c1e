"""A network that trains in an instant and has all that a checkpoint must keep, and its recipe."""

from __future__ import annotations

from typing import Any

import keras

from keras_focusseg import data, losses, models, training


@keras.saving.register_keras_serializable(package="tests")
class Small(models.Segmenter):
    """Two convolutions, a batch norm and a dropout."""

    def __init__(self, num_classes: int, dropout: float = 0.3, dtype: Any = None) -> None:
        images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(images / 255)
        x = keras.layers.BatchNormalization(momentum=0.5, name="norm")(x)
        x = keras.layers.Dropout(dropout)(keras.layers.Activation("relu")(x))
        logits = keras.layers.Conv2D(num_classes, 1, name="classifier")(x)
        super().__init__(images, {"logits": logits}, signals={}, num_classes=num_classes)
        self.cross_entropy = losses.CrossEntropy(ignore_class=255)

    def loss_terms(self, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return {"cross_entropy": self.cross_entropy(y, y_pred["logits"])}

    def loss_term_weights(self) -> dict[str, float]:
        return {"cross_entropy": 1.0}


RECIPE = training.Recipe(
    name="small",
    network="tests>Small",
    dataset="synthetic_streets",
    dataset_options={"size": (64, 64)},
    train_options={"count": 8},
    val_options={"count": 2},
    augment=data.Augment((32, 32)).to_config(),
    batch_size=2,
    epochs=2,
    learning_rate=0.03,
    ema=0.9,
)
