"""What every network must do, for all of them: one tester, the networks as its arguments.

What a paper alone asks for is in the files named after the networks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_focusseg import backbones, models
from tests.models import tiny
from tests.models.test_scrnet import network as scrnet
from tests.models.test_sernet_former_parts import gated_backbone
from tests.models.test_sernet_former_parts import network as sernet_former
from tests.testers import (
    PICTURE,
    assert_matches_golden,
    check_network,
    randomize_weights,
    reload_in_new_process,
    tiny_fornet,
)

Build = Callable[..., models.Segmenter]
NETWORKS: dict[str, Build] = {
    "fornet": partial(tiny_fornet, 4),
    "scrnet": scrnet,
    "sernet_former": sernet_former,
}
POLICY = "mixed_bfloat16"

# Another value of each argument; arguments that say how wide a part is go together.
SWITCHES: dict[str, tuple[type[models.Segmenter], list[dict[str, Any]]]] = {
    "fornet": (
        models.FoRNet,
        [
            {
                "output_stride": 16,
                "filters": 12,
                "selector_filters": 5,
                "context_filters": 0,
                "low_level_filters": 7,
                "decoder_filters": 9,
                "dice_weight": 0.5,
                "selector_weight": 0.25,
                "boundary_band": 1,
                "boundary_decay": 0.25,
                "class_weights": [1.0, 2.0, 3.0],
                "ignore_class": None,
                "backbone_options": {"alpha": 0.5},
                "name": "other",
            },
            {"neck": "fpn"},
            {"kernel_sizes": [1, 5], "dilation_rates": [1, 2], "ratios": [0.2, 0.5]},
            {"dtype": POLICY, "filters": 8},
        ],
    ),
    "scrnet": (
        models.SCRNet,
        [
            {
                "output_stride": 16,
                "filters": 12,
                "context_filters": 6,
                "offset_filters": 5,
                "dropout": 0.0,
                "embedding_filters": 4,
                "contrast_weight": 0.2,
                "contrast_warmup": 3,
                "temperature": 0.5,
                "max_samples": 7,
                "max_views": 3,
                "class_weights": [1.0, 2.0, 3.0],
                "ignore_class": 2,
                "backbone_options": {"alpha": 0.5},
                "name": "other",
            },
            {"context": "none", "upsampling": "bilinear", "contrast_weight": 0.0},
            {"context": "pyramid_pooling", "upsampling": "fam"},
            {"context": "spatial_channel", "upsampling": "align_fa"},
            {"context": "parallel", "channel_attention": "squeeze_excite", "pooling": "max"},
            {"context": "channel", "offset_mask": None, "offset_padding": "zeros"},
            {"context": "spatial", "offset_mask": "sigmoid"},
            {"dtype": POLICY},
        ],
    ),
    "sernet_former": (
        models.SERNetFormer,
        [
            {
                "output_stride": 8,
                "dilate_backbone": False,
                "bridge_filters": 12,
                "bridge_dilation_rates": [2, 3],
                "skip_filters": 6,
                "decoder_filters": 10,
                "class_weights": [1.0, 2.0, 3.0],
                "ignore_class": None,
                "backbone_options": {"alpha": 0.5},
                "name": "other",
            },
            {"attention_boosting": False, "bridge_merge": "concat"},
            {"bridge": False, "afn1": False},
            {"afn2": False, "bridge_separable": True},
            {"afn2_after_resize": True, "dtype": POLICY},
        ],
    ),
}
SMALL = {
    "fornet": {"filters": 8, "low_level_filters": 4},
    "scrnet": {"filters": 8, "context_filters": 8, "embedding_filters": 4},
    "sernet_former": {"bridge_filters": 8, "skip_filters": 4, "decoder_filters": 8},
}


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name in SWITCHES for i in range(len(SWITCHES[name][1]))]
)
def test_config_round_trip_over_every_switch(
    name: str, number: int, monkeypatch: pytest.MonkeyPatch
):
    """What was given is in the configuration as plain values, and builds the same network."""
    made = sernet_backbone if name == "sernet_former" else lambda **options: tiny.backbone()
    monkeypatch.setitem(backbones._CONSTRUCTORS, "mobilenet_v2", made)
    network, switches = SWITCHES[name]
    options = {**SMALL[name], **switches[number]}
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    model = network(3, "mobilenet_v2", **given)
    config = model.get_config()
    assert {key: config[key] for key in options} == options
    assert config["backbone"] == "mobilenet_v2" and config["num_classes"] == 3
    assert "backbone_weights" not in config
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert type(copy) is network
    assert copy.get_config() == config
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    assert [w.dtype for w in copy.weights] == [w.dtype for w in model.weights]


def sernet_backbone(attention_boosting: bool = False, **options: Any) -> keras.Model:
    return gated_backbone(4) if attention_boosting else tiny.backbone(4, (4, 2, 2, 1))


@pytest.mark.backend_free
def test_every_argument_has_another_value_somewhere():
    for name, (network, switches) in SWITCHES.items():
        names = set(inspect.signature(network).parameters)
        names -= {"num_classes", "backbone", "backbone_weights"}
        assert names == {key for switch in switches for key in switch}, name


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, tmp_path: Path):
    """The tester over all networks."""
    check_network(NETWORKS[name], tmp_path)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="JAX compiles every step by XLA, PyTorch none",
)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_compiled_by_xla_is_the_plain_one(name: str):
    """Of a fixed crop; the second loss is that of the weights after the first step."""
    # XLA draws other anchors for SCRNet's contrast, and drops other channels.
    drawn = {"contrast_weight": 0.0, "dropout": 0.0} if name == "scrnet" else {}
    logs = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = NETWORKS[name](**drawn)
        model.compile(keras.optimizers.SGD(0.01), metrics=[], jit_compile=jit_compile)
        given = {"batch_size": 2, "epochs": 2, "verbose": 0}
        logs.append(model.fit(tiny.images(64, 64), tiny.masks(64, 64), **given).history)
    plain, compiled = logs
    assert set(compiled) == set(plain)
    for term, values in plain.items():
        assert values[0] != values[1]
        np.testing.assert_allclose(compiled[term], values, rtol=1e-4, err_msg=term)


@pytest.mark.backend_free
def test_networks_come_back_in_a_new_process(tmp_path: Path):
    """That imports the package alone, with the same outputs to the bit."""
    expected = {}
    for name, build in NETWORKS.items():
        for policy in ("float32", POLICY):
            model = build(dtype=policy)
            randomize_weights(model)
            model.compile()
            path = tmp_path / f"{name}_{policy}.keras"
            model.save(path)
            expected[path] = tiny.outputs(model, PICTURE)
    found = reload_in_new_process(list(expected), PICTURE, tmp_path)
    for (path, values), outputs in zip(expected.items(), found, strict=True):
        assert set(outputs) == set(values)
        for name, value in values.items():
            np.testing.assert_array_equal(outputs[name], value, err_msg=f"{path.stem}: {name}")


@pytest.mark.backend_free
def test_the_policy_in_force_is_stored(mixed_precision: str):
    for build in NETWORKS.values():
        model = build()
        keras.config.set_dtype_policy("float32")
        copy = type(model).from_config(model.get_config())
        keras.config.set_dtype_policy(POLICY)
        assert model.dtype_policy.name == copy.dtype_policy.name == POLICY


@pytest.mark.parametrize("name", NETWORKS)
def test_backends_agree(name: str):
    """With a backbone by name, the same weights give the same outputs on every backend."""
    model, few = GOLDEN[name]()
    assert_matches_golden(f"{name}_resnet18", few(model, tiny.images(40, 56, batch=1)))


def golden_fornet() -> Any:
    model = models.FoRNet(3, "resnet18", filters=16, low_level_filters=8)
    randomize_weights(model)
    return model, tiny.outputs


def golden_scrnet() -> Any:
    model = scrnet(backbone="resnet18", num_classes=3)
    randomize_weights(model, scale=0.7)
    return model, tiny.outputs


def golden_sernet_former() -> Any:
    model = models.SERNetFormer(
        3, "resnet18", bridge_filters=16, bridge_dilation_rates=(1, 2, 3), decoder_filters=16
    )
    randomize_weights(model)

    def few(model: models.Segmenter, images: np.ndarray) -> tiny.Arrays:
        signals = model.inspect(images)
        found = {name: signals[name][..., ::16] for name in ("bridge", "afn1", "gate5", "boost5")}
        return {**found, "logits": signals["logits"][:, ::2, ::2]}

    return model, few


GOLDEN = {
    "fornet": golden_fornet,
    "scrnet": golden_scrnet,
    "sernet_former": golden_sernet_former,
}
