# %% [markdown]
# # First masks in five minutes
#
# From nothing to a segmented picture, and a look at what the network looked at. It runs on a laptop's
# CPU; nothing but the package is downloaded, since presets and the street renderer come with it.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow]"

# %% [markdown]
# ## A picture
#
# Any photograph will do: a path, a folder, or an array of shape (H, W, 3) with values from 0 to 255.
# This page draws its own street, so that it can show it.

# %% alt="A drawn street scene"
from PIL import Image

from keras_focusseg import data

source = data.SyntheticStreets(count=4, seed=2026, split="test")
image, mask, name = source.load(1)
Image.fromarray(image)

# %% [markdown]
# ## A preset
#
# A preset is a network with its weights, its classes and the score it reached. `presets.names()` lists
# them; a record says on what a score was measured, and under which licence the weights are.

# %%
from keras_focusseg import presets

for name in presets.names():
    record = presets.record(name)
    score = record.scores[0] if record.scores else None
    print(
        name,
        f"{100 * score['mean_iou']:.1f} on {score['dataset']} {score['split']}"
        if score
        else "no weights",
    )

# %% [markdown]
# This one learned from drawn streets. For photographs take one whose name ends in `camvid`.

# %%
model = presets.load("fornet_mobilenet_v2_synthetic_streets")
print(f"{model.count_params():,} parameters, classes: {', '.join(model.label_space.classes)}")

# %% [markdown]
# ## Segment
#
# `segment` yields one result a picture. It has the class of each pixel, how sure the network is of it,
# and pictures of both.

# %% alt="The street under the colours of its classes"
from keras_focusseg import segment

result = next(segment(model, [image]))
print({name: round(share, 3) for name, share in result.shares().items()})
result.overlay()

# %% [markdown]
# `result.labels` are the class ids, `result.confidence` the probability of that class. Where the network
# is least sure, it is usually at a boundary:

# %% alt="The network's confidence: dark along the borders of things"
from keras_focusseg import visualization

visualization.heatmap(result.confidence, image.shape[:2])

# %% [markdown]
# ## What it looked at
#
# FoR-Net scores every cell of its feature map, and looks again at the best-scored ones with kernels of
# several sizes. `inspect` returns these signals, and `signal_pictures` draws them; the caption says what
# light and dark mean.

# %%
seen = model.inspect(image[None])
pictures = visualization.signal_pictures(image, seen, model.panels)
for caption, text in visualization.signal_notes(seen, model.panels):
    print(caption, text)

# %% alt="Importance of each cell, then the regions that were chosen"
from IPython.display import display

for picture in pictures.values():
    display(picture)

# %% [markdown]
# ## How good is it?
#
# The drawn streets come with exact masks, so the score can be measured at once: mean IoU over the
# classes, and the boundary F1, which asks whether the outlines lie within two pixels of the true ones.

# %%
from keras_focusseg import inference

scores = inference.evaluate(model, source)
print(
    f"mean IoU {100 * scores.mean_iou:.1f}, boundary F1 {100 * scores.boundary['boundary_f1']:.1f}"
)

# %% [markdown]
# ## From the shell
#
# ```sh
# focusseg presets
# focusseg segment street.jpg --preset fornet_mobilenet_v2_camvid --output segmented
# ```
#
# Next: [Train on your own folder](own_folder.md), [Look inside the three networks](inside.md).
