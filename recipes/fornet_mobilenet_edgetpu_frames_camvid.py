"""FoR-Net, compact form on MobileNet-EdgeTPU, on whole frames of CamVid: second of six runs.

Run it with `focusseg train recipes/fornet_mobilenet_edgetpu_frames_camvid.py --data-root CamVid`
after fornet_mobilenet_edgetpu_crops_camvid.py, from whose best weights it starts, at a lower rate.
Poles and fences need the full resolution, and what the network selects, and its global context,
depend on how much of the scene it sees. Its first four epochs followed a schedule of five,
and its crops were taken wherever they fell (`max_class_share` None).
`recipes/logs` has its log.

Paper: arXiv 2605.02764.
Data: CamVid train, 367 frames of 480x360, 11 classes.
Hardware: 2 CPU cores shared with other work (TensorFlow).
Hours: about two with the first run.
Score: mIoU 77.2 on val after eight epochs (101 frames of 360x480, void ignored, single scale, no
    flip), and 77.7 with the classes shifted on training frames.
"""

from pathlib import Path

from keras_focusseg.training import load_recipe

crops = load_recipe(Path(__file__).with_name("fornet_mobilenet_edgetpu_crops_camvid.py"))
recipe = crops.replace(
    name="fornet_mobilenet_edgetpu_frames_camvid",
    pretrained=f"runs/{crops.name}/best",
    backbone_weights=None,
    augment={
        "steps": [
            {"step": "ScaleCrop", "size": (360, 480), "scale": (0.75, 1.5)},
            *crops.augment["steps"][1:],
        ]
    },
    batch_size=4,
    epochs=9,
    learning_rate=1e-4,
    warmup_steps=45,
    validate_every=2,
)
