"""SERNet-Former, compact form on MobileNet-EdgeTPU, on crops of CamVid: first of four runs.

Run it with `focusseg train recipes/sernet_former_mobilenet_edgetpu_crops_camvid.py --data-root
CamVid --backbone-weights mobilenet_edgetpu_slim_cityscapes.npz`, then
sernet_former_mobilenet_edgetpu_frames_camvid.py, which goes on from its weights with whole frames.
The form on MobileNet-EdgeTPU, with gates on its first convolution and on the last block at each
stride, is this library's. Augmentation and rates are those of
fornet_mobilenet_edgetpu_crops_camvid.py; dilations 3, 6, 9 stand in place of 12, 16, 18, because a
crop is 15 x 20 cells. The dilated convolutions of the bridge read the last stage, which therefore
has its 144 channels, not 1280.

The preset of FoR-Net on the same encoder teaches it: where on the image its logits of each class
are high is learned beside the masks.

Paper: arXiv 2401.15741.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: one and a quarter; the second run takes another half.
Score: mIoU 75.1 on val (101 frames of 360x480, void ignored, single scale, no flip).
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

fornet = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_crops_camvid.py"))
recipe = fornet.replace(
    name="sernet_former_mobilenet_edgetpu_crops_camvid",
    network="SERNetFormer",
    epochs=40,
    teacher="fornet_mobilenet_edgetpu_camvid",
    precision="mixed_bfloat16",
    network_config={
        "backbone": "mobilenet_edgetpu_stages",
        "output_stride": 16,
        "bridge_filters": 128,
        "bridge_dilation_rates": (3, 6, 9),
        "skip_filters": 32,
        "decoder_filters": 96,
        "class_weights": fornet.network_config["class_weights"],
    },
)
