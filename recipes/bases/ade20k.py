"""What the recipes for ADE20K share; each names its own network.

160,000 steps of 16 crops of 512x512, scales 0.5 to 2 of images that fit 2048x512, mirrored images,
colour changes, as the works on this benchmark train (SegNeXt, arXiv 2209.08575, for one).
"""

from keras_focusseg import data
from keras_focusseg.training import Recipe

recipe = Recipe(
    name="ade20k",
    network="FoRNet",
    dataset="ade20k",
    augment=data.Augment(
        (512, 512),
        brightness=0.125,
        contrast=0.5,
        saturation=0.5,
        hue=0.05,
        max_class_share=0.75,
        base_size=(512, 2048),
    ).to_config(),
    batch_size=16,
    steps=160_000,
    learning_rate=1e-4,
    weight_decay=0.02,
    warmup_steps=1500,
    validate_every=5,
    cache=None,  # the images come in many sizes, in all more than most machines hold
    backbone_weights="imagenet",
)
