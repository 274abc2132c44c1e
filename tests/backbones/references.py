"""Independent networks that the backbones are held to, and checks that all backbones share."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_focusseg.backbones import Backbone

Arrays = dict[str, np.ndarray]
LEVELS = ("P2", "P3", "P4", "P5")


def noise(height: int, width: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    """Random float images in 0..255."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (batch, height, width, 3)).astype("float32")


def run(model: keras.Model, images: np.ndarray) -> Any:
    """Inference outputs as NumPy arrays; compiled, since eager JAX is slow."""
    return model.predict(images, verbose=0)


def assert_close(found: Arrays, expected: Arrays, tolerance: float = 1e-4) -> None:
    """Compare level by level, relative to the largest value of the level."""
    assert set(found) == set(expected)
    for level in sorted(expected):
        assert found[level].shape == expected[level].shape, level
        scale = np.abs(expected[level]).max()
        assert scale > 1e-3, f"{level} is dead: the comparison would mean nothing"
        error = np.abs(found[level] - expected[level]).max() / scale
        assert error <= tolerance, f"{level}: relative error {error}"


def trainable_parameters(model: keras.Model) -> int:
    """Numbers in all trainable weights."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def randomize_norms(model: keras.Model, seed: int = 0) -> None:
    """Give every batch norm random scales, shifts and statistics."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.8, 1.2, size),
                    rng.normal(0, 0.1, size),
                    rng.normal(0, 0.1, size),
                    rng.uniform(0.5, 1.5, size),
                ]
            )


def assert_dilated_reads_as_strided(
    strided: Backbone, dilated: Backbone, images: np.ndarray
) -> None:
    """Hold a dilated network, read at the strided one's positions, to the strided network.

    It is the property that dilation in place of stride exists for, and it fails for any wrong
    dilation. The images' sizes must keep every position on the coarser grid.
    """
    dilated.set_weights(strided.get_weights())
    expected = run(strided, images)
    found = run(dilated, images)
    for level in LEVELS:
        step = strided.pyramid_strides[level] // dilated.pyramid_strides[level]
        found[level] = found[level][:, ::step, ::step]
    assert_close(found, expected, tolerance=1e-5)


def torch_resnet(depth: int, output_stride: int = 32) -> Any:
    """transformers' ResNet in torchvision's layout with random weights and statistics."""
    import torch
    from transformers import ResNetConfig, ResNetModel

    bottleneck = depth >= 50
    depths = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}[depth]
    torch.manual_seed(0)
    network = ResNetModel(
        ResNetConfig(
            layer_type="bottleneck" if bottleneck else "basic",
            hidden_sizes=[256, 512, 1024, 2048] if bottleneck else [64, 128, 256, 512],
            depths=depths,
            downsample_in_bottleneck=False,
        )
    ).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.2)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    if output_stride == 8:
        # torchvision's rule, spelled out: (dilation of the first block, of the others).
        for stage, (first, others) in ((2, (1, 2)), (3, (2, 4))):
            for index, block in enumerate(network.encoder.stages[stage].layers):
                for conv in (m for m in block.modules() if isinstance(m, torch.nn.Conv2d)):
                    conv.stride = (1, 1)
                    if conv.kernel_size == (3, 3):
                        conv.dilation = conv.padding = (others if index else first,) * 2
    return network


def torchvision_state(network: Any) -> Arrays:
    """State dict of ``torch_resnet`` under torchvision's keys."""
    state = {}
    for key, value in network.state_dict().items():
        names = key.split(".")
        kind = {"convolution": "conv", "normalization": "bn"}[names[-2]]
        if names[0] == "embedder":
            name = f"{kind}1"
        elif names[5] == "shortcut":
            name = f"layer{int(names[2]) + 1}.{names[4]}.downsample.{int(kind == 'bn')}"
        else:
            name = f"layer{int(names[2]) + 1}.{names[4]}.{kind}{int(names[6]) + 1}"
        state[f"{name}.{names[-1]}"] = value.numpy()
    return state


def torch_pyramid(network: Any, images: np.ndarray) -> Arrays:
    """Stages of ``torch_resnet`` for images in 0..255, channels last."""
    import torch

    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalized = ((images / 255 - mean) / std).astype("float32")
    with torch.no_grad():
        stages = network(
            torch.from_numpy(normalized.transpose(0, 3, 1, 2)), output_hidden_states=True
        ).hidden_states
    return {
        level: stage.numpy().transpose(0, 2, 3, 1)
        for level, stage in zip(LEVELS, stages[1:], strict=True)
    }


# MSCAN and VAN, written from their papers over a state dict with the public names.

LARGE_KERNEL_SIZES = {
    "mscan_t": {"channels": (32, 64, 160, 256), "depths": (3, 3, 5, 2)},
    "van_b0": {"channels": (32, 64, 160, 256), "depths": (3, 3, 5, 2)},
}


def large_kernel_state(
    kind: str,
    channels: tuple[int, ...],
    depths: tuple[int, ...],
    mlp_ratios: tuple[int, ...] = (8, 8, 4, 4),
) -> Arrays:
    """A random state dict of an MSCAN or a VAN, statistics of batch norm included."""
    rng = np.random.default_rng(0)
    state: Arrays = {}

    def conv(key: str, inputs: int, outputs: int, height: int = 1, width: int = 1) -> None:
        deviation = 1 / np.sqrt(inputs * height * width)
        state[f"{key}.weight"] = rng.normal(0, deviation, (outputs, inputs, height, width))
        state[f"{key}.bias"] = rng.normal(0, 0.1, outputs)

    def norm(key: str, size: int, statistics: bool = True) -> None:
        state[f"{key}.weight"] = rng.uniform(0.8, 1.2, size)
        state[f"{key}.bias"] = rng.normal(0, 0.1, size)
        if statistics:
            state[f"{key}.running_mean"] = rng.normal(0, 0.1, size)
            state[f"{key}.running_var"] = rng.uniform(0.5, 1.5, size)

    before = 3
    stages = zip(channels, depths, mlp_ratios, strict=True)
    for stage, (size, depth, ratio) in enumerate(stages, start=1):
        embedding = f"patch_embed{stage}"
        if stage == 1 and kind == "mscan":
            conv(f"{embedding}.proj.0", 3, size // 2, 3, 3)
            norm(f"{embedding}.proj.1", size // 2)
            conv(f"{embedding}.proj.3", size // 2, size, 3, 3)
            norm(f"{embedding}.proj.4", size)
        else:
            side = 7 if stage == 1 else 3
            conv(f"{embedding}.proj", before, size, side, side)
            norm(f"{embedding}.norm", size)
        for index in range(depth):
            block = f"block{stage}.{index}"
            unit = f"{block}.attn.spatial_gating_unit"
            norm(f"{block}.norm1", size)
            norm(f"{block}.norm2", size)
            conv(f"{block}.attn.proj_1", size, size)
            conv(f"{block}.attn.proj_2", size, size)
            conv(f"{unit}.conv0", 1, size, 5, 5)
            if kind == "mscan":
                for number, length in enumerate((7, 11, 21)):
                    conv(f"{unit}.conv{number}_1", 1, size, 1, length)
                    conv(f"{unit}.conv{number}_2", 1, size, length, 1)
                conv(f"{unit}.conv3", size, size)
            else:
                conv(f"{unit}.conv_spatial", 1, size, 7, 7)
                conv(f"{unit}.conv1", size, size)
            conv(f"{block}.mlp.fc1", size, ratio * size)
            conv(f"{block}.mlp.dwconv.dwconv", 1, ratio * size, 3, 3)
            conv(f"{block}.mlp.fc2", ratio * size, size)
            for number in (1, 2):
                state[f"{block}.layer_scale_{number}"] = rng.uniform(0.2, 0.6, size)
        norm(f"norm{stage}", size, statistics=False)
        before = size
    return {key: array.astype("float32") for key, array in state.items()}


def torch_large_kernel(
    kind: str, state: Arrays, depths: tuple[int, ...], images: np.ndarray, epsilon: float = 1e-5
) -> Arrays:
    """Stages of an MSCAN or a VAN for images in 0..255, channels last, by PyTorch's functions."""
    import torch
    from torch.nn import functional

    tensors = {key: torch.from_numpy(array) for key, array in state.items()}

    def conv(x: Any, key: str, padding: Any = 0, **options: Any) -> Any:
        kernel, bias = tensors[f"{key}.weight"], tensors[f"{key}.bias"]
        groups = x.shape[1] if kernel.shape[1] == 1 else 1
        return functional.conv2d(x, kernel, bias, padding=padding, groups=groups, **options)

    def norm(x: Any, key: str) -> Any:
        mean, variance = tensors[f"{key}.running_mean"], tensors[f"{key}.running_var"]
        scale, shift = tensors[f"{key}.weight"], tensors[f"{key}.bias"]
        return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-5)

    def gate(u: Any, unit: str) -> Any:
        a = conv(u, f"{unit}.conv0", 2)
        if kind == "van":
            return u * conv(conv(a, f"{unit}.conv_spatial", 9, dilation=3), f"{unit}.conv1")
        total = a
        for number, pad in enumerate((3, 5, 10)):
            row = conv(a, f"{unit}.conv{number}_1", (0, pad))
            total = total + conv(row, f"{unit}.conv{number}_2", (pad, 0))
        return u * conv(total, f"{unit}.conv3")

    def block(x: Any, key: str) -> Any:
        y = norm(x, f"{key}.norm1")
        u = functional.gelu(conv(y, f"{key}.attn.proj_1"))
        y = y + conv(gate(u, f"{key}.attn.spatial_gating_unit"), f"{key}.attn.proj_2")
        x = x + tensors[f"{key}.layer_scale_1"][:, None, None] * y
        y = conv(norm(x, f"{key}.norm2"), f"{key}.mlp.fc1")
        y = conv(functional.gelu(conv(y, f"{key}.mlp.dwconv.dwconv", 1)), f"{key}.mlp.fc2")
        return x + tensors[f"{key}.layer_scale_2"][:, None, None] * y

    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy(((images / 255 - mean) / std).astype("float32").transpose(0, 3, 1, 2))
    outputs = {}
    for stage, (level, depth) in enumerate(zip(LEVELS, depths, strict=True), start=1):
        key = f"patch_embed{stage}"
        if stage == 1 and kind == "mscan":
            x = functional.gelu(norm(conv(x, f"{key}.proj.0", 1, stride=2), f"{key}.proj.1"))
            x = norm(conv(x, f"{key}.proj.3", 1, stride=2), f"{key}.proj.4")
        else:
            padding, stride = (3, 4) if stage == 1 else (1, 2)
            x = norm(conv(x, f"{key}.proj", padding, stride=stride), f"{key}.norm")
        for index in range(depth):
            x = block(x, f"block{stage}.{index}")
        scale, shift = tensors[f"norm{stage}.weight"], tensors[f"norm{stage}.bias"]
        last = functional.layer_norm(x.permute(0, 2, 3, 1), scale.shape, scale, shift, epsilon)
        outputs[level] = last.numpy()
        x = last.permute(0, 3, 1, 2)
    return outputs


# MobileNet-EdgeTPU and EfficientNet-Lite, written from their published tables by PyTorch's
# functions over arrays with the public names. Padding is TensorFlow's "same": the odd pixel comes
# at the end.


def _same_conv(x: Any, kernel: Any, stride: int = 1, dilation: int = 1, bias: Any = None) -> Any:
    from torch.nn import functional

    groups = x.shape[1] if kernel.shape[1] == 1 else 1
    pads = []
    for length, side in zip(x.shape[:1:-1], kernel.shape[:1:-1], strict=True):  # width, height
        reach = (side - 1) * dilation + 1
        total = max(0, (-(-length // stride) - 1) * stride + reach - length)
        pads += [total // 2, total - total // 2]
    x = functional.pad(x, pads)
    return functional.conv2d(x, kernel, bias, stride=stride, dilation=dilation, groups=groups)


# Kind (f: dense expansion, d: depthwise), kernel, stride at output stride 32, channels expanded to
# and projected to, residual. The last two stages are dilated at output stride 16.
EDGETPU_BLOCKS = [
    *[("f", 3, 2, 128, 24, False), *[("f", 3, 1, 96, 24, True)] * 3],
    *[("f", 3, 2, 192, 40, False), *[("f", 3, 1, 160, 40, True)] * 3],
    *[("d", 3, 2, 320, 72, False), *[("d", 3, 1, 288, 72, True)] * 3],
    *[("d", 3, 1, 576, 72, False), *[("d", 3, 1, 288, 72, True)] * 3],
    *[("d", 5, 2, 576, 120, False), *[("d", 5, 1, 480, 120, True)] * 3],
    ("d", 3, 1, 960, 144, False),
]


def edgetpu_arrays(seed: int = 3) -> Arrays:
    """Random folded convolutions, named as the public file names them, DeepLab's head included."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}

    def add(name: str, height: int, inputs: int, outputs: int) -> None:
        prefix = f"{len(arrays) // 2:02d}_{name}"
        fan_in = height * height * inputs
        kernel = rng.normal(0, 1 / np.sqrt(fan_in), (height, height, inputs, outputs))
        # Channels of very different sizes, as folding leaves them.
        kernel *= rng.uniform(0.5, 1.7, outputs)
        is_depthwise = name.endswith("depthwise")
        arrays[f"{prefix}/kernel"] = kernel.swapaxes(2, 3) if is_depthwise else kernel
        arrays[f"{prefix}/bias"] = rng.normal(0.1, 0.3, outputs)

    add("Conv", 3, 3, 24)
    add("expanded_conv_project", 1, 24, 16)
    channels = 16
    for number, (kind, side, _, expanded, projected, _) in enumerate(EDGETPU_BLOCKS, start=1):
        add(f"expanded_conv_{number}_expand", side if kind == "f" else 1, channels, expanded)
        if kind == "d":
            add(f"expanded_conv_{number}_depthwise", side, 1, expanded)
        add(f"expanded_conv_{number}_project", 1, expanded, projected)
        channels = projected
    add("Conv_1", 1, 144, 1280)
    for name, inputs, outputs in (
        ("aspp0", 1280, 128),
        ("image_pooling", 1280, 128),
        ("concat_projection", 256, 128),
        ("logits_semantic", 128, 19),
    ):
        add(name, 1, inputs, outputs)
    return {key: array.astype("float32") for key, array in arrays.items()}


def torch_edgetpu(arrays: Arrays, images: np.ndarray, output_stride: int) -> dict[str, Arrays]:
    """The pyramids "stages" and "wide", and both of the small form, for images in 0..255."""
    import torch

    by_name = {key.split("_", 1)[1]: torch.from_numpy(array) for key, array in arrays.items()}

    def conv(x: Any, name: str, stride: int = 1, dilation: int = 1) -> Any:
        kernel = by_name[f"{name}/kernel"]
        order = (2, 3, 0, 1) if name.endswith("depthwise") else (3, 2, 0, 1)
        bias = by_name[f"{name}/bias"]
        x = _same_conv(x, kernel.permute(*order).contiguous(), stride, dilation, bias)
        return x if name.endswith("project") else x.relu()

    x = torch.from_numpy(((images - 128) / 128).astype("float32").transpose(0, 3, 1, 2))
    x = conv(conv(x, "Conv", 2), "expanded_conv_project")
    found, expansions = {}, {}
    dilated = False
    for number, (kind, _, stride, _, _, residual) in enumerate(EDGETPU_BLOCKS, start=1):
        name = f"expanded_conv_{number}"
        dilation = 2 if dilated else 1
        if number == 17 and output_stride == 16:
            stride, dilated = 1, True
        inputs = x
        if kind == "f":
            x = conv(x, f"{name}_expand", stride)
        else:
            expansions[number] = x = conv(x, f"{name}_expand")
            x = conv(x, f"{name}_depthwise", stride, dilation)
        x = conv(x, f"{name}_project")
        x = found[number] = inputs + x if residual else x
    top = conv(x, "Conv_1")
    pyramids = {
        "stages": (found[4], found[8], found[16], found[21]),
        "wide": (found[4], expansions[9], expansions[17], top),
        "small stages": (found[4], found[8], found[12], found[15]),
        "small wide": (found[4], expansions[9], found[12], expansions[16]),
    }
    return {
        name: {level: x.permute(0, 2, 3, 1).numpy() for level, x in zip(LEVELS, maps, strict=True)}
        for name, maps in pyramids.items()
    }


# Repeat, kernel, stride, expansion, channels in and out of each stage, at the size's multipliers.
EFFICIENTNET_LITE_STAGES = {
    0: [
        (1, 3, 1, 1, 32, 16),
        (2, 3, 2, 6, 16, 24),
        (2, 5, 2, 6, 24, 40),
        (3, 3, 2, 6, 40, 80),
        (3, 5, 1, 6, 80, 112),
        (4, 5, 2, 6, 112, 192),
        (1, 3, 1, 6, 192, 320),
    ],
    2: [
        (1, 3, 1, 1, 32, 16),
        (3, 3, 2, 6, 16, 24),
        (3, 5, 2, 6, 24, 48),
        (4, 3, 2, 6, 48, 88),
        (4, 5, 1, 6, 88, 120),
        (5, 5, 2, 6, 120, 208),
        (1, 3, 1, 6, 208, 352),
    ],
}


def efficientnet_lite_state(size: int, seed: int = 0) -> Arrays:
    """A random state dict of EfficientNet-Lite, classifier included."""
    rng = np.random.default_rng(seed)
    state: Arrays = {}

    def conv_norm(conv: str, norm: str, inputs: int, outputs: int, side: int = 1) -> None:
        deviation = 1.4 / np.sqrt(inputs * side * side)
        state[f"{conv}.weight"] = rng.normal(0, deviation, (outputs, inputs, side, side))
        state[f"{norm}.weight"] = rng.uniform(0.8, 1.2, outputs)
        state[f"{norm}.bias"] = rng.normal(0, 0.1, outputs)
        state[f"{norm}.running_mean"] = rng.normal(0, 0.1, outputs)
        state[f"{norm}.running_var"] = rng.uniform(0.5, 1.5, outputs)

    conv_norm("_conv_stem", "_bn0", 3, 32, 3)
    index = 0
    for repeat, side, _, expansion, inputs, outputs in EFFICIENTNET_LITE_STAGES[size]:
        for number in range(repeat):
            key = f"_blocks.{index}"
            before = outputs if number else inputs
            expanded = expansion * before
            if expansion > 1:
                conv_norm(f"{key}._expand_conv", f"{key}._bn0", before, expanded)
            conv_norm(f"{key}._depthwise_conv", f"{key}._bn1", 1, expanded, side)
            conv_norm(f"{key}._project_conv", f"{key}._bn2", expanded, outputs)
            index += 1
    conv_norm("_conv_head", "_bn1", outputs, 1280)
    state["_fc.weight"], state["_fc.bias"] = rng.normal(0, 0.1, (1000, 1280)), np.zeros(1000)
    return {key: array.astype("float32") for key, array in state.items()}


def torch_efficientnet_lite(state: Arrays, images: np.ndarray, size: int) -> Arrays:
    """Stages of an EfficientNet-Lite for images in 0..255, channels last."""
    import torch
    from torch.nn import functional

    tensors = {key: torch.from_numpy(array) for key, array in state.items()}

    def conv_norm(x: Any, conv: str, norm: str, stride: int = 1) -> Any:
        x = _same_conv(x, tensors[f"{conv}.weight"], stride)
        mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
        scale, shift = tensors[f"{norm}.weight"], tensors[f"{norm}.bias"]
        x = functional.batch_norm(x, mean, variance, scale, shift, eps=1e-3)
        return x if "project" in conv else functional.relu6(x)

    x = torch.from_numpy(((images - 127) / 128).astype("float32").transpose(0, 3, 1, 2))
    x = conv_norm(x, "_conv_stem", "_bn0", 2)
    outputs, index = {}, 0
    for position, stage in enumerate(EFFICIENTNET_LITE_STAGES[size], start=1):
        repeat, _, stride, expansion, *_ = stage
        for number in range(repeat):
            key, inputs = f"_blocks.{index}", x
            if expansion > 1:
                x = conv_norm(x, f"{key}._expand_conv", f"{key}._bn0")
            x = conv_norm(x, f"{key}._depthwise_conv", f"{key}._bn1", 1 if number else stride)
            x = conv_norm(x, f"{key}._project_conv", f"{key}._bn2")
            x = inputs + x if number else x
            index += 1
        if position in (2, 3, 5, 7):
            outputs[LEVELS[len(outputs)]] = x.permute(0, 2, 3, 1).numpy()
    return outputs
