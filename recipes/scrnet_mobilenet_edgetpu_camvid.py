"""SCRNet, compact form on MobileNet-EdgeTPU, on whole frames of CamVid: second of two runs.

Run it with `focusseg train recipes/scrnet_mobilenet_edgetpu_camvid.py --data-root CamVid` after
scrnet_mobilenet_edgetpu_crops_camvid.py, from whose best weights it starts, at a lower rate.
Augmentation and rates are those of fornet_mobilenet_edgetpu_camvid.py.

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: a CPU is enough.
Hours: not measured.
Score: not run: needs the weights of the first run.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("scrnet_mobilenet_edgetpu_crops_camvid.py"))
fornet = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_camvid.py"))
recipe = fornet.replace(
    name="scrnet_mobilenet_edgetpu_camvid",
    network=crops.network,
    network_config=crops.network_config,
    pretrained=f"runs/{crops.name}/best",
    epochs=5,
)
