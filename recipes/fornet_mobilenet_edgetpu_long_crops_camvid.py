"""FoR-Net, compact form on MobileNet-EdgeTPU, long on crops of CamVid: fifth of six runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_long_crops_camvid.py --data-root
CamVid` after fornet_mobilenet_edgetpu_taught_frames_camvid.py, from whose best weights it starts,
at half the rate of the first run. The same three networks teach it, its own start among them. In
the run that is shipped, start and first teacher were that run's preset, which had this preset's
name before.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: half of one, on one of the cores.
Score: mIoU 78.4 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

taught = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_taught_crops_camvid.py"))
recipe = taught.replace(
    name="fornet_mobilenet_edgetpu_long_crops_camvid",
    pretrained="runs/fornet_mobilenet_edgetpu_taught_frames_camvid/best",
    learning_rate=taught.learning_rate / 2,
    epochs=20,
)
