"""The losses once more, in NumPy and float64, pixel by pixel where that is plainest.

`labels` (B, H, W) int, `logits` (B, H, W, C) float64, `weights` (B, H, W) float64 with 0 at pixels
that do not count.
"""

from __future__ import annotations

import numpy as np


def valid_weights(labels, num_classes, ignore_class=255, sample_weight=1.0):
    labels = labels.astype("int64")
    valid = (labels >= 0) & (labels < num_classes) & (labels != ignore_class)
    return valid * np.broadcast_to(sample_weight, labels.shape).astype("float64")


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pixels(labels, logits, weights):
    """Lists over the pixels that count: label, probabilities (N, C), weight."""
    chosen = weights > 0
    return labels[chosen].astype(int), softmax(logits)[chosen], weights[chosen]


def cross_entropy(labels, logits, weights, class_weights=None, smooth=0.0, ohem=None):
    y, p, w = pixels(labels, logits, weights)
    num_classes = logits.shape[-1]
    if len(y) == 0:
        return 0.0
    of_class = np.ones(num_classes) if class_weights is None else np.asarray(class_weights)
    nll = np.array([-np.log(p[i, y[i]]) for i in range(len(y))])
    if ohem is not None:
        threshold, share = ohem
        order = np.argsort(-nll)
        count = max(1, int(np.floor(share * len(y) + 0.5)), int((np.exp(-nll) <= threshold).sum()))
        y, p, w, nll = (a[order[:count]] for a in (y, p, w, nll))
    total = normalizer = 0.0
    for i in range(len(y)):
        target = np.full(num_classes, smooth / num_classes)
        target[y[i]] += 1.0 - smooth
        total += w[i] * np.sum(of_class * target * -np.log(p[i]))
        normalizer += w[i] * of_class[y[i]]
    return total / normalizer


def focal(labels, logits, weights, gamma=2.0, class_weights=None):
    y, p, w = pixels(labels, logits, weights)
    if len(y) == 0:
        return 0.0
    true = p[np.arange(len(y)), y]
    w = w if class_weights is None else w * np.asarray(class_weights)[y]
    return np.sum(w * (1 - true) ** gamma * -np.log(true)) / np.sum(w)


def per_present_class(labels, logits, weights, score):
    """Mean over present classes of score(p of the class, is-class, weight)."""
    y, p, w = pixels(labels, logits, weights)
    values = [score(p[:, c], (y == c) * 1.0, w) for c in range(logits.shape[-1]) if (y == c).any()]
    return float(np.mean(values)) if values else 0.0


def dice(labels, logits, weights, smooth=1.0):
    def score(p, g, w):
        return 1 - (2 * np.sum(w * p * g) + smooth) / (np.sum(w * p) + np.sum(w * g) + smooth)

    return per_present_class(labels, logits, weights, score)


def tversky(labels, logits, weights, alpha=0.3, beta=0.7, gamma=1.0, smooth=1.0):
    def score(p, g, w):
        tp, fp, fn = np.sum(w * p * g), np.sum(w * p * (1 - g)), np.sum(w * (1 - p) * g)
        return (1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)) ** gamma

    return per_present_class(labels, logits, weights, score)


def jaccard_loss(wrong, g, w):
    """1 - IoU of a class whose pixels `wrong` are misjudged; the set function of Lovász."""
    true = g == 1
    intersection = w[true & ~wrong].sum()
    union = w[true | wrong].sum()
    return 1 - intersection / union if union > 0 else 0.0


def lovasz(labels, logits, weights, classes="present", per_image=False):
    if per_image:
        values = [
            lovasz(labels[i : i + 1], logits[i : i + 1], weights[i : i + 1], classes)
            for i in range(len(labels))
            if (weights[i] > 0).any()
        ]
        return float(np.mean(values)) if values else 0.0
    y, p, w = pixels(labels, logits, weights)
    if len(y) == 0:
        return 0.0
    values = []
    for c in range(logits.shape[-1]):
        g = (y == c) * 1
        if classes == "present" and not g.any():
            continue
        errors = np.abs(g - p[:, c])
        wrong, before, total = np.zeros(len(y), bool), 0.0, 0.0
        for i in np.argsort(-errors):  # the Lovász extension, straight from its definition
            wrong[i] = True
            after = jaccard_loss(wrong, g, w)
            total += errors[i] * (after - before)
            before = after
        values.append(total)
    return float(np.mean(values))


def boundary_target(labels, stride, num_classes, ignore_class=255, band=2, decay=0.5):
    batch, height, width = labels.shape
    h, w = -(-height // stride), -(-width // stride)
    target, weight = np.zeros((batch, h, w)), np.zeros((batch, h, w))
    valid = valid_weights(labels, num_classes, ignore_class) > 0
    for b, y, x in np.ndindex(labels.shape):
        if not valid[b, y, x]:
            continue
        weight[b, y // stride, x // stride] = 1
        window = (b, slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
        if len(set(labels[window][valid[window]].tolist())) > 1:
            target[b, y // stride, x // stride] = 1
    edges = np.argwhere(target == 1)
    for b, y, x in np.ndindex(target.shape):
        distances = [max(abs(y - ey), abs(x - ex)) for eb, ey, ex in edges if eb == b]
        nearest = min(distances, default=band + 1)
        target[b, y, x] = decay**nearest if nearest <= band else 0.0
    return (target * weight)[..., None], weight[..., None]


def boundary_bce(labels, logits, weights, num_classes, stride, ignore_class=255, **options):
    """`weights` (B, H, W): a cell takes the largest of its valid pixels."""
    target, valid = boundary_target(labels, stride, num_classes, ignore_class, **options)
    cells = np.zeros_like(valid)
    for b, y, x in np.ndindex(labels.shape):
        cell = (b, y // stride, x // stride, 0)
        cells[cell] = max(cells[cell], weights[b, y, x])
    p = 1 / (1 + np.exp(-logits))
    losses = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    return np.sum(cells * losses) / np.sum(cells) if cells.any() else 0.0


def numeric_gradient(function, x, step=1e-6):
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        result[i] = (function(up) - function(down)) / (2 * step)
    return result
