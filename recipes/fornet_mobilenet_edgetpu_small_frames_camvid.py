"""FoR-Net with fewer than a million parameters, on whole frames of CamVid: second of five runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_small_frames_camvid.py --data-root
CamVid` after fornet_mobilenet_edgetpu_small_crops_camvid.py, from whose best weights it starts, at
a lower rate. Augmentation and rates are those of fornet_mobilenet_edgetpu_frames_camvid.py. With
the classes shifted on training frames, as the preset had them that this run made, its score is
74.8.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one with the first run.
Score: mIoU 74.0 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_small_crops_camvid.py"))
whole = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_frames_camvid.py"))
recipe = whole.replace(
    name="fornet_mobilenet_edgetpu_small_frames_camvid",
    network_config=crops.network_config,
    pretrained=f"runs/{crops.name}/best",
    epochs=6,
)
