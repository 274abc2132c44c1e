"""What all four upsamplings have in common: SRM, bilinear, FAM, AlignFA."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from keras_focusseg import layers
from tests.layers.test_refinement import noise
from tests.testers import check_config_round_trip

FIELDS = {"offsets": 2, "initial_offsets": 2, "offset_weights": 9}


@pytest.mark.parametrize(
    ("layer", "fields", "macs"),
    [
        (layers.SemanticRefinement(6, "sigmoid", "zeros"), list(FIELDS), 140 * 6 * (8 + 99)),
        (layers.BilinearUpsampling(), [], None),
        (layers.FlowAlignment(6), ["offsets"], 35 * 4 * 6 + 140 * 6 * (4 + 36)),
        (layers.AlignedAggregation(6), ["offsets"], 140 * 6 * (8 + 36)),
    ],
    ids=["srm", "bilinear", "fam", "align_fa"],
)
def test_sizes_known_only_at_run_time_and_config(layer: Any, fields: list[str], macs: int | None):
    """Also that the fields have the shapes that the graph is told."""
    low, high = keras.Input((None, None, 4)), keras.Input((None, None, 4))
    outputs, given = layer(low, high, return_fields=True)
    assert {name: field.shape[-1] for name, field in given.items()} == {
        name: FIELDS[name] for name in fields
    }
    model = keras.Model([low, high], {"y": outputs, **given})
    for size in ((6, 10), (7, 9)):
        found = model.predict([noise(1, 3, 5, 4), noise(1, *size, 4)], verbose=0)
        for name, value in {"y": outputs, **given}.items():
            assert found[name].shape == (1, *size, value.shape[-1])
            assert found[name].dtype == value.dtype == "float32"
    check_config_round_trip(layer)
    if macs is not None:
        assert layer.macs((1, 5, 7, 4), (1, 10, 14, 4)) == macs
