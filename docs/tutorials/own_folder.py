# %% [markdown]
# # Train on your own folder
#
# From a folder of pictures and coloured masks to a network of your classes: look, check, fine-tune a
# preset, score, segment. The folder is drawn here, so that the page can be run; put yours in its place.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow]"

# %% [markdown]
# ## A folder of pictures and masks
#
# Three classes of your own: ground, things that stand on it, and sky. The masks are pictures in three
# colours, as drawing tools write them, and a table names the colours.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

from keras_focusseg import data

streets = data.SyntheticStreets(count=48, size=(120, 160), seed=7)
classes = [name.lower() for name in streets.label_space.classes]
print(classes)

colors = {"ground": (128, 64, 128), "thing": (220, 20, 60), "sky": (70, 130, 180)}
kind = np.full(256, 1, "uint8")
kind[[classes.index("road"), classes.index("pavement")]] = 0
kind[classes.index("sky")] = 2

for i in range(len(streets)):
    image, mask, name = streets.load(i)
    split = "train" if i < 36 else "val"
    painted = np.array(list(colors.values()), "uint8")[kind[mask]]
    painted[mask == 255] = 0  # black: ignored
    for folder, pixels in (("images", image), ("masks", painted)):
        path = Path("my_data", folder, split, f"{i:03d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

rows = [f"{name},{r},{g},{b}" for name, (r, g, b) in colors.items()]
Path("my_data/class_dict.csv").write_text("\n".join(["name,r,g,b", *rows, "void,0,0,0"]) + "\n")
print(sorted(path.as_posix() for path in Path("my_data").glob("*/*")))

# %% [markdown]
# ## What the library finds there
#
# Folders are recognised by their names, masks by what they hold. `print` says what was found; nothing
# has to be converted. The row `void` of the table is ignored in training and in scores.

# %%
train = data.open_source("auto", "my_data", "train")
val = data.open_source("auto", "my_data", "val")
print(train)
print(train.label_space.classes)

# %% [markdown]
# ## Check before you train
#
# Every file is read, and what would spoil a training run is named: broken or unpaired files, sizes that
# differ, colours that the table does not know, the same picture in both splits. From the shell:
# `focusseg data check my_data`.

# %%
Image.new("RGB", (160, 120), (1, 2, 3)).save("my_data/masks/train/000.png")  # an unknown colour
report = data.check("auto", "my_data")
print(report.verdict())
for finding in report.findings:
    print(finding)

# %% [markdown]
# That mask was overwritten on purpose. Paint it again as it was:

# %%
image, mask, name = streets.load(0)
painted = np.array(list(colors.values()), "uint8")[kind[mask]]
painted[mask == 255] = 0
Image.fromarray(painted).save("my_data/masks/train/000.png")
print(data.check("auto", "my_data").verdict())
train = data.open_source("auto", "my_data", "train")

# %% [markdown]
# ## Fine-tune a preset
#
# `presets.load(..., label_space=)` keeps everything but the classifier, and names and colours are yours.
# Start from a preset that has seen pictures like yours: for photographs of streets, one whose name ends in
# `camvid`.

# %%
import keras

from keras_focusseg import optimizers, presets

keras.utils.set_random_seed(0)
model = presets.load("fornet_mobilenet_v2_synthetic_streets", label_space=train.label_space)
model.compile(optimizers.AdamW(1e-3))

augment = data.Augment(crop_size=(96, 128), scale=(0.75, 1.5), brightness=0.3, contrast=0.3)
history = model.fit(
    data.batches(train, 6, augment, shuffle=True, cache="memory"),
    validation_data=data.batches(val, 1),
    epochs=4,
    verbose=2,
)

# %% [markdown]
# ## Score
#
# `inference.evaluate` segments each picture at its own size and counts all pixels in one confusion
# matrix.

# %%
from keras_focusseg import inference, metrics

scores = inference.evaluate(model, val)
for name, iou in zip(train.label_space.classes, metrics.iou_per_class(scores.matrix), strict=True):
    print(f"{name:8} {100 * iou:.1f}")
print(f"mean IoU {100 * scores.mean_iou:.1f}")

# %% [markdown]
# ## Use it

# %% alt="A picture of the validation split under the colours of the three classes"
from keras_focusseg import segment

result = next(segment(model, ["my_data/images/val/040.png"]))
result.overlay().resize((480, 360))

# %% [markdown]
# ## Keep it
#
# A saved preset is a folder with weights, classes, and a record. It loads in any backend:

# %%
presets.save(model, "mine", name="mine", label_space=train.label_space)
print(sorted(path.name for path in Path("mine").iterdir()))
again = presets.load("mine")
print(again.label_space.classes)

# %% [markdown]
# The same from the shell, with a recipe in place of the code: [Train on your own masks in ten
# minutes](../guides/train-on-your-own-masks.md) has each step, and what to do about each kind of mask.
