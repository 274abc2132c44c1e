"""What the recipes for Cityscapes share; each names its own network.

AdamW with polynomial decay, scales 0.5 to 2, crops of 768x768, mirrored images, averaged weights:
settings of this library.
"""

from keras_focusseg import data
from keras_focusseg.training import Recipe

recipe = Recipe(
    name="cityscapes",
    network="FoRNet",
    dataset="cityscapes",
    augment=data.Augment(
        (768, 768), brightness=0.25, contrast=0.25, saturation=0.25, max_class_share=0.75
    ).to_config(),
    batch_size=8,
    learning_rate=1e-4,
    weight_decay=0.02,
    warmup_steps=1500,
    validate_every=5,
    cache=None,  # both splits would take 29 GB
    backbone_weights="imagenet",
)
