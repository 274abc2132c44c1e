"""FoR-Net, compact form on MobileNet-EdgeTPU, on whole frames of CamVid's train and val.

Last of three runs. Run it with `focusseg train
recipes/fornet_mobilenet_edgetpu_trainval_camvid.py --data-root CamVid` after
fornet_mobilenet_edgetpu_trainval_long_crops_camvid.py, from whose weights it starts, with the same
teachers.

Paper: arXiv 2605.02764.
Data: CamVid train and val, 468 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one, on one of the cores.
Score: none: it learned the frames of val too.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

taught = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_taught_frames_camvid.py"))
crops = load_recipe(
    Path(__file__).with_name("fornet_mobilenet_edgetpu_trainval_long_crops_camvid.py")
)
recipe = taught.replace(
    name="fornet_mobilenet_edgetpu_trainval_camvid",
    train_split="train+val",
    pretrained=f"runs/{crops.name}/best",
    epochs=10,
    validate_every=10,
)
