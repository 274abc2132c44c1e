"""FoR-Net, compact form on MobileNetV2, on CamVid at 480x360.

Run it with `focusseg train recipes/fornet_mobilenet_v2_camvid.py --data-root CamVid`. The
MobileNetV2 form and these settings are this library's. `recipes/logs` has the log of the run.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: 1.4.
Score: mIoU 75.1 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid.py")
recipe = base.replace(
    name="fornet_mobilenet_v2_camvid",
    network_config={
        "backbone": "mobilenet_v2",
        "output_stride": 32,
        "neck": "fpn",
        "filters": 96,
        "low_level_filters": 32,
        "decoder_filters": 64,
        "dilation_rates": (1, 1, 1, 4),
        **base.network_config,
    },
)
