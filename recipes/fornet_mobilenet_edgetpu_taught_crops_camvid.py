"""FoR-Net, compact form on MobileNet-EdgeTPU, taught on crops of CamVid: third of six runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_taught_crops_camvid.py --data-root
CamVid` after fornet_mobilenet_edgetpu_frames_camvid.py, from whose best weights it starts, at the
rate of the first run: what was learned on few epochs is learned on. The mean of three networks'
logits teaches it, its own start among them: where on the image those of each class are high is
learned beside the masks. In the run that is shipped, start and first teacher were that run's
preset, which had this preset's name before, and the other two were as the package had them then.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one and three quarters, on one of the cores.
Score: mIoU 78.0 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_crops_camvid.py"))
recipe = crops.replace(
    name="fornet_mobilenet_edgetpu_taught_crops_camvid",
    pretrained="runs/fornet_mobilenet_edgetpu_frames_camvid/best",
    backbone_weights=None,
    teacher=[
        "fornet_mobilenet_edgetpu_camvid",
        "scrnet_mobilenet_edgetpu_camvid",
        "sernet_former_mobilenet_edgetpu_camvid",
    ],
    precision="mixed_bfloat16",
    epochs=45,
    validate_every=5,
)
