# %% [markdown]
# # Look inside the three networks
#
# The three networks of this library look hard where it is hard, each in its own way: FoR-Net chooses
# regions, SCRNet moves what an enlarged map puts in the wrong place, SERNet-Former opens and closes gates.
# Their signals can be drawn, and their parts can be switched off. This page does both.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow]"

# %%
from IPython.display import display
from PIL import Image

from keras_focusseg import data, presets, visualization

image, mask, name = data.SyntheticStreets(count=6, seed=2026, split="test").load(3)
Image.fromarray(image)

# %% [markdown]
# ## FoR-Net: which cells deserve a second look
#
# A selector scores every cell. For each of four branches the best-scored 10, 20, 30 and 40 % of the cells
# pass, with kernels of 1, 3, 5 and 7 cells. The selector was taught class boundaries, so these are what
# lights up.


# %%
def look_inside(name, *wanted):
    """Draws those pictures of what a network saw whose captions begin with the words wanted."""
    model = presets.load(name)
    seen = model.inspect(image[None])
    pictures = visualization.signal_pictures(image, seen, model.panels)
    for caption, picture in pictures.items():
        if caption.startswith(wanted):
            print(caption)
            display(picture)
    return model, seen


# %% alt="FoR-Net's importance map and the regions that its branches see"
fornet, seen = look_inside("fornet_mobilenet_v2_camvid", "importance", "regions")

# %% [markdown]
# The signals are plain arrays, so questions about them are short. How many of the wrong pixels, and how
# many of the pixels beside a class boundary, lie inside the largest region, which covers 40 % of the map?

# %%
import numpy as np

from keras_focusseg import metrics

labels = seen["logits"][0].argmax(-1)
region = (
    np.asarray(
        Image.fromarray((seen["masks"][0][..., -1] * 255).astype("uint8")).resize(
            (image.shape[1], image.shape[0]), Image.Resampling.NEAREST
        )
    )
    > 0
)
boundary = metrics.trimap(mask, width=2)
wrong = (labels != mask) & (mask != 255)
print(f"all pixels       {region.mean():.2f} inside")
print(f"beside a border  {region[boundary].mean():.2f} inside")
print(f"wrong pixels     {region[wrong].mean():.2f} inside")

# %% [markdown]
# The preset learned from photographs and this is a drawing: one picture shows how to ask, not what holds
# in general.
#
# ## SCRNet: where an enlarged map belongs
#
# A coarse map that is enlarged lies a little beside the finer one. SCRNet learns an offset for every pixel
# and reads the coarse map there. The hue is the direction of the offset, the strength its length.

# %% alt="SCRNet's offsets and what its attentions look at"
scrnet, seen = look_inside("scrnet_mobilenet_v2_camvid", "refined offsets", "unary")

# %%
for name in sorted(name for name in seen if name.startswith("offsets")):
    length = np.linalg.norm(seen[name][0], axis=-1)
    print(
        f"{name}: {seen[name].shape[1:3]} cells, median {np.median(length):.2f}, longest {length.max():.2f}"
    )

# %% [markdown]
# ## SERNet-Former: gates
#
# Attention-boosting gates add to each stage of the encoder its own output, weighed by a gate between 0 and 1:
# a strong response opens it, a weak one closes it.

# %% alt="Gates of SERNet-Former"
sernet, seen = look_inside("sernet_former_mobilenet_v2_camvid", "gate")

# %% [markdown]
# ## Parts off
#
# Every part is an argument, so a network without it is one line, and what the part costs can be counted.
# What it brings has to be trained for: the page of each network says what short runs found.

# %%
from keras_focusseg import models

small = dict(num_classes=11, backbone="mobilenet_v2")
forms = {
    "FoR-Net": models.FoRNet(**small, filters=64),
    "  every cell selected": models.FoRNet(**small, filters=64, ratios=(1.0, 1.0, 1.0, 1.0)),
    "  one branch": models.FoRNet(
        **small, filters=64, kernel_sizes=(3,), dilation_rates=(1,), ratios=(0.2,)
    ),
    "SCRNet": models.SCRNet(**small, filters=64),
    "SERNet-Former": models.SERNetFormer(**small),
}
for name, model in forms.items():
    print(f"{name:22} {model.count_params():>10,} parameters")

# %% [markdown]
# The pages of the networks list all switches: [FoR-Net](../networks/fornet.md),
# [SCRNet](../networks/scrnet.md), [SERNet-Former](../networks/sernet_former.md).
