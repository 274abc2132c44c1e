"""SCRNet, compact form on MobileNet-EdgeTPU, long on crops of CamVid: fifth of six runs.

Run it with `focusseg train recipes/scrnet_mobilenet_edgetpu_long_crops_camvid.py --data-root
CamVid` after scrnet_mobilenet_edgetpu_taught_frames_camvid.py, from whose best weights it starts,
at half the rate of the first run. The mean logits of FoR-Net's and SERNet-Former's presets teach
it. In the run that is shipped, the start was that run's preset, which had this preset's name
before.

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: half of one, on one of the cores, which it shared.
Score: mIoU 77.0 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

taught = load_recipe(Path(__file__).with_name("scrnet_mobilenet_edgetpu_taught_crops_camvid.py"))
recipe = taught.replace(
    name="scrnet_mobilenet_edgetpu_long_crops_camvid",
    pretrained="runs/scrnet_mobilenet_edgetpu_taught_frames_camvid/best",
    teacher=["fornet_mobilenet_edgetpu_camvid", "sernet_former_mobilenet_edgetpu_camvid"],
    learning_rate=taught.learning_rate / 2,
    epochs=16,
    validate_every=4,
)
