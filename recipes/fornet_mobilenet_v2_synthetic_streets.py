"""FoR-Net, compact form on MobileNetV2, on drawn street scenes.

Run it with `focusseg train recipes/fornet_mobilenet_v2_synthetic_streets.py`. The MobileNetV2 form
and these settings are this library's. `recipes/logs` has the log of the run.

Paper: arXiv 2605.02764.
Data: 320 drawn scenes of 480x360 to learn from, 40 to validate, 11 classes; needs no files.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: 0.25.
Score: mIoU 75.2 on the validation scenes (single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "synthetic_streets.py")
recipe = base.replace(
    name="fornet_mobilenet_v2_synthetic_streets",
    network_config={
        "backbone": "mobilenet_v2",
        "output_stride": 32,
        "neck": "fpn",
        "filters": 96,
        "low_level_filters": 32,
        "decoder_filters": 64,
        "dilation_rates": (1, 1, 1, 4),
    },
)
