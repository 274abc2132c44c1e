"""MSCAN and VAN: structure, parity with independent networks, training, checkpoints."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_focusseg import backbones
from keras_focusseg.backbones import builder, checkpoints, large_kernel
from keras_focusseg.backbones.mscan import MSCAN, MSCAN_SIZES
from keras_focusseg.backbones.van import VAN, VAN_SIZES
from tests.backbones import references
from tests.testers import (
    GOLDEN,
    assert_matches_golden,
    check_config_round_trip,
    randomize_weights,
    to_numpy,
)

COUNTS = {
    "mscan_t": 3_903_584,
    "mscan_s": 13_450_176,
    "mscan_b": 26_277_824,
    "mscan_l": 44_636_864,
    "van_b0": 3_848_800,
    "van_b1": 13_348_800,
    "van_b2": 26_065_472,
    "van_b3": 44_252_608,
}
# Too large to be built in a test.
LARGER = {"van_b4": 59_770_176, "van_b5": 89_198_688, "van_b6": 199_060_416}
TINY: dict[str, Any] = {
    "channels": (8, 8, 16, 24),
    "depths": (1, 1, 2, 1),
    "mlp_ratios": (2, 2, 2, 2),
}
KINDS = {"mscan": MSCAN, "van": VAN}
kinds = pytest.mark.parametrize("kind", KINDS)


def tiny(kind: str, **options: Any) -> large_kernel.LargeKernelBackbone:
    return KINDS[kind](**{**TINY, **options})


def parameters_by_hand(name: str) -> int:
    """Number of trainable parameters, added up without any network."""
    size = (MSCAN_SIZES | VAN_SIZES)[name]
    strips = 2 * (7 + 11 + 21) + 6
    total, before = 0, 3
    stages = zip(size["channels"], size["depths"], (8, 8, 4, 4), strict=True)
    for stage, (c, depth, ratio) in enumerate(stages):
        window = strips if name.startswith("mscan") else 49 + 1
        attention = 26 * c + window * c + 3 * (c * c + c)
        hidden = ratio * c
        mlp = c * hidden + hidden + 10 * hidden + hidden * c + c
        total += depth * (attention + mlp + 2 * 2 * c + 2 * c)
        half = c // 2
        if stage == 0 and name.startswith("mscan"):
            total += 27 * half + half + 2 * half + 9 * half * c
        else:
            total += (49 if stage == 0 else 9) * before * c
        total += c + 2 * c + 2 * c  # the convolution's bias, batch norm, layer norm
        before = c
    return total


@pytest.fixture
def kernels_start_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks build faster: on JAX each shape of random kernel compiles anew."""
    for module in (builder, large_kernel):
        monkeypatch.setattr(module, "normal_by_fan_out", keras.initializers.Zeros)


@pytest.mark.usefixtures("kernels_start_at_zero")
@pytest.mark.parametrize("name", ["mscan_t", "mscan_l", "van_b0", "van_b3"])  # the extremes
def test_trainable_parameters_strides_and_channels(name: str) -> None:
    model = backbones.build(name)
    assert model.name == name
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == COUNTS[name]
    wide = name not in ("mscan_t", "van_b0")
    channels = (64, 128, 320, 512) if wide else (32, 64, 160, 256)
    assert tuple(model.pyramid_channels.values()) == channels
    assert model.pyramid_strides == {"P2": 4, "P3": 8, "P4": 16, "P5": 32}
    assert model.drop_path_rate == (0.3 if name in ("mscan_l", "van_b3") else 0.1)


def test_parameters_of_all_sizes() -> None:
    """By the formula that gives the counts of those that are built."""
    for name, count in (COUNTS | LARGER).items():
        assert parameters_by_hand(name) == count, name
    assert set(LARGER) | set(COUNTS) == {n for n in backbones.names() if n[:3] in ("msc", "van")}


@kinds
def test_layers_are_those_of_the_papers(kind: str) -> None:
    model = tiny(kind, drop_path_rate=0.4)
    layers = keras.layers
    scales = [x for x in model.layers if isinstance(x, large_kernel.LayerScale)]
    assert len(scales) == 2 * 5
    for scale in scales:
        np.testing.assert_allclose(to_numpy(scale.scale), 0.01)
    # Linear from 0 over the five blocks, both branches alike; without a rate there is no layer.
    drops = [(x.name, x.rate) for x in model.layers if isinstance(x, layers.Dropout)]
    blocks = ("block2_0", "block3_0", "block3_1", "block4_0")
    assert [name for name, _ in drops] == [
        f"{block}_layer_scale_{branch}_drop_path" for block in blocks for branch in (1, 2)
    ]
    np.testing.assert_allclose([rate for _, rate in drops], np.repeat([0.1, 0.2, 0.3, 0.4], 2))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)
        if isinstance(layer, layers.LayerNormalization):
            assert layer.epsilon == 1e-5
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
            assert layer.use_bias
    # Normal with variance 2 / fan_out, of a group where there are groups.
    wide = model.get_layer("block4_0_mlp_fc1").get_weights()[0]
    deep = model.get_layer("block4_0_attn_spatial_gating_unit_conv0").get_weights()[0]
    np.testing.assert_allclose(wide.std(), np.sqrt(2 / 48), rtol=0.1)
    np.testing.assert_allclose(deep.std(), np.sqrt(2 / 25), rtol=0.15)


@pytest.mark.parametrize(("kind", "last", "span"), [("mscan", "sum", 25), ("van", "spatial", 23)])
def test_receptive_field_of_the_attention(kind: str, last: str, span: int) -> None:
    model = tiny(kind)
    unit = "block1_0_attn_spatial_gating_unit"
    end = f"{unit}_sum" if last == "sum" else f"{unit}_conv_spatial"
    attention = keras.Model(model.get_layer(f"{unit}_conv0").input, model.get_layer(end).output)
    for layer in attention.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([np.ones_like(kernel), np.zeros_like(bias)])
    impulse = np.zeros((1, 41, 41, 8), "float32")
    impulse[0, 20, 20] = 1
    response = references.run(attention, impulse)[0, :, :, 0]
    rows, columns = np.nonzero(response)
    half = span // 2
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (20 - half, 20 + half)
    # Each pixel of the 5x5 window is spread over what follows it.
    spread = 49 if kind == "van" else 1 + 7**2 + 11**2 + 21**2
    assert response.sum() == 25 * spread


@pytest.mark.usefixtures("kernels_start_at_zero")
@pytest.mark.each_backend
@kinds
def test_branches_are_dropped_sample_by_sample_in_training_only(kind: str) -> None:
    drop = tiny(kind, drop_path_rate=0.5).get_layer("block4_0_layer_scale_1_drop_path")
    x = keras.ops.ones((64, 2, 3, 4))
    np.testing.assert_array_equal(to_numpy(drop(x, training=False)), 1.0)
    first, second = (to_numpy(drop(x, training=True)) for _ in range(2))
    kept = first[:, 0, 0, 0]
    np.testing.assert_array_equal(first, np.broadcast_to(kept[:, None, None, None], x.shape))
    assert set(kept) == {0.0, 2.0}
    assert 16 < np.count_nonzero(kept) < 48
    assert not np.array_equal(first, second)


def golden_run(kind: str) -> references.Arrays:
    """What every backend, and every precision, must give alike."""
    model = tiny(kind)
    randomize_weights(model)
    outputs = references.run(model, references.noise(33, 47))
    return {level: np.asarray(x, "float32") for level, x in outputs.items()}


@pytest.mark.each_backend
@kinds
def test_same_weights_same_pyramid_on_every_backend(kind: str) -> None:
    assert_matches_golden(f"backbone_{kind}_tiny", golden_run(kind))


@pytest.mark.each_backend
def test_mixed_precision_normalises_in_float32(mixed_precision: str) -> None:
    mixed = tiny("mscan")
    assert mixed.get_layer("rescaling").compute_dtype == "float32"
    assert {x.dtype for x in mixed.output.values()} == {mixed_precision}
    assert {w.dtype for w in mixed.trainable_weights} == {"float32"}
    with np.load(GOLDEN / "backbone_mscan_tiny.npz", allow_pickle=False) as full:
        references.assert_close(golden_run("mscan"), dict(full), 0.1)


@pytest.mark.each_backend
@kinds
def test_fit_moves_every_weight(kind: str) -> None:
    backbone = tiny(kind, depths=(1, 1, 1, 1), drop_path_rate=0.3)
    images = keras.Input((None, None, 3))
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in backbone(images).values()]
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Concatenate()(pooled)))
    model.compile(keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError())
    before = {w.path: to_numpy(w) for w in backbone.weights}
    history = model.fit(references.noise(33, 40, batch=4), np.eye(4, 2), batch_size=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    # A bias in front of a batch norm has no gradient of its own.
    still = [w.path for w in backbone.weights if np.array_equal(before[w.path], to_numpy(w))]
    assert all(path.endswith("bias") for path in still), still


@kinds
def test_config_round_trip(kind: str) -> None:
    model = tiny(
        kind,
        drop_path_rate=0.25,
        layer_norm_epsilon=1e-6,
        include_rescaling=False,
        batch_norm_momentum=0.97,
        dtype="mixed_bfloat16",
        name="mine",
        trainable=False,
    )
    copy = check_config_round_trip(model)
    assert copy.name == "mine"
    assert copy.pyramid_channels == {"P2": 8, "P3": 8, "P4": 16, "P5": 24}
    assert not copy.trainable_weights
    assert not any(layer.name == "rescaling" for layer in copy.layers)
    assert copy.get_layer("block4_0_layer_scale_2_drop_path").rate == 0.25
    assert copy.get_layer("norm3").epsilon == 1e-6
    assert copy.get_layer("patch_embed2_norm").momentum == 0.97
    assert copy.get_layer("patch_embed2_norm").compute_dtype == "bfloat16"


@kinds
def test_wrong_options(kind: str) -> None:
    for stride in (8, 16, 4):
        message = rf"output_stride must be 32 for {kind}, received {stride}.*neck='fpn'"
        with pytest.raises(ValueError, match=message):
            tiny(kind, output_stride=stride)
    with pytest.raises(ValueError, match=r"depths must be 4 positive .* received \(1, 1, 1\)"):
        tiny(kind, depths=(1, 1, 1))
    with pytest.raises(ValueError, match=r"channels must be 4 positive .* \(8, 0, 8, 8\)"):
        tiny(kind, channels=(8, 0, 8, 8))
    with pytest.raises(ValueError, match=r"drop_path_rate must be in \[0, 1\), received 1"):
        tiny(kind, drop_path_rate=1)


# From here on: checkpoints.


def save_as_mmsegmentation(state: references.Arrays, folder: Path) -> Path:
    """A whole SegNeXt of mmsegmentation: its prefix, its one renaming, a decoder."""
    import torch

    named = {f"backbone.{key.replace('.dwconv.dwconv.', '.dwconv.')}": state[key] for key in state}
    named["decode_head.conv_seg.weight"] = np.zeros((19, 8, 1, 1), "float32")
    named["backbone.block1.0.norm1.num_batches_tracked"] = np.array(160_000)
    tensors = {key: torch.from_numpy(array) for key, array in named.items()}
    torch.save({"meta": {"CLASSES": ("road",)}, "state_dict": tensors}, folder / "segnext.pth")
    return folder / "segnext.pth"


def save_as_classifier(state: references.Arrays, folder: Path) -> Path:
    """What timm's training loop leaves of a VAN: the run's options, a classifier."""
    import torch

    tensors = {key: torch.from_numpy(array) for key, array in state.items()}
    tensors["head.weight"], tensors["head.bias"] = torch.zeros((10, 8)), torch.zeros(10)
    run = {"epoch": 300, "arch": "van", "args": argparse.Namespace(lr=1e-3, model="van")}
    torch.save({**run, "state_dict": tensors}, folder / "van.pth.tar")
    return folder / "van.pth.tar"


@pytest.mark.usefixtures("kernels_start_at_zero")
@pytest.mark.parametrize(
    ("name", "save"), [("mscan_t", save_as_mmsegmentation), ("van_b0", save_as_classifier)]
)
def test_parity_with_an_independent_network(
    name: str, save: Callable[[references.Arrays, Path], Path], tmp_path: Path
) -> None:
    kind, size = name.split("_")[0], references.LARGE_KERNEL_SIZES[name]
    state = references.large_kernel_state(kind, **size)
    model = backbones.build(name, weights=save(state, tmp_path))
    images = references.noise(97, 131)
    expected = references.torch_large_kernel(kind, state, size["depths"], images)
    found = references.run(model, images)
    references.assert_close(found, expected)
    assert list(found) == ["P2", "P3", "P4", "P5"]
    for level, stride in model.pyramid_strides.items():
        assert found[level].shape[1:3] == (-(-97 // stride), -(-131 // stride))


@pytest.fixture
def state() -> references.Arrays:
    return references.large_kernel_state("mscan", **TINY)


def test_epsilon_and_the_authors_own_names(state: references.Arrays, tmp_path: Path) -> None:
    save_file(state, tmp_path / "mscan.safetensors")
    # A value at which the epsilon shows.
    model = tiny("mscan", layer_norm_epsilon=0.3)
    backbones.load_weights(model, tmp_path / "mscan.safetensors")
    images = references.noise(33, 47)
    expected = references.torch_large_kernel("mscan", state, TINY["depths"], images, epsilon=0.3)
    references.assert_close(references.run(model, images), expected)


def drop_scale(state: references.Arrays) -> None:
    del state["block3.1.layer_scale_2"]


def add_surplus(state: references.Arrays) -> None:
    state["block1.1.norm1.weight"] = np.zeros(8, "float32")


def widen(state: references.Arrays) -> None:
    key = "block2.0.attn.spatial_gating_unit.conv2_1.weight"
    state[key] = np.zeros((8, 8, 1, 21), "float32")


def exchange(state: references.Arrays) -> None:
    unit = "block4.0.attn.spatial_gating_unit.conv0"
    row, column = state[f"{unit}_1.weight"], state[f"{unit}_2.weight"]
    state[f"{unit}_1.weight"], state[f"{unit}_2.weight"] = column, row


def rename_all(state: references.Arrays) -> None:
    for key in list(state):
        state[f"encoder.{key}"] = state.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_scale, "missing: block3.1.layer_scale_2"),
        (add_surplus, "left over: block1.1.norm1.weight"),
        (widen, "of another shape: block2.0.attn.spatial_gating_unit.conv2_1.weight"),
        (exchange, "of another shape: block4.0.attn.spatial_gating_unit.conv0_1.weight"),
        (rename_all, r"missing: patch_embed1.proj.0.weight,.* and 210 more; left over: encoder"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_key_and_changes_nothing(
    state: references.Arrays,
    change: Callable[[references.Arrays], None],
    message: str,
    tmp_path: Path,
) -> None:
    change(state)
    save_file(state, tmp_path / "model.safetensors")
    model = tiny("mscan")
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        backbones.load_weights(model, tmp_path / "model.safetensors")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.usefixtures("kernels_start_at_zero")
def test_imagenet_is_known_for_van_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def fetch(source: str) -> Path:
        seen.append(source)
        raise ConnectionError

    monkeypatch.setattr(checkpoints, "fetch", fetch)
    with pytest.raises(ConnectionError):
        backbones.build("van_b0", weights="imagenet")
    assert seen == ["hf://Visual-Attention-Network/VAN-Tiny-original/van_tiny_754.pth.tar"]
    with pytest.raises(ValueError, match="known for van_b0, van_b1, van_b2, van_b3, not for a VAN"):
        backbones.load_weights(tiny("van"), "imagenet")
    with pytest.raises(ValueError, match="by name. Download https://.*/mscan_t_.*pass the path"):
        backbones.build("mscan_t", weights="imagenet")
