"""FoR-Net, compact form on MobileNet-EdgeTPU, on whole frames of CamVid train: second of two runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_camvid.py --data-root CamVid` after
fornet_mobilenet_edgetpu_crops_camvid.py, from whose best weights it starts, at half of the rate.
Poles and fences need the full resolution, and what the network selects, and its global context,
depend on how much of the scene it sees.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_crops_camvid.py"))
recipe = crops.replace(
    name="fornet_mobilenet_edgetpu_camvid",
    pretrained=f"runs/{crops.name}/best",
    backbone_weights=None,
    augment={
        "steps": [
            {"step": "ScaleCrop", "size": (360, 480), "scale": (0.75, 1.5)},
            *crops.augment["steps"][1:],
        ]
    },
    batch_size=4,
    epochs=4,
    learning_rate=1.2e-4,
    warmup_steps=45,
    validate_every=2,
)
