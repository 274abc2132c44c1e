"""FoR-Net with fewer than a million parameters, taught on frames of CamVid: third of five runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_small_taught_frames_camvid.py
--data-root CamVid` after fornet_mobilenet_edgetpu_small_frames_camvid.py, from whose best weights
it starts, at twice that run's rate. The preset of the whole FoR-Net teaches it where on the image
the logits of each class are high. With the classes shifted on training frames, as the preset had
them that this run made, its score is 76.5.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: three quarters of one, in processor time.
Score: mIoU 76.3 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

frames = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_small_frames_camvid.py"))
recipe = frames.replace(
    name="fornet_mobilenet_edgetpu_small_taught_frames_camvid",
    pretrained=f"runs/{frames.name}/best",
    teacher="fornet_mobilenet_edgetpu_camvid",
    precision="mixed_bfloat16",
    learning_rate=2e-4,
    epochs=18,
)
