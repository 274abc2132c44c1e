"""A layout of `keras.distribution` that divides large weights among the devices of JAX."""

from __future__ import annotations

import math
from typing import Any

import keras

SMALLEST_CUT = 4096
"""Variables of fewer elements are held whole on every device by `model_parallel`."""


class CutWeights(keras.distribution.ModelParallel):
    """Batches divided among the devices as by `DataParallel`, and so are the large weights.

    Of each variable of 4096 elements or more, a device holds the part that its number says, along
    the longest axis that the devices divide; so it is with the optimizer's moments and averages.
    What a device needs whole it gets from the others in the step, layer by layer. The memory for
    weights and optimizer falls with the number of devices (as in ZeRO, arXiv 1910.02054).

    Args:
        devices: Names of devices, as `keras.distribution.list_devices` gives them.
    """

    def __init__(self, devices: list[str]) -> None:
        mesh = keras.distribution.DeviceMesh((len(devices),), ("batch",), devices)
        super().__init__(layout_map=keras.distribution.LayoutMap(mesh), auto_shard_dataset=False)

    def get_variable_layout(self, variable: Any) -> Any:
        """Where the parts of a variable lie."""
        shape, devices = tuple(variable.shape), self.num_model_replicas
        axes: list[str | None] = [None] * len(shape)
        divided = [axis for axis, size in enumerate(shape) if size and size % devices == 0]
        if divided and math.prod(shape) >= SMALLEST_CUT:
            axes[max(divided, key=lambda axis: shape[axis])] = "batch"
        return keras.distribution.TensorLayout(axes, self.device_mesh)
