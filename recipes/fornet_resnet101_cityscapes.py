"""FoR-Net on ResNet-101, as released by its authors, on Cityscapes.

Run it with `focusseg train recipes/fornet_resnet101_cityscapes.py --data-root cityscapes`. From the
authors: ResNet-101 at output stride 8, AdamW, crops of 768x768, random scales, crops and mirrored
images. Not told, and ours, after others who train such networks with AdamW: rate 2e-4, decay 0.05,
gradients clipped to norm 1, warm-up over 1000 steps, polynomial decay over 80,000 steps of 8 crops,
scales 0.5 to 2, no change of colours.

Published is 80.5 mIoU on val.

Paper: arXiv 2605.02764.
Data: Cityscapes train, 2975 images of 2048x1024, 19 classes.
Hardware: an accelerator that holds a training step of 8 images of 768x768.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 768x768.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "cityscapes.py")
recipe = base.replace(
    name="fornet_resnet101_cityscapes",
    network_config={"backbone": "resnet101"},
    augment={"steps": base.augment["steps"][:2]},  # crop and flip
    steps=80_000,
    learning_rate=2e-4,
    weight_decay=0.05,
    warmup_steps=1000,
    validate_every=10,
)
