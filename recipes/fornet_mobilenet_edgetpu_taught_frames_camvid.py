"""FoR-Net, compact form on MobileNet-EdgeTPU, taught on frames of CamVid: fourth of six runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_taught_frames_camvid.py --data-root
CamVid` after fornet_mobilenet_edgetpu_taught_crops_camvid.py, from whose best weights it starts,
with the same teachers. Augmentation and rates are those of
fornet_mobilenet_edgetpu_frames_camvid.py. With the classes shifted on training frames, as the
preset had them that this run made, its score is 79.0.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: two thirds of one, on one of the cores.
Score: mIoU 78.3 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

frames = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_frames_camvid.py"))
taught = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_taught_crops_camvid.py"))
recipe = frames.replace(
    name="fornet_mobilenet_edgetpu_taught_frames_camvid",
    pretrained=f"runs/{taught.name}/best",
    teacher=taught.teacher,
    precision=taught.precision,
    epochs=8,
)
