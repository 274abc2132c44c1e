"""SERNet-Former on ResNet-50 on CamVid at 960x720, as far as its author told.

Run it with `focusseg train recipes/sernet_former_resnet50_author_like_camvid720.py --data-root
CamVid`. From the author's configuration files: whole images, batch 3, 80 epochs, SGD with momentum
0.9 at 1e-3, ImageNet's normalisation, cross-entropy. Not told, and taken from MathWorks' CamVid
example, whose classes and partition his metrics file has: the rate times 0.3 every 10 epochs, an L2
penalty of 5e-3, mirrored images, moves by up to 10 pixels.

Published are 84.62 mIoU on a list of 231 frames of a random partition, 80.38 on another such list,
and 82.88 in an ablation whose frames are not named; none is on the official test split that this
recipe keeps apart. `train_split="author_random_train"` and `val_split="author_random_test"` repeat
the partition of the 80.38.

Paper: arXiv 2401.15741.
Data: CamVid train, 367 frames of 960x720, the 11 classes of MathWorks' grouping, official split.
Hardware: an accelerator that holds a training step of 3 images of 720x960.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 3 images of 720x960.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid720.py")
recipe = base.replace(
    name="sernet_former_resnet50_author_like_camvid720",
    network="SERNetFormer",
    network_config={"backbone": "resnet50"},
    augment={"steps": [{"step": "Translate", "pixels": 10}, {"step": "Flip"}]},
    batch_size=3,
    epochs=80,
    optimizer="sgd",
    momentum=0.9,
    learning_rate=1e-3,
    head_learning_rate_factor=1.0,
    weight_decay=5e-3,
    clip_norm=0.0,
    schedule="step",
    warmup_steps=0,
    step_epochs=10,
    step_factor=0.3,
    ema=0.0,
    validate_every=1,
    freeze_backbone_norm=True,  # ours: three images are few for batch statistics
)
