"""SERNet-Former on ResNet-50, on CamVid train at 960x720 (367 frames), as far as its author told.

Run it with `focusseg train recipes/sernet_former_resnet50_author_like_camvid720.py --data-root
CamVid`. Paper: arXiv 2401.15741. From the author's configuration files: whole images, batch 3, 80
epochs, SGD with momentum 0.9 at 1e-3, ImageNet's normalisation, cross-entropy. Not told, and taken
from MathWorks' CamVid example, whose classes and partition his metrics file has: the rate times 0.3
every 10 epochs, an L2 penalty of 5e-3, mirrored images, moves by up to 10 pixels.

Published are 84.62 mIoU on a list of 231 frames of a random partition, 80.38 on another such list,
and 82.88 in an ablation whose frames are not named; none is on the official test split that this
recipe keeps apart. `train_split="author_random_train"` and `val_split="author_random_test"` repeat
the partition of the 80.38.

Not run here: neither score nor hours are known. It asks for an accelerator.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="sernet_former_resnet50_author_like_camvid720",
    network="SERNetFormer",
    network_config={"backbone": "resnet50"},
    dataset="camvid720",
    dataset_options={"grouping": "mathworks"},
    augment={
        "steps": [
            {"step": "Translate", "pixels": 10},
            {"step": "Flip", "probability": 0.5},
        ]
    },
    batch_size=3,
    val_batch_size=1,
    epochs=80,
    optimizer="sgd",
    momentum=0.9,
    learning_rate=1e-3,
    weight_decay=5e-3,
    clip_norm=0.0,
    schedule="step",
    step_epochs=10,
    step_factor=0.3,
    ema=0.0,
    freeze_backbone_norm=True,  # ours: three images are few for batch statistics
    seed=0,
    backbone_weights="imagenet",
)
