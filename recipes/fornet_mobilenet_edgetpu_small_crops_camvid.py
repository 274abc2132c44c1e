"""FoR-Net with fewer than a million parameters, on crops of CamVid at 480x360: first of five runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_small_crops_camvid.py --data-root
CamVid --backbone-weights mobilenet_edgetpu_slim_cityscapes.npz`, then
fornet_mobilenet_edgetpu_small_frames_camvid.py, which goes on from its weights with whole frames.
The form is this library's. The encoder is MobileNet-EdgeTPU without its last six blocks but for the
first one's expansion, and starts from the same file as the whole one. The four branches cost 84
weights for each pair of channels, so 40 channels are what the rest of the million pays for: 989,162
parameters with the moving statistics. Augmentation and rates are those of
fornet_mobilenet_edgetpu_crops_camvid.py.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one with the second run.
Score: mIoU 70.9 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

whole = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_crops_camvid.py"))
recipe = whole.replace(
    name="fornet_mobilenet_edgetpu_small_crops_camvid",
    network_config={
        **whole.network_config,
        "backbone": "mobilenet_edgetpu_small",
        "filters": 40,
        "low_level_filters": 24,
        "decoder_filters": 64,
    },
    epochs=20,
)
