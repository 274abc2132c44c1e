"""FoR-Net on ResNet-101, as released by its authors, on ADE20K.

Run it with `focusseg train recipes/fornet_resnet101_ade20k.py --data-root ADEChallengeData2016`.
The paper did not train on ADE20K; the settings are this library's.

Paper: arXiv 2605.02764.
Data: ADE20K's scene parsing benchmark, 20210 images of many sizes, 150 classes.
Hardware: an accelerator that holds a training step of 16 images of 512x512 with 150 classes.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 16 images of 512x512 with 150
    classes.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "ade20k.py")
recipe = base.replace(
    name="fornet_resnet101_ade20k",
    network_config={"backbone": "resnet101"},
)
