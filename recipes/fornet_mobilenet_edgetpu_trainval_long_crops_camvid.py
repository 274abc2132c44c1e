"""FoR-Net, compact form on MobileNet-EdgeTPU, long on crops of CamVid's train and val.

Second of three runs. Run it with `focusseg train
recipes/fornet_mobilenet_edgetpu_trainval_long_crops_camvid.py --data-root CamVid` after
fornet_mobilenet_edgetpu_trainval_frames_camvid.py, from whose weights it starts, at the rate of the
first run of all. Three presets that learned train alone teach it, so on the frames of val their
guesses are honest. In the run that is shipped, the start was the first run's preset, which had the
name of this network's preset before.

Paper: arXiv 2605.02764.
Data: CamVid train and val, 468 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one, on one of the cores.
Score: none: it learned the frames of val too.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

taught = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_taught_crops_camvid.py"))
recipe = taught.replace(
    name="fornet_mobilenet_edgetpu_trainval_long_crops_camvid",
    train_split="train+val",
    pretrained="runs/fornet_mobilenet_edgetpu_trainval_frames_camvid/best",
    epochs=30,
    validate_every=30,
)
