"""SERNet-Former on ResNet-101 on BDD100K, with settings of our own.

Run it with `focusseg train recipes/sernet_former_resnet101_bdd100k.py --data-root bdd100k`. The
paper did not train on BDD100K: this is the recipe for Cityscapes,
sernet_former_resnet101_cityscapes.py, with fewer epochs, because there are more images.

Paper: arXiv 2401.15741.
Data: BDD100K train, 7000 images of 1280x720, 19 classes.
Hardware: an accelerator that holds a training step of 8 images of 768x768.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 768x768.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

cityscapes = load_recipe(Path(__file__).with_name("sernet_former_resnet101_cityscapes.py"))
recipe = cityscapes.replace(name="sernet_former_resnet101_bdd100k", dataset="bdd100k", epochs=85)
