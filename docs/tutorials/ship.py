# %% [markdown]
# # Ship it
#
# From a preset to a file that runs without Keras: written, run by its own runtime, and compared before it is
# kept. The example is LiteRT, which phones and small boards run; ONNX, OpenVINO and SavedModel go the same
# way.

# %% tags=["install"]
# %pip install -q "keras-focusseg[tensorflow,export]"

# %%
from keras_focusseg import data, export, presets

model = presets.load("fornet_mobilenet_v2_synthetic_streets")
street = data.SyntheticStreets(count=1, size=(180, 240), seed=2026, split="test").load(0)

# %% [markdown]
# ## Write and compare
#
# Class ids come out and uint8 pictures go in, so that a program in C++ or Kotlin needs nothing but the
# runtime. The file is run on drawn streets beside Keras, and kept only if they agree.

# %%
written = export.export(model, "street.tflite", "litert", (180, 240), uint8=True, labels=True)
print(written.comparison)

# %% [markdown]
# ## Run it without Keras
#
# What is needed stands in the JSON beside the file: names and colours of the classes, shape and type of
# what goes in and comes out, and a checksum.

# %%
import json

facts = json.load(open("street.tflite.json"))
print(*facts, sep=", ")

# %% alt="The drawn street under the classes that the exported file found"
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_focusseg import visualization

interpreter = Interpreter("street.tflite")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], street.image[None])
interpreter.invoke()
labels = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
visualization.overlay(street.image, labels, model.label_space).resize((480, 360))

# %% [markdown]
# The same class ids as Keras finds:

# %%
from_keras = model.predict_labels(street.image[None], verbose=0)["labels"][0]
print(f"{100 * np.mean(labels == from_keras):.2f} % of the pixels agree")

# %% [markdown]
# ## A damaged file is refused

# %%
from pathlib import Path

damaged = bytearray(Path("street.tflite").read_bytes())
damaged[len(damaged) // 2] ^= 1
Path("street.tflite").write_bytes(damaged)
try:
    export.verify(model, "street.tflite")
except Exception as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# ## From the shell
#
# ```sh
# focusseg export fornet_mobilenet_v2_camvid --format onnx --size 360x480
# focusseg export fornet_mobilenet_v2_camvid --size 360x480 --data camvid --data-root CamVid
# focusseg profile fornet_mobilenet_v2_camvid.onnx
# ```
#
# The second command scores both on labelled images, side by side. [Take a network out of
# Keras](../guides/export.md) has the table of formats, backends and precisions, and what is refused.
# [In your browser](../in-your-browser.md) is a page that runs an exported preset on your own machine.
