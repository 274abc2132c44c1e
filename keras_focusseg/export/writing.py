"""Writes the graph of a network in each format, and brings it to the wanted precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_focusseg.export.formats import Format

Size = tuple[int, int] | None
Images = Iterable[np.ndarray]
"""Calibration images, each (1, H, W, 3) in the type of the input."""


def labels_dtype(model: Any) -> str:
    """Type of the labels in a network's file: a byte, where it holds every class."""
    return "uint8" if model.num_classes <= 256 else "int32"


def inference_graph(
    model: Any, size: Size, uint8: bool, labels: bool, signals: Sequence[str] = ()
) -> keras.Model:
    """What the file computes, as a Keras model: one image (1, H, W, 3) to logits or labels.

    Args:
        model: A network of this library.
        size: Height and width of the images; `None` for any.
        uint8: Takes whole numbers; otherwise float32. Both are RGB in 0..255.
        labels: Gives the class of each pixel (1, H, W), of `labels_dtype`, in place of the logits
            (1, H, W, classes), float32.
        signals: Names of signals that it gives after these.
    """
    height, width = size or (None, None)
    dtype = "uint8" if uint8 else "float32"
    images = keras.Input((height, width, 3), batch_size=1, dtype=dtype, name="images")
    numbers = ops.cast(images, "float32")
    beside = []
    if signals:
        found = model.inspector(numbers)
        result, beside = found["logits"], [found[name] for name in signals]
    else:
        result = model.logits_model(numbers)
    if labels:
        if keras.backend.backend() == "tensorflow":
            # Keras' argmax there looks at the bits of -0.0, which LiteRT has no operation for.
            result = ops.top_k(result, 1)[1][..., 0]  # (1, H, W), the first of equal ones
        else:
            result = ops.argmax(result, axis=-1)  # JAX' top_k is unknown to a SavedModel
        result = ops.cast(result, labels_dtype(model))
    return keras.Model(images, [result, *beside] if beside else result, name=model.name)


def write(
    model: Any,
    form: Format,
    path: Path,
    size: Size,
    *,
    precision: str,
    uint8: bool,
    labels: bool,
    signals: Sequence[str] = (),
    calibration: Images = (),
) -> None:
    """Writes a network's file, or folder, at `path`; OpenVINO's weights lie beside it as `.bin`.

    Args:
        model: A network of this library.
        form: A format that `check_possible` found possible.
        path: Where to write, with the suffix of the format.
        size: Height and width of the images; `None` for any.
        precision: `"float16"` keeps the weights in half precision and computes in single;
            `"int8"` quantises weights and activations.
        uint8: As for `inference_graph`.
        labels: As for `inference_graph`.
        signals: As for `inference_graph`.
        calibration: Images that tell the range of every activation, for `"int8"`.
    """
    on_tensorflow = keras.backend.backend() == "tensorflow"
    # tf2onnx 1.17 writes the ratio of two fixed sizes, rounded, where a resize needs the size.
    traced = None if form.keras_name == "onnx" and on_tensorflow else size
    graph = inference_graph(model, traced, uint8, labels, signals)
    signature = [keras.InputSpec(graph.inputs[0].dtype, graph.inputs[0].shape, name="images")]
    options = _litert_options(precision, calibration) if form.keras_name == "litert" else {}
    names = ["labels" if labels else "logits", *signals]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about themselves
        if form.keras_name == "onnx" and keras.backend.backend() == "torch":
            _write_onnx_by_torch(graph, path, names)
        else:
            graph.export(
                str(path),
                format=form.keras_name,
                input_signature=signature,
                verbose=False,
                **options,
            )
    if form.keras_name == "onnx":
        if on_tensorflow:
            _write_erfc_by_erf(path)
            _name_onnx_outputs(path, names)
        if traced is None and size is not None:
            _fix_onnx_size(path, size)
        if precision == "float16":
            _halve_onnx_weights(path)
        elif precision == "int8":
            _quantize_onnx(path, calibration)
    elif form.keras_name == "openvino":
        _finish_openvino(path, size, form.least_side, names[0], precision, calibration)


# LiteRT ------------------------------------------------------------------------------------


def _litert_options(precision: str, calibration: Images) -> dict[str, Any]:
    """What Keras hands to TensorFlow's converter; a file of LiteRT's own operations alone."""
    import tensorflow as tf

    target: dict[str, Any] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    if precision == "float32":
        return {"target_spec": target}
    if precision == "float16":
        target["supported_types"] = [tf.float16]
        return {"target_spec": target, "optimizations": [tf.lite.Optimize.DEFAULT]}

    def images() -> Iterator[dict[str, np.ndarray]]:
        for image in calibration:
            yield {"images": image}

    return {
        "target_spec": target,
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": images,
    }


# ONNX --------------------------------------------------------------------------------------


def _write_onnx_by_torch(graph: Any, path: Path, names: Sequence[str]) -> None:
    """As Keras writes it, and with the stable sort, which PyTorch 2.13 does not translate.

    ONNX's `TopK` puts the earlier of two equal values first, which is what makes it stable.
    """
    import torch
    from onnxscript import opset18

    def stable_sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        all_of_them = opset18.Shape(x, start=dim, end=dim + 1 or None)
        return opset18.TopK(x, all_of_them, axis=dim, largest=int(descending), sorted=1)

    image = ops.zeros(graph.inputs[0].shape, graph.inputs[0].dtype)  # where the weights are
    program = torch.onnx.export(
        graph.eval(),
        (image,),
        input_names=["images"],
        output_names=list(names),
        dynamo=True,
        # onnxscript 0.7.2 joins the minimum and maximum of a clipping, and loses the value between
        # them, which SCRNet's sampling reads. ONNX Runtime optimises a graph when it opens it.
        optimize=False,
        verbose=False,
        custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
    )
    program.save(path)


def _write_erfc_by_erf(path: Path) -> None:
    """Writes 1 - erf(x) for erfc(x), which Keras' exact GELU has on TensorFlow.

    tf2onnx 1.17 leaves that operation as it is, and ONNX has no such one.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Erfc":
            erf = f"{node.output[0]}_erf"
            nodes.append(helper.make_node("Erf", node.input, [erf]))
            nodes.append(helper.make_node("Sub", ["one_of_erfc", erf], node.output))
        else:
            nodes.append(node)
    if len(nodes) == len(model.graph.node):
        return
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1), "one_of_erfc"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def _name_onnx_outputs(path: Path, names: Sequence[str]) -> None:
    """Gives the outputs names that say what they are; tf2onnx calls them Identity:0 and so on."""
    import onnx

    model = onnx.load(path)
    new = {value.name: name for value, name in zip(model.graph.output, names, strict=True)}
    for value in model.graph.output:
        value.name = new[value.name]
    for node in model.graph.node:
        for places in (node.input, node.output):
            places[:] = [new.get(name, name) for name in places]
    onnx.save(model, path)


def _fix_onnx_size(path: Path, size: tuple[int, int]) -> None:
    """Writes the one size of images into a file that takes any."""
    import onnx

    model = onnx.load(path)
    for value, sides in [(model.graph.input[0], size), (model.graph.output[0], size)]:
        dims = value.type.tensor_type.shape.dim
        for dim, side in zip(dims[1:3], sides, strict=True):
            dim.dim_value = side
    del model.graph.value_info[:]  # shapes in between, which were unknown
    onnx.save(model, path)


def _halve_onnx_weights(path: Path) -> None:
    """Keeps large constants in half precision, with a cast that the runtime does once."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    casts = []
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype != np.float32 or values.size < 64 or np.abs(values).max() > 65504:
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def _quantize_onnx(path: Path, calibration: Images) -> None:
    """Quantises the convolutions, one scale a channel; what lies between stays float32.

    A range is the mean of those of the images: of the widest one, a few pixels would make all
    steps coarse. What a ReLU after a convolution cuts off is not in its range.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"images": image}

    folded = path.with_suffix(".folded.onnx")
    quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
    nodes = onnx.load(folded).graph.node
    convolved = {node.output[0] for node in nodes if node.op_type == "Conv"}
    quantization.quantize_static(
        str(folded),
        str(path),
        Reader(),
        nodes_to_quantize=[
            node.name
            for node in nodes
            if node.op_type == "Conv"
            or (node.op_type in ("Relu", "Clip") and node.input[0] in convolved)
        ],
        per_channel=True,
        extra_options={"CalibMovingAverage": True},
    )
    folded.unlink()


# OpenVINO ----------------------------------------------------------------------------------


def _finish_openvino(
    path: Path, size: Size, least_side: int, name: str, precision: str, calibration: Images
) -> None:
    """Leaves one named output and the size of images, and brings the weights to the precision.

    OpenVINO 2026.4 gives what lies in the middle of a TensorFlow graph as further outputs, and of
    PyTorch's it takes any size, though the size is traced.
    """
    import openvino

    model = openvino.Core().read_model(path)
    model = openvino.Model(model.get_results()[:1], model.get_parameters(), model.friendly_name)
    any_side = openvino.Dimension(least_side, -1)
    model.reshape([1, *(size or (any_side, any_side)), 3])
    if precision == "int8":
        import nncf

        images = list(calibration)
        model = nncf.quantize(model, nncf.Dataset(images), subset_size=len(images))
    model.inputs[0].tensor.set_names({"images"})
    model.outputs[0].tensor.set_names({name})
    finished = path.with_name(f"finished{path.suffix}")
    openvino.save_model(model, finished, compress_to_fp16=precision == "float16")
    del model  # which may hold the old weights open
    for suffix in (".xml", ".bin"):
        finished.with_suffix(suffix).replace(path.with_suffix(suffix))


def calibration_images(source: Any, count: int, size: Size, uint8: bool) -> Iterator[np.ndarray]:
    """Images of a source as the file takes them, resized where it takes one size.

    They are taken evenly from all, since neighbours are often frames of one drive.
    """
    from PIL import Image

    count = min(count, len(source))
    for index in range(count):
        image = source.load(index * len(source) // count).image
        if size is not None and image.shape[:2] != size:
            resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
            image = np.asarray(resized)
        yield image[None].astype("uint8" if uint8 else "float32")
