"""One network that `peers.py` measures: built in the environment of its library, run when asked.

Takes lines of JSON from the standard input and answers each with one: first the case, answered once
the network is built and has run twice; then any number of `"run"`, each one pass or one training
step, answered with its seconds of the clock and of the processor; then `"end"`, answered with the
most memory that the process held. What libraries print goes to the standard error.

Nothing of this library is imported but for its own networks: the interpreter is that of a peer.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 11
BLOCK = 40  # pixels of a side of what the masks show
WARM_UP_RUNS = 2
SEGFORMER_B0 = {
    "layerwise_depths": [2, 2, 2, 2],
    "num_layers": 4,
    "layerwise_num_heads": [1, 2, 5, 8],
    "layerwise_sr_ratios": [8, 4, 2, 1],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3, 3, 3],
    "layerwise_strides": [4, 2, 2, 2],
    "hidden_dims": [32, 64, 160, 256],
}
RESNET_50 = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_blocks": [3, 4, 6, 3],
    "stackwise_num_strides": [1, 2, 2, 2],
    "block_type": "bottleneck_block",
}
DEEPLAB = {
    "projection_filters": 48,
    "low_level_feature_key": "P2",
    "spatial_pyramid_pooling_key": "P5",
    "upsampling_size": 8,
    "dilation_rates": [6, 12, 18],
}
EDGETPU = {"encoder_name": "tu-mobilenet_edgetpu_100", "channel_multiplier": 0.75}

Case = Mapping[str, Any]
Run = Callable[[], Any]


# Networks ----------------------------------------------------------------------------------------


def keras_focusseg(case: Case) -> Any:
    """The network of one of this library's presets, with random weights."""
    from keras_focusseg import presets

    return presets.load(case["build"], load_weights=False)


def keras_hub(case: Case) -> Any:
    """A segmenter of KerasHub."""
    from keras_hub import models

    if case["build"] == "segformer":
        encoder = models.MiTBackbone(**SEGFORMER_B0, image_shape=(case["height"], case["width"], 3))
        backbone = models.SegFormerBackbone(encoder, projection_filters=256)
        return models.SegFormerImageSegmenter(backbone, num_classes=CLASSES)
    encoder = models.ResNetBackbone(**RESNET_50)
    backbone = models.DeepLabV3Backbone(encoder, **DEEPLAB)
    return models.DeepLabV3ImageSegmenter(backbone, num_classes=CLASSES)


def transformers(case: Case) -> Any:
    """SegFormer-B0, whose configuration is the default one; logits of a quarter of the size."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=CLASSES))
    return network, lambda images: network(images).logits


def smp(case: Case) -> Any:
    """A decoder of segmentation_models.pytorch on the encoder of this library's presets."""
    import segmentation_models_pytorch

    decoder = getattr(segmentation_models_pytorch, case["build"])
    network = decoder(encoder_weights=None, classes=CLASSES, **EDGETPU)
    return network, network


BUILDERS = {
    "keras_focusseg": keras_focusseg,
    "keras_hub": keras_hub,
    "transformers": transformers,
    "smp": smp,
}


# Runs --------------------------------------------------------------------------------------------


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, H, W, 3), uint8, and masks (B, H, W), int32, that show blocks of classes."""
    rng = np.random.default_rng(0)
    count, height, width = case["batch"], case["height"], case["width"]
    images = rng.integers(0, 256, (count, height, width, 3)).astype("uint8")
    blocks = rng.integers(0, CLASSES, (count, -(-height // BLOCK), -(-width // BLOCK)))
    masks = blocks.repeat(BLOCK, 1).repeat(BLOCK, 2)[:, :height, :width]
    return images, masks.astype("int32")


def keras_run(case: Case) -> tuple[Run, int]:
    """A pass from NumPy to NumPy, or a training step, of a Keras model; and its parameters."""
    import keras

    network = BUILDERS[case["library"].split()[0]](case)
    ours = case["library"].startswith("keras_focusseg")
    images, masks = batch(case)
    if not ours:  # which normalises inside
        images = images.astype("float32") / 255
    if case["mode"] == "training":
        optimizer = keras.optimizers.AdamW(1e-4)
        loss = {}
        if not ours:  # which have the loss of their paper
            entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
            loss = {"loss": entropy}
        network.compile(optimizer, metrics=[], **loss)
        return lambda: network.train_on_batch(images, masks), network.count_params()
    return lambda: network.predict_on_batch(images), network.count_params()


def torch_run(case: Case) -> tuple[Run, int]:
    """The same of a PyTorch module, its weights and images channels last."""
    import torch
    from torch.nn.functional import cross_entropy, interpolate

    network, logits = BUILDERS[case["library"]](case)
    network.to(memory_format=torch.channels_last)
    values = (*network.parameters(), *network.buffers())
    count = sum(value.numel() for value in values if value.is_floating_point())
    images, masks = batch(case)
    images = images.astype("float32") / 255

    def forward() -> Any:
        # (B, H, W, 3) in memory, which is channels last.
        found = logits(torch.from_numpy(images).permute(0, 3, 1, 2))
        if found.shape[2:] == images.shape[1:3]:
            return found
        return interpolate(found, images.shape[1:3], mode="bilinear", align_corners=False)

    if case["mode"] == "inference":
        network.eval()

        def predict() -> np.ndarray:
            with torch.inference_mode():
                return forward().numpy()

        return predict, count
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> float:
        optimizer.zero_grad()
        loss = cross_entropy(forward(), torch.from_numpy(masks).long(), ignore_index=255)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, count


def onnx_session(path: str, threads: int) -> Any:
    """A file in ONNX Runtime; several threads wait by spinning, which is processor time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def file_run(case: Case) -> tuple[Run, int]:
    """A pass of an exported file in its own runtime; its parameters are not counted."""
    images = batch(case)[0].astype("float32")
    if case["library"] == "onnxruntime":
        session = onnx_session(case["file"], case["threads"])
        name = session.get_inputs()[0].name
        return lambda: session.run(None, {name: images}), 0
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": case["threads"]}
    compiled = openvino.Core().compile_model(case["file"], "CPU", options)
    return lambda: np.asarray(compiled(images)[0]), 0


def run_of(case: Case) -> tuple[Run, int]:
    """What a case measures, and the parameters of its network."""
    if case["library"] in ("onnxruntime", "openvino"):
        return file_run(case)
    return (keras_run if case["library"].startswith("keras") else torch_run)(case)


# Costs and facts ---------------------------------------------------------------------------------


def macs(run: Run) -> int:
    """Multiply-accumulates of one pass on PyTorch, as its operations tell them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
        pairs = math.prod(query[:-1]) * key[-2]
        return 2 * pairs * (query[-1] + value[-1])

    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={on_cpu: attention})
    with counter:
        run()
    return counter.get_total_flops() // 2


def export(case: Case) -> None:
    """Writes the file that a runtime is to run."""
    from keras_focusseg.export import export

    size = (case["height"], case["width"])
    suffix = Path(case["file"]).suffix
    export(keras_focusseg(case), case["file"], {".onnx": "onnx", ".xml": "openvino"}[suffix], size)


def versions() -> str:
    """What of the libraries that matter is imported, with its version."""
    names = (
        "keras_hub", "transformers", "segmentation_models_pytorch", "onnxruntime", "openvino",
        "keras", "tensorflow", "torch", "jax",
    )  # fmt: skip
    found = [name for name in names if name in sys.modules]
    if "keras" in found:  # which imports more than the backend
        others = {"tensorflow", "torch", "jax"} - {os.environ.get("KERAS_BACKEND")}
        found = [name for name in found if name not in others]
    return ", ".join(f"{name} {sys.modules[name].__version__.split('-')[0]}" for name in found)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` also holds what the parent had when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else 1024 * held


# Protocol ----------------------------------------------------------------------------------------


def answer(case: Case, ask: Callable[[], str], tell: Callable[[Any], None]) -> None:
    """Builds what the case says, and answers until the end."""
    if case["mode"] == "export":
        export(case)
        tell({})
        return
    if case["mode"] == "count":
        run, parameters = run_of({**case, "mode": "inference"})
        tell({"parameters": parameters, "macs": macs(run)})
        return
    run, _ = run_of(case)
    for _ in range(WARM_UP_RUNS):
        run()
    tell({"versions": versions()})
    while ask() == "run":
        processor, clock = time.process_time(), time.perf_counter()
        run()
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        tell({"clock": clock, "processor": processor})
    tell({"peak_bytes": peak_bytes()})


def main() -> None:
    """Speaks with `peers.py`; whatever goes wrong is an answer too."""
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # what libraries print

        def tell(message: Any) -> None:
            print(json.dumps(message), file=replies, flush=True)

        with contextlib.suppress(BrokenPipeError):
            try:
                answer(json.loads(input()), lambda: json.loads(input()), tell)
            except Exception as error:
                tell({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
