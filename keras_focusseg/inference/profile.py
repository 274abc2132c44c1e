"""What a network costs: parameters, multiply-accumulates, activation memory, time.

All but the time comes from the graph alone, on any backend and without running the network: its
operations are asked one by one for the shapes they give at the wanted size. Conventions:

- One multiply-accumulate (MAC) is one product of a convolution, a dense layer or a matrix product,
  those with padding included. Sums, normalisation, activations, pooling, resizing and sampling
  count 0. Published "GFLOPs" of segmentation networks are mostly MACs.
- A layer that knows better has a method `macs(*input_shapes) -> int`: the shapes of its inputs in
  the order of the call, batch 1 included, to the products that it computes, those of the layers
  inside it among them. Layers with kernels and without that method, and operations that multiply
  in ways not known here, are listed as not counted.
"""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_focusseg import presets
from keras_focusseg.models.batch_checks import check_image_shape
from keras_focusseg.models.segmenter import Segmenter

_CONVS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
# They scale, shift or look up: no products.
_WITHOUT_PRODUCTS = (
    keras.layers.BatchNormalization,
    keras.layers.Embedding,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.PReLU,
    keras.layers.RMSNormalization,
)
# Products without a kernel that would show it, or layers whose inside cannot be seen.
_OPAQUE = (
    keras.Model,  # a functional one is walked through and does not come here
    keras.layers.AdditiveAttention,
    keras.layers.Attention,
    keras.layers.Dot,
    keras.layers.Lambda,
    keras.layers.Wrapper,
)
# The same among operations that are no layers (`keras.ops` applied to symbolic tensors).
_OPAQUE_OPERATIONS = frozenset(
    "Conv ConvTranspose Correlate Cross DepthwiseConv Dot DotProductAttention Einsum Function "
    "Inner Kron Outer SeparableConv Tensordot Vdot Vecdot".split()
)
WARM_UP_RUNS = 2


@dataclasses.dataclass(frozen=True)
class Part:
    """Cost of one part of a network.

    Args:
        name: Name of the part.
        parameters: All its weights, the statistics of batch normalisation included.
        trainable: Those of them that are trained.
        macs: Multiply-accumulates for one image.
    """

    name: str
    parameters: int
    trainable: int
    macs: int


@dataclasses.dataclass(frozen=True)
class Latency:
    """Measured time of a forward pass of one image.

    Args:
        seconds: Median over the runs.
        runs: Number of timed runs, after warm-up.
        backend: Keras backend.
        device: Where it ran.
    """

    seconds: float
    runs: int
    backend: str
    device: str


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a network costs at one size, batch 1; `str()` gives a table.

    Args:
        network: Name of the network or preset.
        height: Height of the image in pixels.
        width: Its width.
        outputs: The output that was asked for, or "all".
        parts: Parts with weights or products, in the model's order or that of computing.
        peak_activation_bytes: Highest sum of the tensors that are alive at the same time.
        activation_bytes: Sum of all tensors, which training keeps for the gradient. Those inside
            layers that are made of others are not seen.
        peak_layer: The operation at which that is.
        not_counted: Operations whose products are missing in the MACs, "name (class)".
        latency: Measured time, if asked for.
    """

    network: str
    height: int
    width: int
    outputs: str
    parts: tuple[Part, ...]
    peak_activation_bytes: int
    activation_bytes: int
    peak_layer: str
    not_counted: tuple[str, ...] = ()
    latency: Latency | None = None

    @property
    def parameters(self) -> int:
        """All weights, the statistics of batch normalisation included."""
        return sum(part.parameters for part in self.parts)

    @property
    def trainable(self) -> int:
        """Weights that are trained."""
        return sum(part.trainable for part in self.parts)

    @property
    def macs(self) -> int:
        """Multiply-accumulates; a lower bound if `not_counted` names something."""
        return sum(part.macs for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values, for a JSON file."""
        totals = {name: getattr(self, name) for name in ("parameters", "trainable", "macs")}
        return {**dataclasses.asdict(self), **totals}

    def title(self) -> str:
        """Network, size and outputs in one line."""
        what = "all outputs" if self.outputs == "all" else f"up to {self.outputs!r}"
        return f"{self.network}, one image of {self.height}x{self.width}, {what}"

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Name, parameters, trainable parameters and GMACs of the parts and of the whole."""
        total = Part("total", self.parameters, self.trainable, self.macs)
        return [
            (part.name, f"{part.parameters:,}", f"{part.trainable:,}", f"{part.macs / 1e9:.2f}")
            for part in (*self.parts, total)
        ]

    def remarks(self) -> list[str]:
        """What stands below the table."""
        peak = self.peak_activation_bytes / 1e6
        lines = [f"activations: {peak:,.1f} MB at their peak, in {self.peak_layer}"]
        if self.latency is not None:
            took = self.latency
            lines.append(
                f"latency: {1000 * took.seconds:,.1f} ms, median of {took.runs} runs, "
                f"{took.backend} on {took.device}"
            )
        if self.not_counted:
            lines.append(f"products not counted: {', '.join(self.not_counted)}")
        return lines

    def __str__(self) -> str:
        rows = [("part", "parameters", "trainable", "GMACs"), *self.rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        table = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        return "\n".join([self.title(), *table, *self.remarks()])


def profile(
    model: keras.Model | str | Path,
    size: tuple[int, int],
    *,
    outputs: str | None = "logits",
    runs: int = 10,
    dtype: str | None = None,
) -> Profile:
    """Counts and measures what a network costs for one image.

    Only what the wanted output needs is counted: heads that serve the training alone are not. The
    peak of the activations is what a compiled network needs that keeps every tensor from the
    operation that makes it to the last one that reads it, at the dtype in which the layers compute;
    scratch memory inside operations and the weights are not in it, and no operation works in place.

    Args:
        model: A functional Keras model of one image input, or what `presets.load` takes: a
            preset's name or a folder such as `runs/x/best`. Then the network is built with random
            weights, since costs do not depend on them; presets without public weights are fine.
        size: Height and width of the image in pixels.
        outputs: Name of the output that is wanted, `None` for all. Models with a single output
            have no names: all of it is meant.
        runs: Timed forward passes on this machine, from NumPy to NumPy, after two more to compile
            and warm up; 0 leaves the latency out.
        dtype: Dtype policy in which a preset is built, its own by default.

    Returns:
        The costs, part by part. Parts are nested models, and layers whose names agree up to the
        first "_", or what `model.parts()` says: a dict from part to prefixes of layer names.

    Raises:
        ValueError: The model is not functional, has other inputs, has no such output, cannot take
            images of that size, or there is no such preset.

    Example:
        ```python
        from keras_focusseg import inference

        print(inference.profile("fornet_resnet101_cityscapes", (512, 1024), runs=0))
        ```
    """
    height, width = size
    if height < 1 or width < 1 or runs < 0:
        raise ValueError(f"Expected a size of pixels and runs of 0 or more, got {size}, {runs}.")
    if isinstance(model, (str, Path)):
        name, model = str(model), presets.load(model, load_weights=False, dtype=dtype)
    else:
        name = model.name
    wanted, wanted_name = _wanted(model, outputs)
    if isinstance(model, Segmenter):
        check_image_shape((1, height, width, 3))
    inputs, calls, results = _calls(wanted, height, width)
    parts, not_counted = _parts(calls, model)
    peak, peak_layer = _peak(inputs, calls, results)
    return Profile(
        name,
        height,
        width,
        wanted_name,
        parts,
        peak,
        sum(_bytes(tensor) for call in calls for tensor in call.outputs),
        peak_layer,
        not_counted,
        _latency(wanted, height, width, runs) if runs else None,
    )


def _wanted(model: keras.Model, outputs: str | None) -> tuple[keras.Model, str]:
    """The functional model from the image to the wanted output, and what to call that."""
    if not _has_graph(model):
        raise ValueError(
            f"{model.name!r} ({type(model).__name__}) has no graph to look at; expected a built "
            "functional Keras model."
        )
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        raise ValueError(
            f"Expected a model of one image input (batch, height, width, channels); {model.name!r} "
            f"has {[tuple(tensor.shape) for tensor in model.inputs]}."
        )
    if outputs == "logits" and isinstance(model, Segmenter):  # which may have another form
        return model.logits_model, outputs
    if outputs is None or not isinstance(model.output, Mapping):
        return keras.Model(model.input, model.output, name=model.name), "all"
    if outputs not in model.output:
        raise ValueError(
            f"{model.name!r} has no output {outputs!r}; there are {', '.join(model.output)}. "
            "outputs=None takes all."
        )
    return keras.Model(model.input, model.output[outputs], name=model.name), outputs


# Shapes: the graph, walked for one size ----------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Call:
    """One call of an operation: what it read and what it gave, as symbolic tensors."""

    operation: Any
    owner: Any  # the operation of the outermost graph that it belongs to
    inputs: list[Any]
    outputs: list[Any]


class _Probe(keras.Operation):
    """Stands for an operation in a copy of the graph: infers shapes as it does, and notes it."""

    def __init__(self, operation: Any, owner: Any, calls: list[_Call]) -> None:
        super().__init__()
        self.operation, self.owner, self.calls = operation, owner, calls

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """What the operation would return, as symbolic tensors."""
        read = [leaf for leaf in keras.tree.flatten((args, kwargs)) if _is_symbolic(leaf)]
        if getattr(self.operation, "autocast", False):  # as a layer does before it computes
            args, kwargs = keras.tree.map_structure(self._cast, (args, kwargs))
        given = self.operation.compute_output_spec(*args, **kwargs)
        outputs = [leaf for leaf in keras.tree.flatten(given) if _is_symbolic(leaf)]
        self.calls.append(_Call(self.operation, self.owner, read, outputs))
        return given

    def _cast(self, leaf: Any) -> Any:
        dtype = self.operation.compute_dtype
        if _is_symbolic(leaf) and "float" in leaf.dtype and leaf.dtype != dtype:
            return keras.KerasTensor(leaf.shape, dtype)
        return leaf


class _NestedProbe(keras.Operation):
    """Stands for a model inside the graph, and lets its operations note their calls."""

    def __init__(self, model: keras.Model, owner: Any, calls: list[_Call]) -> None:
        super().__init__()
        self.twin = _twin(keras.Model(model.inputs, model.outputs), calls, owner)
        self.structure = model.output

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """What the model would return, as symbolic tensors."""
        read = [leaf for leaf in keras.tree.flatten((args, kwargs)) if _is_symbolic(leaf)]
        given = keras.tree.flatten(self.twin.call(read))
        return keras.tree.pack_sequence_as(self.structure, given)


def _twin(model: keras.Model, calls: list[_Call], owner: Any = None) -> keras.Function:
    """The graph of a model with a probe in place of each operation; the model stays untouched."""

    def probe(operation: Any) -> keras.Operation:
        mine = owner or operation
        return (_NestedProbe if _has_graph(operation) else _Probe)(operation, mine, calls)

    twin = keras.models.clone_model(model, clone_function=probe)
    return keras.Function(twin.inputs, twin.outputs)


def _calls(model: keras.Model, height: int, width: int) -> tuple[list[Any], list[_Call], list[Any]]:
    """The input, all calls that the outputs depend on, in order, and the outputs."""
    calls: list[_Call] = []
    twin = _twin(model, calls)
    calls.clear()  # those of building the twin have unknown sizes
    image = model.inputs[0]
    inputs = [keras.KerasTensor((1, height, width, image.shape[-1]), image.dtype)]
    results = keras.tree.flatten(twin.call(inputs))
    needed = {id(tensor) for tensor in results}
    chosen = []
    for call in reversed(calls):
        if needed & {id(tensor) for tensor in call.outputs}:
            needed |= {id(tensor) for tensor in call.inputs}
            chosen.append(call)
            for tensor in call.outputs:
                if None in tensor.shape:
                    raise ValueError(
                        f"{_told(call.operation)} does not say which shape it gives at "
                        f"{height}x{width}: got {tuple(tensor.shape)}. Let its "
                        "compute_output_shape return whole numbers for whole numbers."
                    )
    return inputs, chosen[::-1], results


def _has_graph(operation: Any) -> bool:
    """Whether it is a functional model, or a sequential one that knows its input."""
    graph = isinstance(operation, (keras.Function, keras.Sequential))
    return graph and isinstance(operation, keras.Model) and operation.built


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _told(operation: Any) -> str:
    return f"{operation.name} ({type(operation).__name__})"


# Counts ------------------------------------------------------------------------------------


def _parts(calls: Sequence[_Call], model: keras.Model) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """Parts with weights or products, and what could not be counted."""
    given = model.parts() if callable(getattr(model, "parts", None)) else {}
    prefixes = sorted(
        ((prefix, part) for part, of_part in given.items() for prefix in of_part),
        key=lambda pair: -len(pair[0]),
    )

    def part_of(owner: Any) -> str:
        for prefix, part in prefixes:
            if owner.name.startswith(prefix):
                return part
        return owner.name if isinstance(owner, keras.Model) else owner.name.split("_")[0]

    counts = {part: [0, 0, 0] for part in given}  # in the order that the model gives
    seen: set[int] = set()
    not_counted: dict[str, None] = {}  # keeps the order
    for call in calls:
        row = counts.setdefault(part_of(call.owner), [0, 0, 0])
        if id(call.operation) not in seen and isinstance(call.operation, keras.layers.Layer):
            seen.add(id(call.operation))
            row[0] += _elements(call.operation.weights)
            row[1] += _elements(call.operation.trainable_weights)
        macs = _macs(call)
        if macs is None:
            not_counted[_told(call.operation)] = None
        else:
            row[2] += macs
    parts = tuple(Part(name, *row) for name, row in counts.items() if any(row))
    return parts, tuple(not_counted)


def _macs(call: _Call) -> int | None:
    """Products of one call, None where they are not known."""
    layer = call.operation
    if callable(getattr(layer, "macs", None)):
        return int(layer.macs(*(tuple(tensor.shape) for tensor in call.inputs)))
    inputs, outputs = (_elements(tensors[:1]) for tensors in (call.inputs, call.outputs))
    if isinstance(layer, _SEPARABLE):
        pointwise, depthwise = _elements([layer.pointwise_kernel]), layer.depthwise_kernel
        return outputs // layer.filters * (pointwise + _elements([depthwise]))
    if isinstance(layer, _DEPTHWISE):  # every value of the result has one product per tap
        return outputs * math.prod(layer.kernel_size)
    if isinstance(layer, _TRANSPOSED):  # every value that is read meets the whole kernel
        return inputs // layer.kernel.shape[-1] * _elements([layer.kernel])
    if isinstance(layer, _CONVS):
        return outputs // layer.filters * _elements([layer.kernel])
    if isinstance(layer, keras.layers.Dense):
        return outputs * int(layer.kernel.shape[0])
    if isinstance(layer, _OPAQUE):
        return None
    if isinstance(layer, keras.layers.Layer):
        kernels = any(len(weight.shape) > 1 for weight in layer.weights)
        return None if kernels and not isinstance(layer, _WITHOUT_PRODUCTS) else 0
    if type(layer).__name__ == "Matmul":
        return outputs * int(call.inputs[0].shape[-1]) if len(call.inputs) == 2 else None
    return None if type(layer).__name__ in _OPAQUE_OPERATIONS else 0


def _elements(tensors: Sequence[Any]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


def _peak(inputs: Sequence[Any], calls: Sequence[_Call], results: Sequence[Any]) -> tuple[int, str]:
    """Highest sum of the bytes of the tensors alive during an operation, and that operation."""
    last = {id(tensor): i for i, call in enumerate(calls) for tensor in call.inputs}
    last |= {id(tensor): len(calls) for tensor in results}
    alive = {id(tensor): _bytes(tensor) for tensor in inputs}
    peak, where = sum(alive.values()), "the image"
    for i, call in enumerate(calls):
        alive |= {id(tensor): _bytes(tensor) for tensor in call.outputs}
        if sum(alive.values()) > peak:
            peak, where = sum(alive.values()), call.operation.name
        alive = {key: size for key, size in alive.items() if last.get(key, -1) > i}
    return peak, where


def _bytes(tensor: Any) -> int:
    bits = re.search(r"\d+", tensor.dtype)  # bool has none
    return math.prod(tensor.shape) * (int(bits[0]) // 8 if bits else 1)


# Time --------------------------------------------------------------------------------------


def _latency(model: keras.Model, height: int, width: int, runs: int) -> Latency:
    shape = (1, height, width, model.inputs[0].shape[-1])
    image = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    seconds = []
    for _ in range(WARM_UP_RUNS + runs):
        start = time.perf_counter()
        model.predict_on_batch(image)
        seconds.append(time.perf_counter() - start)
    return Latency(
        statistics.median(seconds[WARM_UP_RUNS:]), runs, keras.backend.backend(), _device(model)
    )


def _device(model: keras.Model) -> str:
    """Name of what holds the weights, with the processor's if that is it."""
    device = getattr(model.weights[0].value, "device", None) if model.weights else None
    # "/job:localhost/.../device:GPU:0" on TensorFlow, an object on the others.
    name = str(getattr(device, "device_kind", device)).rsplit("device:", 1)[-1]
    if "cpu" not in name.lower():
        return name
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()
