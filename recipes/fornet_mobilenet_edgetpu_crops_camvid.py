"""FoR-Net, compact form on MobileNet-EdgeTPU, on crops of CamVid at 480x360: first of six runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_crops_camvid.py --data-root CamVid
--backbone-weights mobilenet_edgetpu_slim_cityscapes.npz`, then
fornet_mobilenet_edgetpu_frames_camvid.py, which goes on from its weights with whole frames. The
form on MobileNet-EdgeTPU and these settings are this library's. The encoder starts from weights
learned on Cityscapes, so it learns at a quarter of the rate of the rest.

The run was stopped after 20 epochs, to have time for the second; its first seven followed a
schedule of 40 epochs. `recipes/logs` has its log.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: about two with the second run.
Score: mIoU 74.6 on val after 20 epochs (101 frames of 360x480, void ignored, single scale, no
    flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid.py")
recipe = base.replace(
    name="fornet_mobilenet_edgetpu_crops_camvid",
    network_config={
        "backbone": "mobilenet_edgetpu",
        "output_stride": 16,
        "neck": "fpn",
        "filters": 96,
        "low_level_filters": 32,
        "decoder_filters": 64,
        "dilation_rates": (1, 1, 1, 4),
        **base.network_config,
    },
    class_uniform=0.25,
    epochs=30,
    learning_rate=2.5e-4,
    head_learning_rate_factor=4.0,
    validate_every=4,
    backbone_weights="mobilenet_edgetpu_slim_cityscapes.npz",
)
