"""SCRNet, compact form on MobileNet-EdgeTPU, on whole frames of CamVid train: second of two runs.

Run it with `focusseg train recipes/scrnet_mobilenet_edgetpu_camvid.py --data-root CamVid` after
scrnet_mobilenet_edgetpu_crops_camvid.py, from whose best weights it starts. Paper: arXiv
2412.08671. Data, augmentation and rates are those of fornet_mobilenet_edgetpu_camvid.py, with five
epochs. No run of it is recorded.
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
