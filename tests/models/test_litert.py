"""Networks as LiteRT files: built-in operations alone, pictures of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import layers, models
from tests.models import tiny
from tests.models.test_sernet_former_parts import network as sernet_former
from tests.testers import randomize_weights, tiny_fornet

pytestmark = [
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="Keras writes LiteRT files of any picture size with TensorFlow alone",
    ),
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated"),
]


def scrnet() -> models.SCRNet:
    backbone = tiny.backbone(8, (4, 2, 2, 2))
    return models.SCRNet(3, backbone, filters=8, context_filters=8, embedding_filters=4)


def other_parts() -> keras.Model:
    """What SCRNet can have in place of its own parts, on two maps of a picture."""
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    low, high = (keras.layers.Conv2D(4, side, side, padding="same")(x) for side in (8, 4))
    outputs = {
        "pyramid_pooling": layers.PyramidPooling(4)(low),
        "squeeze_excite": layers.SqueezeExcite(2)(low),
        "fam": layers.FlowAlignment(4)(low, high),
        "align_fa": layers.AlignedAggregation(4)(low, high),
    }
    return keras.Model(images, outputs)


@pytest.mark.parametrize("build", [tiny_fornet, sernet_former, scrnet, other_parts])
def test_built_in_operations_give_the_same_outputs_at_any_size(build: Any, tmp_path: Path) -> None:
    """Without TensorFlow's own operations ("Flex"), which phones do not have."""
    import tensorflow as tf

    model = build()
    randomize_weights(model)
    path = tmp_path / "network.tflite"
    model.export(
        path,
        format="litert",
        verbose=False,
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
    )
    run = tf.lite.Interpreter(str(path)).get_signature_runner()
    (name,) = run.get_input_details()
    for height, width in ((64, 96), (49, 71)):
        images = tiny.images(height, width, batch=1)
        found = run(**{name: images})
        for output, expected in tiny.outputs(model, images).items():
            np.testing.assert_allclose(found[output], expected, atol=1e-3, err_msg=output)
