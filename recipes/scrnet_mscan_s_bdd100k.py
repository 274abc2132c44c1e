"""SCRNet on MSCAN-S on BDD100K.

Run it with `focusseg train recipes/scrnet_mscan_s_bdd100k.py --data-root bdd100k`. The paper's
settings did not reach us. These are the recipe for Cityscapes, as SFNet (arXiv 2002.10120) trained
on BDD100K by its settings for Cityscapes; see scrnet_mscan_s_cityscapes.py for where each comes
from, and the encoder's weights. A crop of 1024x1024 is taller than an image at scale 1: what lies
outside is ignored.

Paper: arXiv 2412.08671.
Data: BDD100K train, 7000 images of 1280x720, 19 classes.
Hardware: an accelerator that holds a training step of 8 images of 1024x1024.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 1024x1024, and the
    weights named there.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

cityscapes = load_recipe(Path(__file__).with_name("scrnet_mscan_s_cityscapes.py"))
recipe = cityscapes.replace(name="scrnet_mscan_s_bdd100k", dataset="bdd100k", validate_every=5)
