"""SCRNet on MSCAN-S on Cityscapes.

Run it with `focusseg train recipes/scrnet_mscan_s_cityscapes.py --data-root cityscapes`. The
paper's settings did not reach us: these are the ones that SegNeXt (arXiv 2209.08575) published for
the same encoder. They are AdamW, 160,000 steps of 8 crops (4 on each of 2 GPUs), ten times the rate
outside the encoder, warm-up over 1500 steps, scales 0.5 to 2, flips, crops in which one class fills
at most 75 %. Ours: the contrastive loss from step 5000 on, strengths of the colour changes, no
decay of biases.

The encoder starts from SegNeXt's ImageNet weights, looked for in the folder that you start from:
https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segnext/mscan_s_20230227-f33ccdf2.pth
(`--backbone-weights` takes another path, or `none`).

Paper: arXiv 2412.08671.
Data: Cityscapes train, 2975 images of 2048x1024, 19 classes.
Hardware: an accelerator that holds a training step of 8 images of 1024x1024.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 1024x1024, and the
    weights named above.
"""

from pathlib import Path

from keras_focusseg import data
from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "cityscapes.py")
recipe = base.replace(
    name="scrnet_mscan_s_cityscapes",
    network="SCRNet",
    network_config={"backbone": "mscan_s", "contrast_warmup": 5000},
    augment=data.Augment(
        (1024, 1024),
        brightness=0.125,
        contrast=0.5,
        saturation=0.5,
        hue=0.05,
        max_class_share=0.75,
    ).to_config(),
    steps=160_000,
    learning_rate=6e-5,
    head_learning_rate_factor=10.0,
    weight_decay=0.01,
    clip_norm=0.0,
    warmup_start=1e-6,
    power=1.0,
    ema=0.0,
    validate_every=12,
    backbone_weights="mscan_s_20230227-f33ccdf2.pth",
)
