"""FoR-Net on ResNet-101, as released by its authors, on BDD100K.

Run it with `focusseg train recipes/fornet_resnet101_bdd100k.py --data-root bdd100k`. The paper
trained on Cityscapes alone: this is the recipe for that, fornet_resnet101_cityscapes.py, unchanged.
A crop of 768x768 is taller than an image at scale 1: what lies outside is ignored.

Paper: arXiv 2605.02764.
Data: BDD100K train, 7000 images of 1280x720, 19 classes.
Hardware: an accelerator that holds a training step of 8 images of 768x768.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 768x768.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

cityscapes = load_recipe(Path(__file__).with_name("fornet_resnet101_cityscapes.py"))
recipe = cityscapes.replace(name="fornet_resnet101_bdd100k", dataset="bdd100k", validate_every=5)
