"""What the recipes for CamVid at 960x720 share; each names its own network.

AdamW with ten times the rate outside the encoder, polynomial decay, scales 0.5 to 2, crops of
720x720, colour changes, averaged weights, the official split: settings of this library.
"""

from keras_focusseg import data
from keras_focusseg.training import Recipe

recipe = Recipe(
    name="camvid720",
    network="FoRNet",
    dataset="camvid720",
    dataset_options={"grouping": "mathworks"},
    augment=data.Augment(
        (720, 720),
        rotate=5.0,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.03,
        max_class_share=0.75,
    ).to_config(),
    batch_size=8,
    epochs=200,
    learning_rate=1e-4,
    head_learning_rate_factor=10.0,
    weight_decay=0.02,
    warmup_steps=450,
    validate_every=5,
    backbone_weights="imagenet",
)
