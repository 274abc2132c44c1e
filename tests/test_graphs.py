"""What a functional model keeps while it runs."""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_focusseg import layers
from keras_focusseg._graphs import GraphModel
from keras_focusseg.backbones.backbone import Backbone
from keras_focusseg.models import FoRNet
from keras_focusseg.models.predictors import Part


class Watched(layers.convolution.PlainCall, keras.layers.Layer):
    """Adds one; counts the maps of its kind that are still kept when it is called."""

    first_weight = None
    made: list[Any] = []
    kept: list[int] = []

    def call(self, x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            self.kept.append(sum(made() is not None for made in self.made))
        y = x + 1.0
        if not isinstance(y, keras.KerasTensor):
            self.made.append(weakref.ref(y))
        return y


def chain(model: type[keras.Model]) -> keras.Model:
    """Five layers; the third also reads what the first gave, the second is given out."""
    x = keras.Input((2, 2, 1))
    first = Watched()(x)
    second = Watched()(first)
    third = Watched()(layers.Add()([second, first]))
    return model(x, {"last": Watched()(Watched()(third)), "second": second})


def run(model: keras.Model) -> tuple[dict[str, Any], list[int]]:
    Watched.made, Watched.kept = [], []
    outputs = model(ops.ones((1, 2, 2, 1)))
    return outputs, Watched.kept


def test_maps_that_nothing_reads_are_let_go() -> None:
    expected, all_kept = run(chain(keras.Model))
    assert all_kept == [0, 1, 2, 3, 4], "Keras lets go of them itself: GraphModel can go."
    found, kept = run(chain(GraphModel))
    assert kept == [0, 1, 1, 2, 2]  # the second is an output
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_maps_of_networks_backbones_and_parts_are_let_go() -> None:
    assert issubclass(FoRNet, GraphModel)
    assert issubclass(Backbone, GraphModel)
    assert issubclass(Part, GraphModel)


def test_another_keras_runs_the_graph_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "__version__", "3.16.0")
    assert run(chain(GraphModel))[1] == [0, 1, 2, 3, 4]
