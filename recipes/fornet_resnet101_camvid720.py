"""FoR-Net on ResNet-101, as released by its authors, on CamVid at 960x720.

Run it with `focusseg train recipes/fornet_resnet101_camvid720.py --data-root CamVid`. The paper
trained on Cityscapes alone; the settings are this library's.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 960x720, the 11 classes of MathWorks' grouping, official split.
Hardware: an accelerator that holds a training step of 8 images of 720x720.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 720x720.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid720.py")
recipe = base.replace(
    name="fornet_resnet101_camvid720",
    network_config={"backbone": "resnet101"},
)
