"""SERNet-Former on ResNet-101 on Cityscapes, with settings of our own.

Run it with `focusseg train recipes/sernet_former_resnet101_cityscapes.py --data-root cityscapes`.
The encoder learns at a tenth of the rate of the rest. Published are 87.35 mIoU on val and 84.83 on
test, without a training recipe that reached us.

Paper: arXiv 2401.15741.
Data: Cityscapes train, 2975 images of 2048x1024, 19 classes.
Hardware: an accelerator that holds a training step of 8 images of 768x768.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 768x768.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "cityscapes.py")
recipe = base.replace(
    name="sernet_former_resnet101_cityscapes",
    network="SERNetFormer",
    network_config={"backbone": "resnet101"},
    epochs=200,
    head_learning_rate_factor=10.0,
)
