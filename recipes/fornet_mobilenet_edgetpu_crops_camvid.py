"""FoR-Net, compact form on MobileNet-EdgeTPU, on crops of CamVid train: first of two runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_crops_camvid.py --data-root CamVid
--backbone-weights mobilenet_edgetpu_slim_cityscapes.npz`, then fornet_mobilenet_edgetpu_camvid.py,
which goes on from its weights with whole frames. Paper: arXiv 2605.02764; the form on
MobileNet-EdgeTPU and these settings are this library's. The encoder starts from weights learned on
Cityscapes, so it learns at a quarter of the rate of the rest. The class weights are those of
fornet_mobilenet_v2_camvid.py.

The run of the shipped preset was stopped after 20 epochs, at mIoU 74.6 on val, to have time for the
second; its first seven followed a schedule of 40 epochs. `recipes/logs` has its log.
"""

from keras_focusseg.training import Recipe

recipe = Recipe(
    name="fornet_mobilenet_edgetpu_crops_camvid",
    network="FoRNet",
    network_config={
        "backbone": "mobilenet_edgetpu",
        "output_stride": 16,
        "neck": "fpn",
        "filters": 96,
        "low_level_filters": 32,
        "decoder_filters": 64,
        "dilation_rates": (1, 1, 1, 4),
        # sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist
        "class_weights": (0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.88, 2.65, 3.92),
    },
    dataset="camvid",
    augment={
        "steps": [
            {"step": "ScaleCrop", "size": (240, 320), "scale": (0.5, 2.0), "max_class_share": 0.75},
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
    class_uniform=0.25,
    batch_size=8,
    val_batch_size=1,
    epochs=30,
    learning_rate=2.5e-4,
    head_learning_rate_factor=4.0,
    weight_decay=0.02,
    warmup_steps=90,
    ema=0.99,
    validate_every=4,
    seed=0,
    backbone_weights="mobilenet_edgetpu_slim_cityscapes.npz",
)
