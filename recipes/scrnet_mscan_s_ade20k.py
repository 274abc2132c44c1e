"""SCRNet on MSCAN-S, on ADE20K's scene parsing benchmark (20210 images of many sizes, 150 classes).

Run it with `focusseg train recipes/scrnet_mscan_s_ade20k.py --data-root ADEChallengeData2016`.
Paper: arXiv 2412.08671, whose settings did not reach us: these are the ones that SegNeXt (arXiv
2209.08575) published for the same encoder. They are AdamW, 160,000 steps of 16 crops (8 on each of
2 GPUs), ten times the rate outside the encoder, warm-up over 1500 steps, scales 0.5 to 2 of images
that fit 2048x512, flips, crops in which one class fills at most 75 %. Ours: the contrastive loss
from step 5000 on, strengths of the colour changes, no decay of biases, and validation on images of
their own size.

The encoder starts from SegNeXt's ImageNet weights, looked for in the folder that you start from:
https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segnext/mscan_s_20230227-f33ccdf2.pth
(`--backbone-weights` takes another path, or `none`).

Not run here: neither score nor hours are known. It asks for an accelerator that holds a training
step of 16 images of 512x512 with 150 classes.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="scrnet_mscan_s_ade20k",
    network="SCRNet",
    network_config={"backbone": "mscan_s", "contrast_warmup": 5000},
    dataset="ade20k",
    augment={
        "steps": [
            {
                "step": "ScaleCrop",
                "size": (512, 512),
                "scale": (0.5, 2.0),
                "max_class_share": 0.75,
                "base_size": (512, 2048),
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
    batch_size=16,
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
    cache=None,  # the images come in many sizes, in all more than most machines hold
    seed=0,
    backbone_weights="mscan_s_20230227-f33ccdf2.pth",
)
