"""FoR-Net with fewer than a million parameters, on whole frames of CamVid train: second run.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_small_camvid.py --data-root CamVid`
after fornet_mobilenet_edgetpu_small_crops_camvid.py, from whose best weights it starts. Frames and
rates are those of fornet_mobilenet_edgetpu_camvid.py. No run of it is recorded.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_small_crops_camvid.py"))
whole = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_camvid.py"))
recipe = whole.replace(
    name="fornet_mobilenet_edgetpu_small_camvid",
    network_config=crops.network_config,
    pretrained=f"runs/{crops.name}/best",
    epochs=6,
)
