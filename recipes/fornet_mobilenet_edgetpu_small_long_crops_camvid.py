"""FoR-Net with fewer than a million parameters, long on crops of CamVid: fourth of five runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_small_long_crops_camvid.py --data-root
CamVid` after fornet_mobilenet_edgetpu_small_taught_frames_camvid.py, from whose best weights it
starts, at half the rate of the first run. The mean logits of the presets of the whole FoR-Net and
of SCRNet teach it. In the run that is shipped, the start was that run's preset, which had this
preset's name before.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one, on one of the cores, which it shared.
Score: mIoU 76.8 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_small_crops_camvid.py"))
recipe = crops.replace(
    name="fornet_mobilenet_edgetpu_small_long_crops_camvid",
    pretrained="runs/fornet_mobilenet_edgetpu_small_taught_frames_camvid/best",
    backbone_weights=None,
    teacher=["fornet_mobilenet_edgetpu_camvid", "scrnet_mobilenet_edgetpu_camvid"],
    precision="mixed_bfloat16",
    learning_rate=crops.learning_rate / 2,
    epochs=48,
    validate_every=6,
)
