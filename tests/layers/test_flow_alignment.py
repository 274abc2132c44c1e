"""FAM of SFNet."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_focusseg.layers import FlowAlignment, resize_to
from tests.layers.test_refinement import maps
from tests.testers import to_numpy


def test_fam_reads_the_coarse_map_as_sfnet_does():
    """Its grid in [-1, 1] with the outermost pixel centres at the ends, flow divided by (W, H)."""
    low, high = maps()
    layer = FlowAlignment()
    layer(low, high)
    rng = np.random.default_rng(0)
    for conv in (layer.squeeze_low, layer.squeeze_high, layer.offset):
        conv.kernel.assign(rng.normal(0, 1, conv.kernel.shape))
    found = to_numpy(layer(low, high))

    squeezed = np.einsum("bhwc,cd->bhwd", low, to_numpy(layer.squeeze_low.kernel)[0, 0])
    squeezed = to_numpy(resize_to(squeezed.astype("float32"), (10, 14)))
    of_high = np.einsum("bhwc,cd->bhwd", high, to_numpy(layer.squeeze_high.kernel)[0, 0])
    both = np.concatenate([squeezed, of_high], -1).astype("float32")
    flow = to_numpy(ops.conv(both, layer.offset.kernel, padding="same"))
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 14), np.linspace(-1, 1, 10)), -1)
    points = (grid + flow / np.array([14, 10]) + 1) / 2 * np.array([6, 4])
    for b, i, j in [(0, 0, 0), (0, 4, 7), (1, 9, 13), (1, 2, 3)]:
        expected = np.zeros(4)
        column, row = points[b, i, j]
        for y in (int(np.floor(row)), int(np.floor(row)) + 1):
            for x in (int(np.floor(column)), int(np.floor(column)) + 1):
                if 0 <= x < 7 and 0 <= y < 5:
                    expected += (1 - abs(x - column)) * (1 - abs(y - row)) * low[b, y, x]
        np.testing.assert_allclose(found[b, i, j], expected, atol=1e-4)
