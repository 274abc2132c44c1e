"""What the recipes for CamVid at 480x360 share; each names its own network.

Class weights are the square roots of the median-frequency weights of the training split.
"""

from keras_focusseg import data
from keras_focusseg.training import Recipe

recipe = Recipe(
    name="camvid",
    network="FoRNet",
    network_config={
        # sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist
        "class_weights": (0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.88, 2.65, 3.92),
    },
    dataset="camvid",
    augment=data.Augment(
        (240, 320),
        rotate=5.0,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.03,
        max_class_share=0.75,
    ).to_config(),
    batch_size=8,
    epochs=40,
    learning_rate=8e-4,
    weight_decay=0.02,
    warmup_steps=90,
    ema=0.99,
    validate_every=2,
    backbone_weights="imagenet",
)
