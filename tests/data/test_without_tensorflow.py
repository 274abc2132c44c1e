"""Reading, augmenting and training where TensorFlow cannot be found, in one process."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest

from tests.conftest import REPOSITORY

CODE = """
import sys
import keras_focusseg.data, keras_focusseg.label_spaces
assert "keras" in sys.modules and "tensorflow" not in sys.modules  # importing leaves it alone

import keras
import numpy as np
from keras_focusseg import data
from tests.data.conftest import ArraySource, train_pair, without_tensorflow
from tests.data.transforms import test_keras_layers as layers
without_tensorflow()

# Training.
augment = data.Augment(crop_size=(16, 20))
batches = data.batches(ArraySource(6, train_pair), 2, augment, shuffle=True)
assert isinstance(batches, keras.utils.PyDataset)
model = keras.Sequential([keras.Input((16, 20, 3)), keras.layers.Conv2D(11, 1)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
model.compile("adam", loss)
model.fit(batches, validation_data=batches, epochs=2, verbose=0)
assert batches.epoch > 0

# Keras' layers as steps: the backend computes, step by step, and keeps the same promises.
names = ["keras.layers.RandomTranslation"]
if keras.backend.backend() != "jax":  # where every operation compiles
    names += ["keras.layers.RandomRotation", "keras.layers.RandomZoom"]
for name in names:
    augment = data.KerasAugment([keras.layers.RandomFlip(), layers.accepted(name)])
    results = layers.apply(augment, range(4))
    for image, mask in results:
        assert set(np.unique(mask)) <= set(np.unique(layers.MASK)) | {255}
        layers.assert_aligned(image, mask)
    layers.assert_equal(results, layers.apply(augment, reversed(range(4)))[::-1])
    assert len({image.tobytes() for image, _ in results}) > 1
assert "tensorflow" not in sys.modules
"""


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="tests life without it")
def test_without_tensorflow() -> None:
    environment = os.environ | {
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
