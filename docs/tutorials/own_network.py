# %% [markdown]
# # Add your own network
#
# A network of this library is one function of its inputs, as a functional Keras model, plus its loss and a
# word on how its signals are drawn. This page writes a fourth one, and then uses what it got for free:
# `fit` with mean IoU, saving, presets, `segment`, `inspect`, evaluation.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow]"

# %% [markdown]
# ## The network
#
# A plain feature pyramid with one idea of its own: a gate that closes where the coarse and the fine map
# agree, so that the fine one is only asked where it has something to say. Subclass `Segmenter`, build the
# graph in the constructor, and hand over inputs, outputs and signals. Arguments are stored for you, so
# there is no `get_config` to write.

# %%
from collections.abc import Mapping
from typing import Any

import keras

from keras_focusseg import backbones, layers, losses
from keras_focusseg.models.panels import Drawing, Panel
from keras_focusseg.models.segmenter import Segmenter


@keras.saving.register_keras_serializable(package="tutorial")
class GatedPyramid(Segmenter):
    """A pyramid that looks at its fine level only where the coarse one disagrees."""

    panels = (
        Panel(
            "Gate",
            "is light where the fine level is asked.",
            (Drawing("heatmap", "gate", "gate"),),
        ),
    )

    def __init__(
        self,
        num_classes: int = 11,
        backbone: str | keras.Model = "mobilenet_v2",
        backbone_weights: str | None = None,
        filters: int = 32,
        ignore_class: int | None = 255,
        dtype: str | None = None,
        name: str = "gated_pyramid",
    ) -> None:
        encoder = backbones.as_pyramid(backbone, backbone_weights, output_stride=32)
        images = keras.Input((None, None, 3), name="images")  # (B, H, W, 3)
        pyramid = encoder(images)
        fine = layers.ConvNormAct(filters, name="fine")(pyramid["P3"])  # (B, H/8, W/8, F)
        coarse = layers.ConvNormAct(filters, name="coarse")(pyramid["P5"])  # (B, H/32, W/32, F)
        coarse = layers.ResizeLike(name="up")(coarse, fine)  # (B, H/8, W/8, F)
        both = keras.layers.Concatenate(name="both")([coarse, fine])
        gate = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="gate")(both)
        y = keras.layers.Add(name="joined")(
            [coarse, keras.layers.Multiply(name="gated")([fine, gate])]
        )
        y = layers.ConvNormAct(filters, 3, name="decoder")(y)
        y = keras.layers.Conv2D(num_classes, 1, name="classifier")(y)
        logits = layers.ResizeLike(dtype="float32", name="logits")(y, images)
        super().__init__(
            images,
            {"logits": logits},
            signals={"gate": gate},
            num_classes=num_classes,
            ignore_class=ignore_class,
            name=name,
        )
        self.backbone = encoder
        self._cross_entropy = losses.CrossEntropy(ignore_class=ignore_class)

    def loss_terms(
        self, y: Any, y_pred: Mapping[str, Any], sample_weight: Any = None
    ) -> dict[str, Any]:
        """The paper's loss, here cross-entropy alone."""
        return {"cross_entropy": self._cross_entropy(y, y_pred["logits"], sample_weight)}

    def loss_term_weights(self) -> dict[str, float]:
        """How much each term counts."""
        return {"cross_entropy": 1.0}


model = GatedPyramid(num_classes=11)
print(f"{model.count_params():,} parameters")

# %% [markdown]
# ## Training
#
# `compile()` takes the terms of `loss_terms`, AdamW and mean IoU; `fit` reports each term.

# %%
from keras_focusseg import data

keras.utils.set_random_seed(0)
streets = data.SyntheticStreets(count=32, size=(96, 128))
augment = data.Augment(crop_size=(80, 112), scale=(0.75, 1.5))
model.compile()
model.label_space = streets.label_space
history = model.fit(
    data.batches(streets, 8, augment, shuffle=True, cache="memory"), epochs=3, verbose=2
)

# %% [markdown]
# ## What it got for free
#
# The configuration round trip, files, and presets:

# %%
same = GatedPyramid.from_config(model.get_config())
model.save("gated.keras")
loaded = keras.saving.load_model("gated.keras")
print(same.get_config() == model.get_config(), loaded.label_space.classes[:3])

# %% [markdown]
# Segmentation, its signals as pictures, and all measures:

# %% alt="The gate of the new network"
from keras_focusseg import inference, segment, visualization

image = streets.load(5).image
seen = model.inspect(image[None])
result = next(segment(model, [image]))
print({name: round(share, 2) for name, share in list(result.shares().items())[:4]})
pictures = visualization.signal_pictures(image, seen, model.panels)
pictures["gate"].resize((480, 360))

# %%
scores = inference.evaluate(model, data.SyntheticStreets(count=4, size=(96, 128), split="val"))
print(f"mean IoU {100 * scores.mean_iou:.1f} after three short epochs")

# %% [markdown]
# What a part of it costs:

# %%
profile = inference.profile(model, (96, 128), runs=0)
print(f"{profile.parameters:,} parameters, {profile.macs / 1e9:.2f} G multiply-accumulates")

# %% [markdown]
# ## Into the library
#
# In the repository a network is one file in `keras_focusseg/models`, with shapes at the ends of lines and
# equation numbers in comments, one page in `docs/networks`, and one line in `tests/models/test_networks.py`:
# `check_network` of `tests/testers.py` then tests its configuration, sizes, uint8 images, batches without a
# labelled pixel, a step in float32 and in mixed precision, saving in one process and loading in another,
# and its errors. `CONTRIBUTING.md` says what else is asked.
