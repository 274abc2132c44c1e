"""SCRNet, compact form on MobileNet-EdgeTPU, on crops of CamVid at 480x360: first of six runs.

Run it with `focusseg train recipes/scrnet_mobilenet_edgetpu_crops_camvid.py --data-root CamVid
--backbone-weights mobilenet_edgetpu_slim_cityscapes.npz`, then
scrnet_mobilenet_edgetpu_frames_camvid.py, which goes on from its weights with whole frames. The
form on MobileNet-EdgeTPU is this library's.
Augmentation and rates are those of fornet_mobilenet_edgetpu_crops_camvid.py; the contrastive loss
sets in after an eighth of the run.

Paper: arXiv 2412.08671.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: two with the second run.
Score: mIoU 72.8 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

fornet = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_crops_camvid.py"))
recipe = fornet.replace(
    name="scrnet_mobilenet_edgetpu_crops_camvid",
    network="SCRNet",
    epochs=20,
    network_config={
        "backbone": "mobilenet_edgetpu",
        "filters": 64,
        "context_filters": 128,
        "embedding_filters": 64,
        "contrast_warmup": 112,
        "class_weights": fornet.network_config["class_weights"],
    },
)
