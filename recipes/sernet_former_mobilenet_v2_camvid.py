"""SERNet-Former, compact form on MobileNetV2, on CamVid train (367 frames, 480x360, 11 classes).

Run it with `focusseg train recipes/sernet_former_mobilenet_v2_camvid.py --data-root CamVid`. Paper:
arXiv 2401.15741; the MobileNetV2 form, with gates on its first convolution and on the last block
at each stride, and these settings are this library's. Dilations 3, 6, 9 stand in place of 12, 16,
18, because a crop is 15 x 20 cells. The class weights, larger for rarer classes, are those of
fornet_mobilenet_v2_camvid.py.

Reached mIoU 69.0 on val (101 frames of 360x480, void ignored, single scale, no flip), in 48 minutes
on 2 CPU cores shared with other work (TensorFlow). `recipes/logs` has the log of that run.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="sernet_former_mobilenet_v2_camvid",
    network="SERNetFormer",
    network_config={
        "backbone": "mobilenet_v2",
        "output_stride": 16,
        "bridge_filters": 128,
        "bridge_dilation_rates": (3, 6, 9),
        "skip_filters": 32,
        "decoder_filters": 96,
        # sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist
        "class_weights": (0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.88, 2.65, 3.92),
    },
    dataset="camvid",
    augment={
        "steps": [
            {"step": "ScaleCrop", "size": (240, 320), "scale": (0.5, 2.0), "max_class_share": 0.75},
            {"step": "Flip", "probability": 0.5},
            {"step": "Rotate", "degrees": 5.0},
            {
                "step": "ColorJitter",
                "brightness": 0.3,
                "contrast": 0.3,
                "saturation": 0.3,
                "hue": 0.03,
            },
        ]
    },
    batch_size=8,
    val_batch_size=1,
    epochs=40,
    learning_rate=8e-4,
    weight_decay=0.02,
    warmup_steps=90,
    ema=0.99,
    validate_every=2,
    seed=0,
    backbone_weights="imagenet",
)
