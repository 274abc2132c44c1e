"""Pyramid pooling of PSPNet. Item numbers: section 6 of SCRNet's specification."""

from __future__ import annotations

import numpy as np
import pytest

from keras_focusseg.layers import PyramidPooling
from keras_focusseg.layers.pyramid_pooling import adaptive_average
from tests.layers.test_attention import noise, run
from tests.testers import check_config_round_trip, compiled, to_numpy


@pytest.mark.parametrize("size", [(7, 5), (6, 12), (2, 3)])
def test_adaptive_means_cover_the_map(size: tuple[int, int]):
    x = noise(1, *size, 2)
    for bins in (1, 3, 6):
        found = to_numpy(compiled(lambda x, bins=bins: adaptive_average(x, bins))(x))
        for i in range(bins):
            rows = slice(i * size[0] // bins, -(-(i + 1) * size[0] // bins))
            for j in range(bins):
                columns = slice(j * size[1] // bins, -(-(j + 1) * size[1] // bins))
                expected = x[:, rows, columns].mean(axis=(1, 2))
                np.testing.assert_allclose(found[:, i, j], expected, atol=1e-5)


def test_pyramid_pooling_keeps_constants_and_has_a_config():
    """Item 12: away from the zeros around the 3x3 convolution, a constant map stays constant."""
    x = np.full((1, 8, 9, 8), 0.5, "float32")
    layer = PyramidPooling(6, bins=(1, 2, 4))
    found = run(layer, x)
    inner = found[:, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, np.broadcast_to(inner[:, :1, :1], inner.shape), atol=1e-5)
    assert inner.std() > 0
    copy = check_config_round_trip(layer)
    assert (copy.filters, copy.bins) == (6, (1, 2, 4))
