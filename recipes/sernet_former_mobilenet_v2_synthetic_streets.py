"""SERNet-Former, compact form on MobileNetV2, on drawn street scenes.

Run it with `focusseg train recipes/sernet_former_mobilenet_v2_synthetic_streets.py`. The network is
that of sernet_former_mobilenet_v2_camvid.py.

Paper: arXiv 2401.15741.
Data: 320 drawn scenes of 480x360 to learn from, 40 to validate, 11 classes; needs no files.
Hardware: any machine; a CPU will do.
Hours: not measured.
Score: not run: needs nothing but time.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "synthetic_streets.py")
recipe = base.replace(
    name="sernet_former_mobilenet_v2_synthetic_streets",
    network="SERNetFormer",
    network_config={
        "backbone": "mobilenet_v2",
        "output_stride": 16,
        "bridge_filters": 128,
        "bridge_dilation_rates": (3, 6, 9),
        "skip_filters": 32,
        "decoder_filters": 96,
    },
)
