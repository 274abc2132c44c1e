# %% [markdown]
# # Plug in others
#
# The networks are Keras models, the sources give arrays, and nothing asks for the library's own parts. This
# page joins it to what people already use: Keras' layers for augmentation, a backbone of your own, a loss
# and a metric of your own, callbacks, TensorFlow Datasets.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow]"

# %%
import keras
import numpy as np

from keras_focusseg import backbones, data, models

keras.utils.set_random_seed(0)
source = data.SyntheticStreets(count=16, size=(96, 128))
print(source)

# %% [markdown]
# ## Keras' augmentation layers
#
# A layer that moves the image must move the mask in the same way, and must never mix class ids.
# `KerasAugment` wraps any layer of Keras or keras-cv, tries it out on a painted picture whose mask is
# known, and refuses it if it breaks that. Its steps mix with ours.

# %% alt="Augmented pictures beside their masks"
from PIL import Image

from keras_focusseg import visualization

plugged = data.KerasAugment(
    [keras.layers.RandomFlip("horizontal"), keras.layers.RandomContrast(0.4)]
)
augment = data.Compose([data.ScaleCrop((80, 112), scale=(0.75, 1.5)), plugged])
train = data.batches(source, 4, augment, shuffle=True, seed=1)

images, masks = next(iter(train))
images, masks = np.asarray(images), np.asarray(masks)
rows = [
    np.concatenate([image, visualization.colorize(mask, source.label_space)], axis=1)
    for image, mask in zip(images[:3], masks[:3], strict=True)
]
Image.fromarray(np.concatenate(rows)).resize((448, 480))

# %% [markdown]
# ## A backbone of your own
#
# Any Keras model with outputs named `"P2"` to `"P5"`, at strides 4 to 32, is a backbone. Those of KerasHub
# and keras-cv are taken as they are (`backbone=keras_hub.models.ResNetBackbone...`); here is one in a few
# lines.


# %%
def block(x, filters):
    """Half the size, more channels."""
    x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
    return keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))


pictures = keras.Input((None, None, 3))
x = block(keras.layers.Rescaling(1 / 127.5, -1)(pictures), 8)
levels = {}
for level, filters in (("P2", 16), ("P3", 24), ("P4", 32), ("P5", 48)):
    x = levels[level] = block(x, filters)
tiny = keras.Model(pictures, levels, name="tiny")

model = models.FoRNet(num_classes=11, backbone=tiny, neck="fpn", output_stride=32, filters=24)
print(f"{model.count_params():,} parameters")

# %% [markdown]
# The names that come with the library:

# %%
print(*backbones.names())

# %% [markdown]
# ## A loss and a metric of your own
#
# A loss is a function of the masks (B, H, W) and the logits (B, H, W, C), like any in Keras. Here are the
# ones of the paper beside one that asks for the right share of each class.


# %%
def share_loss(masks, logits):
    """How far the predicted share of each class is from the true one, ignored pixels left out."""
    valid = keras.ops.cast(masks != 255, "float32")[..., None]
    truth = keras.ops.one_hot(keras.ops.where(masks == 255, 0, masks), 11) * valid
    said = keras.ops.softmax(logits) * valid
    count = keras.ops.maximum(keras.ops.sum(valid), 1.0)
    difference = keras.ops.sum(truth, (0, 1, 2)) - keras.ops.sum(said, (0, 1, 2))
    return keras.ops.sum(keras.ops.absolute(difference)) / count


class PixelsRight(keras.metrics.Metric):
    """Share of the labelled pixels whose class is right."""

    def __init__(self, name="pixels_right", **kwargs):
        super().__init__(name=name, **kwargs)
        self.right = self.add_weight(name="right", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, masks, logits, sample_weight=None):
        """Counts one batch."""
        valid = masks != 255
        hits = keras.ops.logical_and(
            keras.ops.argmax(logits, -1) == keras.ops.cast(masks, "int32"), valid
        )
        self.right.assign_add(keras.ops.sum(keras.ops.cast(hits, "float32")))
        self.count.assign_add(keras.ops.sum(keras.ops.cast(valid, "float32")))

    def result(self):
        """The share."""
        return self.right / keras.ops.maximum(self.count, 1.0)


model.compile("adam", loss=share_loss, metrics=[PixelsRight()])
model.fit(train, epochs=2, verbose=2)

# %% [markdown]
# ## Callbacks
#
# `fit` is Keras' own, so every callback works: `EarlyStopping`, `TensorBoard`, Weights & Biases'
# `WandbMetricsLogger`, one of your own. A metric that shall grow needs `mode="max"`.

# %%
model.compile()  # the paper's loss, AdamW and mean IoU
stop = keras.callbacks.EarlyStopping("val_mean_iou", mode="max", patience=1)
history = model.fit(
    train, validation_data=data.batches(source, 4), epochs=3, callbacks=[stop], verbose=2
)

# %% [markdown]
# ## Data of others
#
# A source is anything with a length, `load(i)` and a label space; but `fit` takes any `tf.data.Dataset`,
# `PyDataset`, PyTorch `DataLoader` or arrays of images and masks too:

# %%
import tensorflow as tf

pairs = [source.load(i) for i in range(8)]
dataset = tf.data.Dataset.from_tensor_slices(
    (np.stack([pair.image for pair in pairs]), np.stack([pair.mask for pair in pairs]))
).batch(4)
model.fit(dataset, epochs=1, verbose=2)

# %% [markdown]
# [Data](../data.md) lists the sources and the TensorFlow Datasets builders, [Layers of others,
# feeds](../data/other-augmentations.md) says how a wrapped layer is judged.
