"""SCRNet, compact form on MobileNet-EdgeTPU, taught on frames of CamVid: fourth of six runs.

Run it with `focusseg train recipes/scrnet_mobilenet_edgetpu_taught_frames_camvid.py --data-root
CamVid` after scrnet_mobilenet_edgetpu_taught_crops_camvid.py, from whose best weights it starts,
with the same teacher. Augmentation and rates are those of
fornet_mobilenet_edgetpu_frames_camvid.py. With the classes shifted on training frames, as the
preset had them that this run made, its score is 78.2.

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: half of one, on one of the cores.
Score: mIoU 77.3 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

frames = load_recipe(Path(__file__).with_name("scrnet_mobilenet_edgetpu_frames_camvid.py"))
taught = load_recipe(Path(__file__).with_name("scrnet_mobilenet_edgetpu_taught_crops_camvid.py"))
recipe = frames.replace(
    name="scrnet_mobilenet_edgetpu_taught_frames_camvid",
    pretrained=f"runs/{taught.name}/best",
    teacher=taught.teacher,
    precision=taught.precision,
    epochs=8,
)
