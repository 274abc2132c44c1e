"""SCRNet as a whole: sizes, switches, files. Item numbers: section 6 of its specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import models
from tests.models import tiny
from tests.testers import compiled, randomize_weights, to_numpy

FIELDS = ("offsets", "initial_offsets", "offset_weights")
ATTENTION = {"channel_attention", "spatial_attention", "unary_attention"}


def network(num_classes: int = 4, **options: Any) -> models.SCRNet:
    """SCRNet with 16 channels on a pyramid at strides 4, 8, 16, 32."""
    settings = {
        "filters": 16,
        "context_filters": 12,
        "embedding_filters": 8,
        "contrast_warmup": 0,
        "max_samples": 64,
        "max_views": 5,
        **options,
    }
    backbone = settings.pop("backbone", None) or tiny.backbone(8, (4, 2, 2, 2))
    return models.SCRNet(num_classes, backbone, **settings)


# Shapes


def test_any_size_is_the_padded_image_cropped():
    """Item 18: the last row and column are repeated to a multiple of 32, and cut off again."""
    model = network()
    randomize_weights(model)
    images = tiny.images(97, 131, batch=1)
    padded = np.pad(images, ((0, 0), (0, 31), (0, 29), (0, 0)), mode="edge")
    found, whole = (tiny.outputs(model, x) for x in (images, padded))
    assert found["logits"].shape == (1, 97, 131, 4)
    assert found["coarse_logits"].shape == (1, 25, 33, 4)
    assert found["embedding"].shape == (1, 25, 33, 8)
    for name, (height, width) in (
        ("logits", (97, 131)),
        ("coarse_logits", (25, 33)),
        ("embedding", (25, 33)),
    ):
        cut = whole[name][:, :height, :width]
        np.testing.assert_allclose(found[name], cut, atol=1e-4, err_msg=name)
    norms = np.linalg.norm(found["embedding"], axis=-1)
    np.testing.assert_allclose(norms, 1.0, atol=1e-5)


def test_logits_alone_need_no_embedding():
    """Segmenting leaves out what only training needs, and gives the same logits."""
    model = network()
    randomize_weights(model)
    names = {layer.name for layer in model.logits_model.layers}
    assert not names & {"embedding_conv", "unit_vectors", "embedding", "coarse_logits"}
    images = tiny.images(32, 64, batch=1)
    expected = tiny.outputs(model, images)["logits"]
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-6)


def test_inspect_shows_offsets_masks_and_attention():
    """For each upsampling the offsets before and after the mask, and the mask; both attentions."""
    model = network()
    randomize_weights(model)
    seen = model.inspect(tiny.images(64, 96, batch=1))
    for level, size in (("p4", (4, 6)), ("p3", (8, 12)), ("p2", (16, 24))):
        for field, channels in zip(FIELDS, (2, 2, 9), strict=True):
            assert seen[f"{field}_{level}"].shape == (1, *size, channels)
        np.testing.assert_allclose(seen[f"offset_weights_{level}"].sum(-1), 1.0, atol=1e-5)
    assert seen["channel_attention"].shape == (1, 12, 12)
    assert seen["spatial_attention"].shape == (1, 6, 6)
    assert seen["unary_attention"].shape == (1, 2, 3, 1)
    assert {"context", "decoded", "logits"} <= set(seen)


# Parameters


def test_trainable_parameters_of_the_decoder():
    """Section 5: CRM, laterals, SRMs, the 3x3 convolution, classifier, embedding; by hand."""
    channels = (64, 128, 320, 512)
    images = keras.Input((None, None, 3))
    x, pyramid = keras.layers.ZeroPadding2D(0)(images), {}
    for level, stride, c in zip(("P2", "P3", "P4", "P5"), (4, 2, 2, 2), channels, strict=True):
        x = pyramid[level] = keras.layers.Conv2D(c, 1, strides=stride, name=level)(x)
    backbone = keras.Model(images, pyramid)
    model = models.SCRNet(19, backbone)

    def count(*prefixes: str) -> int:
        weights = (w for layer in model.layers for w in layer.trainable_weights)
        return sum(int(np.prod(w.shape)) for w in weights if w.path.startswith(prefixes))

    inner = 256
    crm = 1024 * 512 + 2 * 512  # reduction and its norm
    crm += 1 + 3 * (512 * inner + inner) + (512 + 1) + inner * 512 + 2 * 512
    srm = 256 * 64 + 2 * 64 + 9 * 64 * 2 + 2 + 9 * 64 * 9 + 9
    assert count("context") == crm == 1_051_906
    assert count("lateral") == sum(c * 128 for c in (512, 320, 128, 64)) + 4 * 2 * 128 == 132_096
    assert count("srm") == 3 * srm == 68_577
    assert count("smooth") == 9 * 128 * 128 + 2 * 128 == 147_712
    assert count("classifier") == 2451
    assert count("embedding") == 33_024
    whole = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    encoder = sum(int(np.prod(w.shape)) for w in backbone.trainable_weights)
    # With the 13,450,176 of MSCAN-S: 14,885,942 in all, 14,852,918 without the embedding.
    assert whole - encoder == 1_435_766


# Switches


@pytest.mark.parametrize(
    ("options", "fields", "attention"),
    [
        ({"context": "none", "upsampling": "bilinear", "contrast_weight": 0.0}, (), set()),
        ({"context": "pyramid_pooling", "upsampling": "fam"}, ("offsets",), set()),
        (
            {"context": "spatial_channel", "upsampling": "align_fa"},
            ("offsets",),
            ATTENTION,
        ),
        ({"context": "channel", "offset_mask": "sigmoid"}, FIELDS, {"channel_attention"}),
        (
            {"context": "parallel", "channel_attention": "squeeze_excite", "offset_mask": None},
            ("offsets",),
            {"spatial_attention", "unary_attention"},
        ),
    ],
    ids=["all off", "ppm and fam", "swapped and align_fa", "channel, sigmoid", "se, no mask"],
)
def test_switches(options: dict[str, Any], fields: tuple[str, ...], attention: set[str]):
    """Item 23: each variant trains a step and has what it should have."""
    model = network(**options)
    names = {f"{field}_{level}" for field in fields for level in ("p4", "p3", "p2")}
    signals = set(model._plain.signals)
    assert signals == names | attention | {"context", "decoded"}
    contrast = "contrast_weight" not in options
    assert set(model.output) == {"logits"} | ({"coarse_logits", "embedding"} if contrast else set())
    model.compile(keras.optimizers.SGD(0.1))
    before = model.get_weights()
    images, masks = tiny.images(32, 64), tiny.masks(32, 64)
    logs = model.train_on_batch(images, masks, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    assert ("contrast" in logs) == contrast
    changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert np.mean(changed) > 0.6  # gradients of what starts as the identity come later


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "crm"}, "context must be one of"),
        ({"contrast_weight": -0.1}, "contrast_weight and contrast_warmup must be 0 or more"),
        ({"upsampling": "nearest"}, "upsampling must be one of"),
        ({"backbone": "mscan_xl"}, "No backbone is named 'mscan_xl'"),
    ],
)
def test_wrong_arguments_are_told(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        network(**options)


# Numbers


def test_mixed_precision(mixed_precision: str):
    """Float32 for offsets, attention, embedding and logits; half precision around them."""
    model = network()
    images = tiny.images(32, 64)
    outputs = compiled(lambda x: model(x))(images)
    dtypes = {n: keras.backend.standardize_dtype(v.dtype) for n, v in outputs.items()}
    assert dtypes == dict.fromkeys(("logits", "coarse_logits", "embedding"), "float32")
    halves = {layer.name for layer in model.layers if layer.compute_dtype == mixed_precision}
    assert {"context", "srm_p2", "classifier"} <= halves
    seen = model.inspect(images)
    for name in ("offsets_p2", "offset_weights_p2", "spatial_attention", "channel_attention"):
        assert seen[name].dtype == "float32"


def test_a_clone_takes_all_weights():
    """The counter of the warm-up is one of them."""
    model = network(contrast_warmup=2)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    images = tiny.images(32, 64)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(clone.predict(images, verbose=0)["logits"], expected, atol=1e-6)


def test_a_saved_network_goes_on_counting_steps(tmp_path: Path):
    """Item 22: the warm-up of the contrastive term ends where it would have."""
    model = network(contrast_warmup=2)
    model.compile()
    images, masks = tiny.images(32, 64), tiny.masks(32, 64)
    model.fit(images, masks, epochs=1, verbose=0)
    model.save(tmp_path / "scrnet.keras")
    loaded = keras.saving.load_model(tmp_path / "scrnet.keras")
    assert int(to_numpy(loaded.steps)) == 1
    history = loaded.fit(images, masks, epochs=2, verbose=0).history["contrast"]
    assert history[0] == 0 and history[1] > 0
