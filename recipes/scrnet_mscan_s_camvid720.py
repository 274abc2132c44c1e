"""SCRNet on MSCAN-S on CamVid at 960x720.

Run it with `focusseg train recipes/scrnet_mscan_s_camvid720.py --data-root CamVid`. The paper did
not train on CamVid; the settings are this library's, and the contrastive loss sets in after an
eighth of the run.

The encoder starts from SegNeXt's ImageNet weights, looked for in the folder that you start from:
https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segnext/mscan_s_20230227-f33ccdf2.pth
(`--backbone-weights` takes another path, or `none`).

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 960x720, the 11 classes of MathWorks' grouping, official split.
Hardware: an accelerator that holds a training step of 8 images of 720x720.
Hours: not measured.
Score: not run: needs an accelerator that holds a training step of 8 images of 720x720, and the
    weights named above.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

base = load_recipe(Path(__file__).parent / "bases" / "camvid720.py")
recipe = base.replace(
    name="scrnet_mscan_s_camvid720",
    network="SCRNet",
    network_config={"backbone": "mscan_s", "contrast_warmup": 1125},
    backbone_weights="mscan_s_20230227-f33ccdf2.pth",
)
