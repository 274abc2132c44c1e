"""FoR-Net's weights from a PyTorch checkpoint with the names of the authors' released model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_focusseg.backbones import ResNet, checkpoints
from keras_focusseg.backbones.resnet import torchvision_variables
from keras_focusseg.models.fornet import FoRNet

# PyTorch's counter of batches plays no part at a fixed momentum.
_LEFT_ASIDE = re.compile(r".*\.num_batches_tracked")


def load_torch_weights(model: FoRNet, source: str | os.PathLike[str] | Mapping[str, Any]) -> None:
    """Loads a PyTorch state dict of FoR-Net; every weight is set, or none.

    The names are those of the authors' model: `stem.0`, `stem.1`, `layer1` to `layer4` as in
    torchvision, `trans`, `selector.body`, `selector.head`, `context.psi`, `branches.0` ...,
    `low_proj`, `decoder.0`, `decoder.1`, `classifier`. Images were normalised with ImageNet's
    means and deviations there, which the backbone does here.

    Args:
        model: A FoR-Net with a ResNet and without neck, changed in place. Its arguments must be
            those of the checkpoint's model; kernel sizes and channels are checked, dilations and
            ratios leave no trace in a checkpoint.
        source: Path of a `.safetensors`, `.pth`, `.pt` or `.bin` file that holds a plain state
            dict, `hf://owner/repo[/file][@revision]`, or a mapping of names to arrays.

    Raises:
        ValueError: The model is no such FoR-Net, a key is missing or left over, a shape differs,
            a value is not finite, or the file is not a plain state dict.
        FileNotFoundError: There is no such file.
        ImportError: A package needed to read the source is not installed.
        ConnectionError: An `hf://` source cannot be downloaded.

    Example:
        ```python
        model = models.FoRNet(num_classes=19)
        load_torch_weights(model, "fornet.pth")
        ```
    """
    if not isinstance(model.backbone, ResNet):
        raise ValueError(
            "PyTorch checkpoints of FoR-Net have a ResNet; the backbone of this model is a "
            f"{type(model.backbone).__name__}."
        )
    plan = _plan(model)
    planned = {id(variable) for variable in plan.values()}
    unknown = [weight.path for weight in model.weights if id(weight) not in planned]
    if unknown:
        raise ValueError(
            "PyTorch checkpoints of FoR-Net have no place for some weights of this model (was it "
            f"built with a neck?): {', '.join(unknown)}."
        )
    if isinstance(source, Mapping):
        state = {key: np.asarray(value) for key, value in source.items()}
        where = f"state dict -> {model.name}"
    else:
        path = checkpoints.fetch(source)
        state = checkpoints.read_state_dict(path, at_least_bytes=2 * model.count_params())
        where = f"{os.fspath(source)} -> {model.name}"
    checkpoints.assign(plan, state, _LEFT_ASIDE, where)


def _plan(model: FoRNet) -> dict[str, keras.Variable]:
    """Returns {key in the checkpoint: variable of the model}."""
    plan = {}
    for key, variable in torchvision_variables(model.backbone).items():
        key = re.sub(r"^conv1\.", "stem.0.", key)
        plan[re.sub(r"^bn1\.", "stem.1.", key)] = variable

    bricks = {"trans": "transition", "selector.body": "selector", "low_proj": "low_level"}
    bricks |= {f"decoder.{i}": f"decoder{i}" for i in range(2)}
    branches = model.get_layer("top_k").ratios
    bricks |= {f"branches.{i}": f"branch{i}" for i in range(len(branches))}
    for theirs, ours in bricks.items():
        brick = model.get_layer(ours)
        plan[f"{theirs}.0.weight"] = brick.conv.kernel
        plan[f"{theirs}.1.weight"] = brick.norm.gamma
        plan[f"{theirs}.1.bias"] = brick.norm.beta
        plan[f"{theirs}.1.running_mean"] = brick.norm.moving_mean
        plan[f"{theirs}.1.running_var"] = brick.norm.moving_variance

    points = {"selector.head": "selector_logits", "classifier": "classifier"}
    if any(layer.name == "context_add" for layer in model.layers):
        points |= {"context.psi.0": "context_squeeze", "context.psi.2": "context_expand"}
    for theirs, ours in points.items():
        plan[f"{theirs}.weight"] = model.get_layer(ours).kernel
        plan[f"{theirs}.bias"] = model.get_layer(ours).bias
    return plan
