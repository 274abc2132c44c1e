"""Weights from PyTorch, and agreement with an independent PyTorch network. Item 28."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from keras_focusseg import models
from keras_focusseg.models.fornet_torch import load_torch_weights
from tests.models import tiny, torch_reference
from tests.testers import outputs_and_gradients, to_numpy

TOLERANCE = 1e-4
State = dict[str, np.ndarray]
WATCHED = {
    "stem.0.weight": "conv1",
    "layer4.1.conv2.weight": "layer4_1_conv2",
    "trans.1.weight": "transition/norm",
    "selector.head.weight": "selector_logits",
    "context.psi.0.weight": "context_squeeze",
    "branches.0.1.bias": "branch0/norm",
    "branches.3.0.weight": "branch3/conv",
    "decoder.0.0.weight": "decoder0/conv",
    "classifier.bias": "classifier",
}


def network(depth: int = 18, num_classes: int = 4, **options: Any) -> models.FoRNet:
    options = {"filters": 16, "low_level_filters": 12, **options}
    return models.FoRNet(num_classes, f"resnet{depth}", **options)


def reference(depth: int = 18, num_classes: int = 4) -> torch_reference.Reference:
    return torch_reference.randomized(num_classes=num_classes, depth=depth, channels=16, low=12)


def state_of(network: torch_reference.Reference) -> State:
    return {key: value.numpy().copy() for key, value in network.state_dict().items()}


def variable(model: models.FoRNet, key: str) -> keras.Variable:
    """The weight of ours that belongs to a key of the reference."""
    (name, _, inside), kind = WATCHED[key].partition("/"), key.split(".")[-1]
    home = model if name in {layer.name for layer in model.layers} else model.backbone
    layer = getattr(home.get_layer(name), inside) if inside else home.get_layer(name)
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.gamma if kind == "weight" else layer.beta
    return layer.kernel if kind == "weight" else layer.bias


def channels_last(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 2, 3, 1)


def assert_agree(found: np.ndarray, expected: np.ndarray, what: str, tolerance: float) -> None:
    """Largest difference, relative to the largest value."""
    assert found.shape == expected.shape, what
    scale = np.abs(expected).max()
    assert scale > 1e-6, f"{what} is dead: the comparison would mean nothing"
    assert np.abs(found - expected).max() / scale <= tolerance, what


@pytest.mark.parametrize("training", [False, pytest.param(True, marks=pytest.mark.each_backend)])
def test_outputs_losses_and_gradients_agree(training: bool):
    """Logits, z, masks, the three losses, and slopes of the total, also with batch statistics."""
    theirs, ours = reference(), network()
    load_torch_weights(ours, theirs.state_dict())
    images, labels = tiny.images(), tiny.masks()

    theirs.train(training)
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2))
    logits, z, masks = theirs(pixels)
    expected = torch_reference.losses(logits, z, labels)
    total = expected["cross_entropy"] + expected["dice"] + 0.5 * expected["selector"]
    parameters = dict(theirs.named_parameters())
    slopes = torch.autograd.grad(total, [parameters[key] for key in WATCHED])

    def loss(outputs: dict[str, Any]) -> Any:
        weights = ours.loss_term_weights()
        terms = ours.loss_terms(labels, outputs)
        return sum(weights[name] * value for name, value in terms.items())

    weights = [variable(ours, key) for key in WATCHED]
    outputs, gradients = outputs_and_gradients(ours, loss, images, weights, training)

    assert_agree(outputs["logits"], channels_last(logits.detach().numpy()), "logits", TOLERANCE)
    assert_agree(outputs["selector_logits"], channels_last(z.detach().numpy()), "z", TOLERANCE)
    np.testing.assert_array_equal(outputs["masks"], channels_last(masks.numpy()))
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, outputs)
    terms = to_numpy(ours.loss_terms(labels, tensors))
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=TOLERANCE), name
    for key, slope, gradient in zip(WATCHED, slopes, gradients, strict=True):
        slope = slope.numpy()
        slope = slope.transpose(2, 3, 1, 0) if slope.ndim == 4 else slope
        # Batch statistics and kinks of ReLU magnify rounding on the way back to the stem.
        assert_agree(gradient, slope, key, 100 * TOLERANCE if training else TOLERANCE)


def test_bottlenecks_agree():
    """Depth 50, of the released model's kind; outputs only."""
    theirs, ours = reference(depth=50), network(depth=50)
    load_torch_weights(ours, state_of(theirs))
    images = tiny.images(batch=1)
    with torch.no_grad():
        logits, z, masks = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    outputs = tiny.outputs(ours, images)
    assert_agree(outputs["logits"], channels_last(logits.numpy()), "logits", TOLERANCE)
    assert_agree(outputs["selector_logits"], channels_last(z.numpy()), "z", TOLERANCE)
    np.testing.assert_array_equal(outputs["masks"], channels_last(masks.numpy()))


# From here on: the converter.


@pytest.fixture(scope="module")
def state() -> State:
    return state_of(reference())


@pytest.fixture(scope="module")
def model() -> models.FoRNet:
    """A network to load into; no test relies on the weights that an earlier one left."""
    return network()


def assert_loaded(model: models.FoRNet, state: State) -> None:
    """Every array of the checkpoint is in the model, as often as it is there."""
    held = [np.sort(weight, axis=None) for weight in model.get_weights()]
    wanted = [np.sort(v, axis=None) for k, v in state.items() if "num_batches" not in k]
    assert len(held) == len(wanted)
    for array in wanted:
        assert any(np.array_equal(array, other) for other in held)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files(model: models.FoRNet, state: State, suffix: str, tmp_path: Path):
    path = tmp_path / f"fornet{suffix}"
    if suffix == ".pth":
        torch.save({key: torch.from_numpy(value) for key, value in state.items()}, path)
    else:
        save_file(state, path)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    load_torch_weights(model, path)
    assert_loaded(model, state)


def test_a_network_without_context(state: State):
    kept = {key: value for key, value in state.items() if not key.startswith("context.")}
    model = network(context_filters=0)
    load_torch_weights(model, kept)
    assert_loaded(model, kept)
    with pytest.raises(ValueError, match=r"left over: context\.psi\.0\.weight"):
        load_torch_weights(model, state)


def drop(state: State) -> None:
    del state["branches.2.1.running_var"]


def add(state: State) -> None:
    state["aux.weight"] = np.zeros(3, "float32")


def narrow(state: State) -> None:
    state["classifier.weight"] = state["classifier.weight"][:3]


def spoil(state: State) -> None:
    state["selector.head.bias"] = np.full(1, np.inf, "float32")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"missing: branches\.2\.1\.running_var"),
        (add, r"left over: aux\.weight"),
        (narrow, r"of another shape: classifier\.weight \(1, 1, 16, 3\) for \(1, 1, 16, 4\)"),
        (spoil, r"not finite: selector\.head\.bias"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_key_and_changes_nothing(
    model: models.FoRNet, state: State, change: Callable[[State], None], message: str
):
    before = model.get_weights()
    changed = dict(state)
    change(changed)
    with pytest.raises(ValueError, match=message):
        load_torch_weights(model, changed)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_models_that_no_checkpoint_fits_are_told(state: State, tmp_path: Path):
    with pytest.raises(ValueError, match="the backbone of this model is a Functional"):
        load_torch_weights(tiny.network(), state)
    with pytest.raises(ValueError, match="built with a neck.*neck_p5/conv/kernel"):
        load_torch_weights(network(neck="fpn"), state)
    with pytest.raises(FileNotFoundError, match="No weights file"):
        load_torch_weights(network(), tmp_path / "absent.pth")
