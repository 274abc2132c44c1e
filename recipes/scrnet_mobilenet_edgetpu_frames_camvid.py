"""SCRNet, compact form on MobileNet-EdgeTPU, on whole frames of CamVid: second of six runs.

Run it with `focusseg train recipes/scrnet_mobilenet_edgetpu_frames_camvid.py --data-root CamVid`
after scrnet_mobilenet_edgetpu_crops_camvid.py, from whose best weights it starts, at a lower rate.
Augmentation and rates are those of fornet_mobilenet_edgetpu_frames_camvid.py. With the classes
shifted on training frames, as the preset had them that this run made, its score is 76.8.

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: two with the first run.
Score: mIoU 74.6 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("scrnet_mobilenet_edgetpu_crops_camvid.py"))
fornet = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_frames_camvid.py"))
recipe = fornet.replace(
    name="scrnet_mobilenet_edgetpu_frames_camvid",
    network=crops.network,
    network_config=crops.network_config,
    pretrained=f"runs/{crops.name}/best",
    epochs=5,
)
