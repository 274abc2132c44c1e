"""SCRNet, compact form on MobileNet-EdgeTPU, taught on crops of CamVid: third of six runs.

Run it with `focusseg train recipes/scrnet_mobilenet_edgetpu_taught_crops_camvid.py --data-root
CamVid` after scrnet_mobilenet_edgetpu_frames_camvid.py, from whose best weights it starts, at the
rate of the first run: what was learned on few epochs is learned on. The preset of FoR-Net teaches
it where on the image the logits of each class are high.

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one and a third, on one of the cores.
Score: mIoU 76.5 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("scrnet_mobilenet_edgetpu_crops_camvid.py"))
recipe = crops.replace(
    name="scrnet_mobilenet_edgetpu_taught_crops_camvid",
    pretrained="runs/scrnet_mobilenet_edgetpu_frames_camvid/best",
    backbone_weights=None,
    teacher="fornet_mobilenet_edgetpu_camvid",
    precision="mixed_bfloat16",
    epochs=60,
    validate_every=5,
)
