"""SERNet-Former on ResNet-50, on CamVid train at 960x720 (367 frames), with our own settings.

Run it with `focusseg train recipes/sernet_former_resnet50_camvid720.py --data-root CamVid`. Paper:
arXiv 2401.15741; the settings are this library's: AdamW with ten times the rate outside the
encoder, polynomial decay, scales 0.5 to 2, crops of 720x720, colour changes, averaged weights. The
official split; the figures published for this network are on others, see the author-like recipe.

Not run here: neither score nor hours are known. It asks for an accelerator.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="sernet_former_resnet50_camvid720",
    network="SERNetFormer",
    network_config={"backbone": "resnet50"},
    dataset="camvid720",
    dataset_options={"grouping": "mathworks"},
    augment={
        "steps": [
            {"step": "ScaleCrop", "size": (720, 720), "scale": (0.5, 2.0), "max_class_share": 0.75},
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
    epochs=200,
    learning_rate=1e-4,
    head_learning_rate_factor=10.0,
    weight_decay=0.02,
    warmup_steps=450,
    ema=0.999,
    validate_every=5,
    seed=0,
    backbone_weights="imagenet",
)
