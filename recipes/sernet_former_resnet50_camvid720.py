"""SERNet-Former on ResNet-50 on CamVid at 960x720, with our own settings.

Run it with `focusseg train recipes/sernet_former_resnet50_camvid720.py --data-root CamVid`. The
figures published for this network are on other splits than the official one, see
sernet_former_resnet50_author_like_camvid720.py.

Paper: arXiv 2401.15741.
Data: CamVid train, 367 frames of 960x720, the 11 classes of MathWorks' grouping, official split.
Hardware: an accelerator that holds a training step of 8 images of 720x720.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 720x720.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid720.py")
recipe = base.replace(
    name="sernet_former_resnet50_camvid720",
    network="SERNetFormer",
    network_config={"backbone": "resnet50"},
)
