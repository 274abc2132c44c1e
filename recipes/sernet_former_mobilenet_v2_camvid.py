"""SERNet-Former, compact form on MobileNetV2, on CamVid at 480x360.

Run it with `focusseg train recipes/sernet_former_mobilenet_v2_camvid.py --data-root CamVid`. The
MobileNetV2 form, with gates on its first convolution and on the last block at each stride, and
these settings are this library's. Dilations 3, 6, 9 stand in place of 12, 16, 18, because a crop is
15 x 20 cells. `recipes/logs` has the log of the run.

Paper: arXiv 2401.15741.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: 0.8.
Score: mIoU 69.0 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid.py")
recipe = base.replace(
    name="sernet_former_mobilenet_v2_camvid",
    network="SERNetFormer",
    network_config={
        "backbone": "mobilenet_v2",
        "output_stride": 16,
        "bridge_filters": 128,
        "bridge_dilation_rates": (3, 6, 9),
        "skip_filters": 32,
        "decoder_filters": 96,
        **base.network_config,
    },
)
