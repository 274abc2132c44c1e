"""SCRNet, compact form on MobileNetV2, on CamVid at 480x360.

Run it with `focusseg train recipes/scrnet_mobilenet_v2_camvid.py --data-root CamVid`. The
MobileNetV2 form and these settings are this library's: crops are a little taller, and the
contrastive loss sets in after an eighth of the run. `recipes/logs` has the log of the run.

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: 0.5.
Score: mIoU 73.3 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid.py")
crop, *others = base.augment["steps"]
recipe = base.replace(
    name="scrnet_mobilenet_v2_camvid",
    network="SCRNet",
    network_config={
        "backbone": "mobilenet_v2",
        "filters": 64,
        "context_filters": 128,
        "embedding_filters": 64,
        "contrast_warmup": 225,
        **base.network_config,
    },
    augment={"steps": [{**crop, "size": (256, 320)}, *others]},
)
