"""SERNet-Former, compact form on MobileNet-EdgeTPU, long on crops of CamVid: third of four runs.

Run it with `focusseg train recipes/sernet_former_mobilenet_edgetpu_long_crops_camvid.py
--data-root CamVid` after sernet_former_mobilenet_edgetpu_frames_camvid.py, from whose best weights
it starts, at the rate of the first run: what was learned on few epochs is learned on. The mean
logits of FoR-Net's and SCRNet's presets teach it. In the run that is shipped, the start was that
run's preset, which had the name of this network's preset before.

Paper: arXiv 2401.15741.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one, on one of the cores.
Score: mIoU 76.0 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("sernet_former_mobilenet_edgetpu_crops_camvid.py"))
recipe = crops.replace(
    name="sernet_former_mobilenet_edgetpu_long_crops_camvid",
    pretrained="runs/sernet_former_mobilenet_edgetpu_frames_camvid/best",
    backbone_weights=None,
    teacher=["fornet_mobilenet_edgetpu_camvid", "scrnet_mobilenet_edgetpu_camvid"],
    epochs=45,
    validate_every=5,
)
