"""SCRNet on MSCAN-S on ADE20K.

Run it with `focusseg train recipes/scrnet_mscan_s_ade20k.py --data-root ADEChallengeData2016`.
The paper's settings did not reach us: these are the ones that SegNeXt (arXiv 2209.08575) published
for the same encoder. They are AdamW, 160,000 steps of 16 crops (8 on each of 2 GPUs), ten times the
rate outside the encoder, warm-up over 1500 steps, scales 0.5 to 2 of images that fit 2048x512,
flips, crops in which one class fills at most 75 %. Ours: the contrastive loss from step 5000 on,
strengths of the colour changes, no decay of biases, and validation on images of their own size.

The encoder starts from SegNeXt's ImageNet weights, looked for in the folder that you start from:
https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segnext/mscan_s_20230227-f33ccdf2.pth
(`--backbone-weights` takes another path, or `none`).

Paper: arXiv 2412.08671.
Data: ADE20K's scene parsing benchmark, 20210 images of many sizes, 150 classes.
Hardware: an accelerator that holds a training step of 16 images of 512x512 with 150 classes.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 16 images of 512x512 with 150
    classes, and the weights named above.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "ade20k.py")
recipe = base.replace(
    name="scrnet_mscan_s_ade20k",
    network="SCRNet",
    network_config={"backbone": "mscan_s", "contrast_warmup": 5000},
    learning_rate=6e-5,
    head_learning_rate_factor=10.0,
    weight_decay=0.01,
    clip_norm=0.0,
    warmup_start=1e-6,
    power=1.0,
    ema=0.0,
    backbone_weights="mscan_s_20230227-f33ccdf2.pth",
)
