"""AlignFA of AlignSeg."""

from __future__ import annotations

import numpy as np
import pytest

from keras_focusseg.layers import AlignedAggregation, resize_to
from tests.layers.test_refinement import maps, moved, noise
from tests.testers import to_numpy


def test_align_fa_adds_both_moved_maps():
    """With the fine map added, as the decoder does, the result is the sum of both moved maps."""
    low, high = maps()
    layer = AlignedAggregation()
    u = to_numpy(resize_to(low, (10, 14)))
    np.testing.assert_allclose(to_numpy(layer(low, high)), u, atol=1e-6)  # fresh
    # A hidden map of ones, so that the kernels' centre is the offset.
    layer.squeeze.conv.kernel.assign(np.zeros(layer.squeeze.conv.kernel.shape))
    layer.squeeze.norm.beta.assign(np.ones(4))
    for conv, offset in ((layer.offset, (1.0, 0.0)), (layer.offset_high, (0.0, -1.0))):
        kernel = np.zeros(conv.kernel.shape)
        kernel[1, 1, 0] = offset
        conv.kernel.assign(kernel)
    found = to_numpy(layer(low, high)) + high
    inner = np.s_[:, 1:-1, 1:-1]
    expected = moved(u, 1, 0) + moved(high, 0, -1)
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-5)
    assert not np.allclose(found[:, 0], expected[:, 0])  # zeros beyond the border, as published


def test_maps_of_other_channels_are_told():
    with pytest.raises(ValueError, match="equal channels, got 4 and 6"):
        AlignedAggregation()(noise(1, 5, 7, 4), noise(1, 10, 14, 6))
