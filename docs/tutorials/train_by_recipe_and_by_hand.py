# %% [markdown]
# # Train FoR-Net, by a recipe and by hand
#
# The same network twice: once as a recipe, a short Python file from which a run can be repeated, and once
# with `compile` and `fit`, as any Keras model. On CamVid the commands are the same; this page trains on
# drawn streets of CamVid's eleven classes, small and short, so that it runs in a minute.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow,viz]"

# %% [markdown]
# ## The recipe
#
# It names network, data and schedule; what it leaves out has a default. For CamVid it would say
# `dataset="camvid"`, and the run would be told where that lies by `--data-root`.

# %%
from pathlib import Path

Path("small_streets.py").write_text('''
"""FoR-Net, small, on drawn streets."""

from keras_focusseg.data import Augment
from keras_focusseg.training import Recipe

recipe = Recipe(
    name="small_streets",
    network="FoRNet",
    network_config={
        "backbone": "mobilenet_v2", "output_stride": 32, "neck": "fpn", "filters": 32,
    },
    dataset="synthetic_streets",
    train_options={"count": 32, "size": (96, 128)},
    val_options={"count": 8, "size": (96, 128)},
    augment=Augment(crop_size=(80, 112), scale=(0.75, 1.5)).to_config(),
    batch_size=8,
    epochs=4,
    learning_rate=1e-3,
    ema=0.9,
    validate_every=2,
)
''')

# %% [markdown]
# From the shell it is `focusseg train small_streets.py`; Ctrl-C stops it and `--resume` goes on, with the
# same weights as a run that was never stopped. From Python:

# %%
from keras_focusseg import training

recipe = training.load_recipe("small_streets.py")
training.train(recipe, run_folder="runs/small_streets")

# %% [markdown]
# ## What the run leaves behind
#
# The best weights by mean IoU on the validation split lie in `best/`: a preset like those that come with
# the package.

# %%
print(sorted(path.name for path in Path("runs/small_streets").iterdir()))

# %%
import csv

with open("runs/small_streets/log.csv") as file:
    log = list(csv.DictReader(file))
print(*log[-1].items(), sep="\n")

# %% [markdown]
# ## By hand
#
# FoR-Net's loss has three terms: cross-entropy, Dice, and the selector's, which teaches the importance map
# where class boundaries are. `compile()` without arguments takes them, and `fit` reports each.

# %%
import keras

from keras_focusseg import data, models, optimizers

keras.utils.set_random_seed(0)
augment = data.Augment(crop_size=(80, 112), scale=(0.75, 1.5))
train = data.batches(data.SyntheticStreets(32, (96, 128)), 8, augment, shuffle=True, cache="memory")
val = data.batches(data.SyntheticStreets(8, (96, 128), split="val"), 8)

model = models.FoRNet(
    num_classes=11, backbone="mobilenet_v2", output_stride=32, neck="fpn", filters=32
)
model.compile(optimizers.AdamW(1e-3))
history = model.fit(train, validation_data=val, epochs=12, verbose=0)

# %% [markdown]
# ## The terms on their curves

# %% alt="Curves of the loss terms and of the mean IoU over the epochs"
import matplotlib.pyplot as plt
from IPython.display import display

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for term in ("cross_entropy", "dice", "selector"):
    left.plot(history.history[term], label=term)
left.set(xlabel="epoch", title="loss terms, training")
left.legend()
for name in ("mean_iou", "val_mean_iou"):
    right.plot(history.history[name], label=name)
right.set(xlabel="epoch", title="mean IoU")
right.legend()
display(figure)
plt.close(figure)

# %% [markdown]
# Weights that start at random learn slowly, and 32 drawings are little: a figure to take home is not to be
# had in a minute. Start the backbone from ImageNet (`backbone_weights="imagenet"`) or the whole network
# from a [preset](../presets.md), and give it hours.
#
# ## On CamVid
#
# ```sh
# focusseg train recipes/fornet_mobilenet_v2_camvid.py --data-root CamVid
# focusseg evaluate runs/fornet_mobilenet_v2_camvid/best --data-root CamVid
# ```
#
# [Train on CamVid](../guides/train-on-camvid.md) says where the frames come from, which of CamVid's several
# copies and splits is meant, and what the shipped presets reached.
