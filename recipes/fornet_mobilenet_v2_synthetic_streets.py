"""FoR-Net, compact form on MobileNetV2, on drawn street scenes; needs no files.

Run it with `focusseg train recipes/fornet_mobilenet_v2_synthetic_streets.py`. Paper: arXiv
2605.02764; the MobileNetV2 form and these settings are this library's.

Reached mIoU 75.2 on 40 validation scenes of 360x480 (single scale, no flip), in 15 minutes on 2 CPU
cores shared with other work (TensorFlow). `recipes/logs` has the log of that run.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="fornet_mobilenet_v2_synthetic_streets",
    network="FoRNet",
    network_config={
        "backbone": "mobilenet_v2",
        "output_stride": 32,
        "neck": "fpn",
        "filters": 96,
        "low_level_filters": 32,
        "decoder_filters": 64,
        "dilation_rates": (1, 1, 1, 4),
    },
    dataset="synthetic_streets",
    dataset_options={"size": (360, 480)},
    train_options={"count": 320},
    val_options={"count": 40},
    augment={
        "steps": [
            {"step": "ScaleCrop", "size": (192, 256), "scale": (0.5, 1.5), "max_class_share": None},
            {"step": "Flip", "probability": 0.5},
            {"step": "Rotate", "degrees": 3.0},
            {
                "step": "ColorJitter",
                "brightness": 0.2,
                "contrast": 0.2,
                "saturation": 0.2,
                "hue": 0.02,
            },
        ]
    },
    batch_size=8,
    epochs=12,
    learning_rate=1e-3,
    weight_decay=0.02,
    warmup_steps=50,
    ema=0.99,
    validate_every=3,
    seed=0,
    backbone_weights="imagenet",
)
