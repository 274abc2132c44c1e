"""SCRNet on MSCAN-S, on Cityscapes train (2975 images, 2048x1024, 19 classes).

Run it with `focusseg train recipes/scrnet_mscan_s_cityscapes.py --data-root cityscapes`. Paper:
arXiv 2412.08671, whose settings did not reach us: these are the ones that SegNeXt (arXiv
2209.08575) published for the same encoder. They are AdamW, 160,000 steps of 8 crops (4 on each of 2
GPUs), ten times the rate outside the encoder, warm-up over 1500 steps, scales 0.5 to 2, flips,
crops in which one class fills at most 75 %. Ours: the contrastive loss from step 5000 on, strengths
of the colour changes, no decay of biases.

The encoder starts from SegNeXt's ImageNet weights, looked for in the folder that you start from:
https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segnext/mscan_s_20230227-f33ccdf2.pth
(`--backbone-weights` takes another path, or `none`).

Not run here: neither score nor hours are known. It asks for an accelerator that holds a training
step of 8 images of 1024x1024.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="scrnet_mscan_s_cityscapes",
    network="SCRNet",
    network_config={"backbone": "mscan_s", "contrast_warmup": 5000},
    dataset="cityscapes",
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
    validate_every=12,
    cache=None,  # both splits would take 29 GB
    seed=0,
    backbone_weights="mscan_s_20230227-f33ccdf2.pth",
)
