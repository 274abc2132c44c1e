"""FoR-Net, compact form on MobileNet-EdgeTPU, on CamVid's train and val: first of three runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_trainval_frames_camvid.py --data-root
CamVid` after fornet_mobilenet_edgetpu_taught_frames_camvid.py, which learned train alone. It goes
on from those weights by the settings of that run, with the frames of val beside those of train, as
published figures on CamVid's test split mostly do. What it scores on val says nothing, since it
learned those frames, so the weights that are kept are those after the last epoch.

Paper: arXiv 2605.02764.
Data: CamVid train and val, 468 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one and a half, on one of the cores.
Score: none: it learned the frames of val too.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

taught = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_taught_frames_camvid.py"))
recipe = taught.replace(
    name="fornet_mobilenet_edgetpu_trainval_frames_camvid",
    train_split="train+val",
    pretrained=f"runs/{taught.name}/best",
    epochs=14,
    learning_rate=2e-4,
    validate_every=14,
)
