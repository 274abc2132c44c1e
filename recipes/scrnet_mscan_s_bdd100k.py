"""SCRNet on MSCAN-S, on BDD100K train (7000 images, 1280x720, 19 classes).

Run it with `focusseg train recipes/scrnet_mscan_s_bdd100k.py --data-root bdd100k`. Paper: arXiv
2412.08671, whose settings did not reach us. These are the recipe for Cityscapes, unchanged, as
SFNet (arXiv 2002.10120) trained on BDD100K by its settings for Cityscapes; see
`scrnet_mscan_s_cityscapes.py` for where each comes from. A crop of 1024x1024 is taller than an
image at scale 1: what lies outside is ignored.

The encoder starts from SegNeXt's ImageNet weights, looked for in the folder that you start from:
https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segnext/mscan_s_20230227-f33ccdf2.pth
(`--backbone-weights` takes another path, or `none`).

Not run here: neither score nor hours are known. It asks for an accelerator that holds a training
step of 8 images of 1024x1024.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="scrnet_mscan_s_bdd100k",
    network="SCRNet",
    network_config={"backbone": "mscan_s", "contrast_warmup": 5000},
    dataset="bdd100k",
    augment={
        "steps": [
            {
                "step": "ScaleCrop",
                "size": (1024, 1024),
                "scale": (0.5, 2.0),
                "max_class_share": 0.75,
            },
            {"step": "Flip", "probability": 0.5},
            {
                "step": "ColorJitter",
                "brightness": 0.125,
                "contrast": 0.5,
                "saturation": 0.5,
                "hue": 0.05,
            },
        ]
    },
    batch_size=8,
    val_batch_size=1,
    steps=160_000,
    optimizer="adamw",
    learning_rate=6e-5,
    head_learning_rate_factor=10.0,
    weight_decay=0.01,
    clip_norm=0.0,
    schedule="poly",
    warmup_steps=1500,
    warmup_start=1e-6,
    power=1.0,
    ema=0.0,
    validate_every=5,
    cache=None,  # both splits would take 29 GB
    seed=0,
    backbone_weights="mscan_s_20230227-f33ccdf2.pth",
)
