"""SERNet-Former on ResNet-101, on Cityscapes train (2975 images, 19 classes), settings of our own.

Run it with `focusseg train recipes/sernet_former_resnet101_cityscapes.py --data-root cityscapes`.
Paper: arXiv 2401.15741; the settings are this library's: AdamW with ten times the rate outside the
encoder, polynomial decay, scales 0.5 to 2, crops of 768x768, colour changes, averaged weights.
Published are 87.35 mIoU on val and 84.83 on test, without a training recipe that reached us.

Not run here: neither score nor hours are known. It asks for accelerators that hold a training step
of 8 images of 768x768.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="sernet_former_resnet101_cityscapes",
    network="SERNetFormer",
    network_config={"backbone": "resnet101"},
    dataset="cityscapes",
    augment={
        "steps": [
            {"step": "ScaleCrop", "size": (768, 768), "scale": (0.5, 2.0), "max_class_share": 0.75},
            {"step": "Flip", "probability": 0.5},
            {
                "step": "ColorJitter",
                "brightness": 0.25,
                "contrast": 0.25,
                "saturation": 0.25,
                "hue": 0.02,
            },
        ]
    },
    batch_size=8,
    val_batch_size=1,
    epochs=200,
    learning_rate=1e-4,
    head_learning_rate_factor=10.0,
    weight_decay=0.02,
    warmup_steps=1500,
    ema=0.999,
    validate_every=5,
    cache=None,  # both splits would take 29 GB
    seed=0,
    backbone_weights="imagenet",
)
