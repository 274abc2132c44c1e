"""SERNet-Former on ResNet-50, on Cityscapes train (2975 images), as far as its author told.

Run it with `focusseg train recipes/sernet_former_resnet50_author_like_cityscapes.py --data-root
DIR`. Paper: arXiv 2401.15741. From the author's configuration files: whole images of 1024x2048,
batch 1, 80 epochs, SGD with momentum 0.9 at 5e-4, ImageNet's normalisation, cross-entropy; no
coarse labels. Not told, and ours after MathWorks' example: the rate times 0.3 every 10 epochs, an
L2 penalty of 5e-3, mirrored images, moves by up to 10 pixels.

Published are 87.35 mIoU on val and 84.83 on test; a table of the author's gives 73.31 for a network
on ResNet-50 without naming the split.

Not run here: neither score nor hours are known. It asks for an accelerator that holds a training
step of one image of 1024x2048.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="sernet_former_resnet50_author_like_cityscapes",
    network="SERNetFormer",
    network_config={"backbone": "resnet50"},
    dataset="cityscapes",
    augment={
        "steps": [
            {"step": "Translate", "pixels": 10},
            {"step": "Flip", "probability": 0.5},
        ]
    },
    batch_size=1,
    val_batch_size=1,
    epochs=80,
    optimizer="sgd",
    momentum=0.9,
    learning_rate=5e-4,
    weight_decay=5e-3,
    clip_norm=0.0,
    schedule="step",
    step_epochs=10,
    step_factor=0.3,
    ema=0.0,
    freeze_backbone_norm=True,  # ours: one image is too few for batch statistics
    validate_every=4,
    cache=None,  # both splits would take 29 GB
    seed=0,
    backbone_weights="imagenet",
)
