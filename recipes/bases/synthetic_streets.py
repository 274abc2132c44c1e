"""What the recipes for drawn street scenes share; each names its own network."""

from keras_focusseg import data
from keras_focusseg.training import Recipe

recipe = Recipe(
    name="synthetic_streets",
    network="FoRNet",
    dataset="synthetic_streets",
    dataset_options={"size": (360, 480)},
    train_options={"count": 320},
    val_options={"count": 40},
    augment=data.Augment((192, 256), scale=(0.5, 1.5), rotate=3.0).to_config(),
    batch_size=8,
    epochs=12,
    learning_rate=1e-3,
    weight_decay=0.02,
    warmup_steps=50,
    ema=0.99,
    validate_every=3,
    backbone_weights="imagenet",
)
