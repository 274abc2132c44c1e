"""SCRNet, compact form on MobileNetV2, on drawn street scenes.

Run it with `focusseg train recipes/scrnet_mobilenet_v2_synthetic_streets.py`. The network is that
of scrnet_mobilenet_v2_camvid.py; the contrastive loss sets in after an eighth of the run.

Paper: arXiv 2412.08671.
Data: 320 drawn scenes of 480x360 to learn from, 40 to validate, 11 classes; needs no files.
Hardware: any machine; a CPU will do.
Hours: not measured.
Score: not run: needs nothing but time.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "synthetic_streets.py")
recipe = base.replace(
    name="scrnet_mobilenet_v2_synthetic_streets",
    network="SCRNet",
    network_config={
        "backbone": "mobilenet_v2",
        "filters": 64,
        "context_filters": 128,
        "embedding_filters": 64,
        "contrast_warmup": 60,
    },
)
