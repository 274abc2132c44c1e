"""FoR-Net and its loss once more, in PyTorch, from the text of the specification.

The modules carry the names of the authors' state dict, so that `load_torch_weights` is tested with
it. Section and equation numbers are the specification's. Tensors are channels first here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def conv_norm(
    cin: int, cout: int, side: int, stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    pad = dilation * (side // 2)
    conv = nn.Conv2d(cin, cout, side, stride, pad, dilation, bias=False)
    return [conv, nn.BatchNorm2d(cout)]


def cbr(side: int, cin: int, cout: int, dilation: int = 1) -> nn.Sequential:
    """CBR(k, c, d) of section 1."""
    return nn.Sequential(*conv_norm(cin, cout, side, dilation=dilation), nn.ReLU())


class Block(nn.Module):
    """A residual block; `widths` and `sides` of its convolutions, stride at index `strided`."""

    def __init__(
        self,
        cin: int,
        widths: list[int],
        sides: list[int],
        strided: int,
        stride: int,
        dilations: list[int],
    ) -> None:
        super().__init__()
        self.depth = len(widths)
        channels = cin
        for i in range(self.depth):
            step = stride if i == strided else 1
            conv, norm = conv_norm(channels, widths[i], sides[i], step, dilations[i])
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", norm)
            channels = widths[i]
        if cin != channels:
            self.downsample = nn.Sequential(*conv_norm(cin, channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = torch.relu(y)
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


def stage(
    cin: int, width: int, blocks: int, bottleneck: bool, stride: int, before: int, after: int
):
    """A stage of blocks; the first keeps the dilation `before`, the rest have `after` (1.1)."""
    layers = []
    for i in range(blocks):
        step, first = (stride, before) if i == 0 else (1, after)
        if bottleneck:
            block = Block(cin, [width, width, 4 * width], [1, 3, 1], 1, step, [1, first, 1])
            cin = 4 * width
        else:
            block = Block(cin, [width, width], [3, 3], 0, step, [first, after])
            cin = width
        layers.append(block)
    return nn.Sequential(*layers)


class Selector(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = cbr(3, channels, channels // 2)
        self.head = nn.Conv2d(channels // 2, 1, 1)

    def forward(self, f: Tensor) -> Tensor:
        return self.head(self.body(f))


class Context(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = channels // 4
        self.psi = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1)
        )

    def forward(self, f: Tensor) -> Tensor:
        return f + self.psi(f.mean((2, 3), keepdim=True))  # Eq. (4)


class Reference(nn.Module):
    """Section 1 at output stride 8; depth 18 (basic blocks) or 50 (bottlenecks)."""

    def __init__(
        self,
        num_classes: int = 19,
        depth: int = 18,
        channels: int = 256,
        ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4),
        kernels: tuple[int, ...] = (1, 3, 5, 7),
        dilations: tuple[int, ...] = (1, 1, 1, 16),
        low: int = 48,
    ) -> None:
        super().__init__()
        bottleneck = depth == 50
        blocks = (3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)
        widen = 4 if bottleneck else 1
        self.stem = nn.Sequential(
            *conv_norm(3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)
        )
        self.layer1 = stage(64, 64, blocks[0], bottleneck, 1, 1, 1)
        self.layer2 = stage(64 * widen, 128, blocks[1], bottleneck, 2, 1, 1)
        self.layer3 = stage(128 * widen, 256, blocks[2], bottleneck, 1, 1, 2)
        self.layer4 = stage(256 * widen, 512, blocks[3], bottleneck, 1, 2, 4)
        self.trans = cbr(1, 512 * widen, channels)
        self.selector = Selector(channels)
        self.context = Context(channels)
        self.ratios = ratios
        self.branches = nn.ModuleList(
            cbr(kernel, channels, channels, rate)
            for kernel, rate in zip(kernels, dilations, strict=True)
        )
        self.low_proj = cbr(1, 64 * widen, low)
        self.decoder = nn.Sequential(cbr(3, channels + low, channels), cbr(3, channels, channels))
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def masks(self, z: Tensor) -> Tensor:
        """Eq. (2), one image and one ratio after the other: (B, ratios, h, w)."""
        masks = torch.zeros(len(z), len(self.ratios), *z.shape[2:])
        for image, scores in zip(masks, z.detach(), strict=True):
            values = scores.flatten().tolist()
            best = sorted(range(len(values)), key=lambda cell: -values[cell])  # noqa: B023
            for mask, ratio in zip(image, self.ratios, strict=True):
                count = min(len(values), max(1, round(ratio * len(values))))
                mask.view(-1)[best[:count]] = 1.0
        return masks

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) in 0..255 to logits, z and masks."""
        x = images / 255 - torch.tensor(MEAN).view(3, 1, 1)
        f_low = self.layer1(self.stem(x / torch.tensor(STD).view(3, 1, 1)))
        f = self.trans(self.layer4(self.layer3(self.layer2(f_low))))
        z = self.selector(f)
        score = torch.sigmoid(z)  # Eq. (1)
        masks = self.masks(z)
        context = self.context(f)
        total = f
        for i, branch in enumerate(self.branches):
            straight = masks[:, i : i + 1] + (score - score.detach())
            total = total + branch(context * straight)  # Eqs. (5), (6)
        low = self.low_proj(f_low)
        up = functional.interpolate(total, low.shape[2:], mode="bilinear", align_corners=False)
        y = self.classifier(self.decoder(torch.cat([up, low], dim=1)))  # Eq. (7)
        logits = functional.interpolate(y, images.shape[2:], mode="bilinear", align_corners=False)
        return logits, z, masks


def randomized(seed: int = 0, **options: Any) -> Reference:
    """A reference with random weights and random, far from trivial batch-norm statistics."""
    torch.manual_seed(seed)
    network = Reference(**options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Section 1.9: the mean over the valid pixels."""
    return functional.cross_entropy(logits, labels, ignore_index=255)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Section 1.9: sums over the batch, mean over the classes present."""
    chosen = labels != 255  # (B, H, W)
    p = logits.softmax(1).movedim(1, -1)[chosen]  # (valid pixels, C)
    truth = functional.one_hot(labels[chosen], p.shape[1]).to(p)
    ratio = (2 * (p * truth).sum(0) + 1) / (p.sum(0) + truth.sum(0) + 1)
    return 1 - ratio[truth.sum(0) > 0].mean()


def selector_target(
    labels: np.ndarray, stride: int = 8, band: int = 2, decay: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Section 1.9, cell by cell: target and weight (B, h, w); sizes divide by the stride."""
    batch, height, width = labels.shape
    grid = (batch, height // stride, width // stride)
    target, weight = np.zeros(grid, "float32"), np.zeros(grid, "float32")
    for image, label in enumerate(labels):
        edges = []
        for row, column in np.ndindex(grid[1:]):
            for y, x in np.ndindex(stride, stride):
                y, x = y + row * stride, x + column * stride
                if label[y, x] == 255:
                    continue
                weight[image, row, column] = 1
                window = label[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                if len(np.unique(window[window != 255])) > 1:
                    edges.append((row, column))
                    break
        for row, column in np.ndindex(grid[1:]):
            distances = [max(abs(row - r), abs(column - c)) for r, c in edges]
            if distances and min(distances) <= band:
                target[image, row, column] = decay ** min(distances)
    return target * weight, weight


def selector(z: Tensor, labels: np.ndarray) -> Tensor:
    """Section 1.9: binary cross-entropy over the cells with a valid pixel."""
    target, weight = (torch.from_numpy(x)[:, None] for x in selector_target(labels))
    error = functional.binary_cross_entropy_with_logits(z, target, weight, reduction="sum")
    return error / weight.sum()


def losses(logits: Tensor, z: Tensor, labels: np.ndarray) -> dict[str, Tensor]:
    """The three terms of Eq. (8)."""
    truth = torch.from_numpy(labels.astype("int64"))
    return {
        "cross_entropy": cross_entropy(logits, truth),
        "dice": dice(logits, truth),
        "selector": selector(z, labels),
    }
