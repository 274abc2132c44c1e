"""SCRNet on ResNet-101 on Cityscapes.

Run it with `focusseg train recipes/scrnet_resnet101_cityscapes.py --data-root cityscapes`. The
paper's settings did not reach us, nor whether it trained a ResNet. These are the habits of the
works that it builds on, for networks on ResNet: SGD at 0.01 with momentum 0.9 and an L2 penalty of
5e-4 (ContrastiveSeg, arXiv 2101.11939; AlignSeg, arXiv 2003.00872), and 300 epochs of 16 crops of
1024x1024 (SFNet, arXiv 2002.10120). Ours: polynomial decay with power 0.9 step by step, the
contrastive loss from step 5000 on, colour changes of 25 %, no class-uniform sampling, no blur, no
hard pixel mining, no penalty on norms and biases, the plain stem, and torchvision's ImageNet
weights.

Paper: arXiv 2412.08671.
Data: Cityscapes train, 2975 images of 2048x1024, 19 classes.
Hardware: accelerators that hold a training step of 16 images of 1024x1024.
Hours: not measured.
Score: not run: needs accelerators that hold a training step of 16 images of 1024x1024.
"""

from pathlib import Path

from keras_focusseg import data
from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "cityscapes.py")
recipe = base.replace(
    name="scrnet_resnet101_cityscapes",
    network="SCRNet",
    network_config={"backbone": "resnet101", "filters": 256, "contrast_warmup": 5000},
    augment=data.Augment(
        (1024, 1024),
        brightness=0.25,
        contrast=0.25,
        saturation=0.25,
        hue=0.0,
        max_class_share=0.75,
    ).to_config(),
    batch_size=16,
    epochs=300,
    optimizer="sgd",
    learning_rate=0.01,
    weight_decay=5e-4,
    clip_norm=0.0,
    warmup_steps=0,
    ema=0.0,
    validate_every=10,
)
